"""``vitreous evaluate``: what it prints, and the files that it writes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Run, tiny_predictor, write_pictures
from vitreous.data.folder import read_data
from vitreous.evaluation.evaluate import evaluate, trained_on
from vitreous.predictor import Predictor, load, save


def test_the_table_has_scores_with_intervals_and_every_class(run: Run, model: Path, pictures: Path) -> None:
    said = run("evaluate", model, "pictures")
    assert (said.code, said.err) == (0, "")
    result = evaluate(load(model, device="cpu"), "pictures")
    assert said.out.startswith("11 pictures of pictures, part all: ")
    low, high = (f"{100 * end:.2f}%" for end in result["intervals"]["accuracy"])
    assert ["accuracy", f"{100 * result['accuracy']:.2f}%", low, "to", high] in said.rows
    row = result["per_class"][0]
    figures = [f"{100 * row[key]:.2f}%" for key in ("precision", "recall", "f1")]
    assert ["ant", *figures, "6"] in said.rows


def test_json_is_the_whole_result(run: Run, model: Path, pictures: Path) -> None:
    said = run("evaluate", model, "pictures", "--json")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == evaluate(load(model, device="cpu"), "pictures")


def test_scores_and_the_picture_of_the_confusion_are_written(run: Run, model: Path, pictures: Path) -> None:
    said = run("evaluate", model, "pictures", "--output", "deep/results")
    assert said.code == 0
    result = json.loads(Path("deep/results/scores.json").read_text())
    assert result["n"] == 11
    assert Path("deep/results/confusion.svg").read_text().startswith(("<svg", "<?xml"))
    with Image.open("deep/results/confusion.png") as picture:
        assert min(picture.size) > 100
    assert sorted(path.name for path in Path("deep/results").iterdir()) == [
        "confusion.png",
        "confusion.svg",
        "scores.json",
    ]
    assert "wrote deep/results/scores.json" in said.out


@pytest.mark.parametrize("seed", [0, 4])
def test_the_data_of_the_training_is_judged_on_its_held_out_part(
    run: Run, pictures: Path, tmp_path: Path, seed: int
) -> None:
    splits = read_data(pictures, seed=seed)
    plain = tiny_predictor()
    lineage = {"data": trained_on(splits, "pictures", seed)}
    save(
        Predictor(plain.model, plain.preprocess, plain.classes, device="cpu", lineage=lineage),
        tmp_path / "trained",
    )
    result = json.loads(run("evaluate", "trained", "pictures", "--json").out)
    assert splits.test is not None
    assert result["data"]["part"] == "test"
    assert result["data"]["fingerprint"] == splits.test.fingerprint()


def test_unreadable_files_end_the_evaluation_unless_allowed(run: Run, model: Path, pictures: Path) -> None:
    (pictures / "bee" / "00.png").write_bytes(b"")
    refused = run("evaluate", model, "pictures", "--output", "results")
    assert refused.code == 2
    assert "1 of 11 pictures cannot be read: bee/00.png" in refused.err
    assert not Path("results").exists()
    allowed = run("evaluate", model, "pictures", "--allow-unreadable")
    assert allowed.code == 0
    assert allowed.out.startswith("10 pictures")
    assert allowed.err.startswith("vitreous: left out bee/00.png: ")


def test_of_many_classes_the_worst_are_shown(run: Run, tmp_path: Path) -> None:
    classes = tuple(f"class{index:02d}" for index in range(40))
    save(tiny_predictor(classes), tmp_path / "wide")
    write_pictures(tmp_path / "data", dict.fromkeys(classes, 1))
    said = run("evaluate", "wide", "data")
    assert said.code == 0
    assert "the 30 of 40 classes that went worst:" in said.out
    assert sum(row[:1] != [] and row[0] in classes for row in said.rows) == 30
