"""``vitreous evaluate --neighbours``: frozen features judged by what is most alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import Run, tiny_predictor, write_pictures
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.file import save as save_checkpoint
from vitreous.data.folder import read_data
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.evaluate import trained_on
from vitreous.models import catalog
from vitreous.predictor import Predictor, save


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Three classes by brightness, which any features tell apart."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 20), ("grey", 120), ("light", 220)):
        (tmp_path / "shades" / name).mkdir(parents=True)
        for index in range(20):
            pixels = level + random.integers(0, 20, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shades" / name / f"{index:02d}.png")
    return tmp_path / "shades"


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    """Weights that tell no classes apart."""
    torch.manual_seed(0)
    options = {"width": 16, "depth": 1, "heads": 2, "patch": 4, "decoder_width": 16, "decoder_heads": 2}
    config = catalog.configure("mae_tiny", image_size=8, options={**options, "decoder_depth": 1})
    prepare = Preprocess(size=(8, 8), shorter=None)
    save_checkpoint(tmp_path / "headless", Checkpoint(catalog.build(config), prepare, ()))
    return tmp_path / "headless"


@pytest.mark.parametrize("source", ["model", "headless"])
def test_any_weights_are_judged_with_or_without_a_head(
    run: Run, model: Path, headless: Path, shades: Path, source: str
) -> None:
    said = run("evaluate", source, "shades", "--neighbours")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("6 pictures of shades, part test; class folders, split 80/10/10")
    assert "of 48 train pictures (chosen by leave-one-out on the bank)" in said.out
    result = json.loads(run("evaluate", source, "shades", "--neighbours", "--json").out)
    low, high = result["intervals"]["accuracy"]
    ends = [f"{100 * end:.2f}%" for end in (low, high)]
    assert ["accuracy", f"{100 * result['accuracy']:.2f}%", ends[0], "to", ends[1]] in said.rows
    assert result["accuracy"] >= 5 / 6
    assert result["classes"] == ["dark", "grey", "light"]
    assert result["neighbours"] | {"k": 0} == {
        "k": 0,
        "how": "chosen by leave-one-out on the bank",
        "temperature": 0.07,
        "bank": 48,
        "width": 16,
    }
    assert np.trace(result["confusion"]) == round(6 * result["accuracy"])


def test_the_part_is_the_one_that_was_asked_for(run: Run, model: Path, shades: Path) -> None:
    result = json.loads(
        run("evaluate", "model", "shades", "--neighbours", "--split", "validation", "--json").out
    )
    assert result["data"]["part"] == "validation"
    said = run("evaluate", "model", "shades", "--neighbours", "--split", "train")
    assert said.code == 2
    assert "neighbours come from the train part" in said.err


def test_pictures_that_the_model_may_have_seen_are_told(run: Run, shades: Path, tmp_path: Path) -> None:
    plain = tiny_predictor()
    for seed, source, wanted in ((3, "shades", False), (3, "moved", True)):
        lineage = {"data": trained_on(read_data(shades, seed=seed), source, seed)}
        if wanted:
            lineage["data"] |= {"source": "shades", "fingerprint": "other"}
        place = tmp_path / f"trained-{wanted}"
        save(Predictor(plain.model, plain.preprocess, plain.classes, device="cpu", lineage=lineage), place)
        result = json.loads(run("evaluate", place, "shades", "--neighbours", "--json").out)
        assert ("may have seen" in str(result["data"]["note"])) == wanted
        assert result["data"]["fingerprint"] == read_data(shades, seed=3).test.fingerprint()  # type: ignore[union-attr]


def test_unreadable_files_end_it_unless_allowed(run: Run, model: Path, shades: Path) -> None:
    (shades / "grey" / "07.png").write_bytes(b"")
    refused = run("evaluate", "model", "shades", "--neighbours")
    assert refused.code == 2
    assert "1 of 54 pictures cannot be read: grey/07.png" in refused.err
    allowed = run("evaluate", "model", "shades", "--neighbours", "--allow-unreadable")
    assert allowed.code == 0
    assert allowed.err.startswith("vitreous: left out grey/07.png: ")


@pytest.mark.parametrize(
    ("data", "options", "wanted"),
    [
        ("shades/grey", [], "only pictures without labels"),
        ("single", [], "one class only, ant"),
        ("shades", ["--output", "there"], "--neighbours writes no files"),
        ("nowhere", [], "no such file or folder"),
    ],
)
def test_what_has_no_neighbours_is_refused_in_one_line(
    run: Run, model: Path, shades: Path, tmp_path: Path, data: str, options: list[str], wanted: str
) -> None:
    write_pictures(tmp_path / "single", {"ant": 6})
    before = sorted(tmp_path.rglob("*"))
    said = run("evaluate", "model", data, "--neighbours", *options)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert sorted(tmp_path.rglob("*")) == before
