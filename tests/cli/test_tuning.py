"""Going on with weights from the command line: recipes, adapters alone, and what makes no sense."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run, write_pictures
from tests.cli.test_bad_input import files, refused
from vitreous.predictor import load

QUICK = ("--set=epochs=2", "--set=workers=0", "--set=batch_size=4", "--set=patience=null")


@pytest.fixture
def adapter(run: Run, model: Path, pictures: Path) -> Path:
    """Adapters that were trained on ``model``."""
    said = run("train", "pictures", "--from", "model", "--recipe", "lora", "--output", "run", *QUICK)
    assert said.code == 0, said.err
    assert "LoRA: 4 adapters of rank 8 and the head" in said.err
    assert "all have moved, and no other weight has changed" in said.err
    return Path("run/adapter")


def test_adapters_alone_are_predicted_with_inspected_and_converted(run: Run, adapter: Path) -> None:
    picture = "pictures/ant/00.png"
    merged, alone = (run("predict", source, picture, "--json") for source in ("run", adapter))
    assert alone.code == 0, alone.err
    wanted, found = (json.loads(said.out) for said in (merged, alone))
    assert found["label"] == wanted["label"]
    assert found["score"] == pytest.approx(wanted["score"], abs=1e-6)
    said = run("inspect", adapter)
    assert said.code == 0
    assert "vitreous, an adapter" in said.out
    assert "LoRA of rank 8, alpha 16, on 4 layers" in said.out
    assert "base            model, weights of SHA-256 " in said.out
    assert json.loads(run("inspect", adapter, "--json").out)["adapter"]["base"] == "model"
    assert run("evaluate", adapter, "pictures").code == 0
    said = run("convert", adapter, "written", "--to", "timm")
    assert said.code == 0, said.err
    assert load("written", device="cpu").classes == ("ant", "bee")


def test_adapters_without_their_base_are_refused(run: Run, adapter: Path) -> None:
    Path("model").rename("moved")
    said = run("predict", adapter, "pictures/ant/00.png")
    refused(said, "run/adapter: an adapter, of use only with its base model, which is not there; put it back")
    said = run("inspect", adapter)
    assert said.code == 1
    assert "loads           no" in said.out
    shutil.copytree("run/best", "model")
    refused(
        run("predict", adapter, "pictures/ant/00.png"), "its base model is not the one that it was trained on"
    )
    refused(run("convert", adapter, "written", "--to", "timm"), "its base model is not the one")
    assert not Path("written").exists()


@pytest.mark.parametrize("recipe", ["tune", "head", "lora"])
def test_recipes_go_on_with_weights_and_nothing_else(
    run: Run, model: Path, tmp_path: Path, recipe: str
) -> None:
    write_pictures(tmp_path / "data", {"cow": 6, "dog": 6})
    said = run("train", "data", "--from", "model", "--recipe", recipe, "--output", "run", *QUICK)
    assert said.code == 0, said.err
    assert load("run", device="cpu").classes == ("cow", "dog")
    told = load("run", device="cpu").lineage["training"]["tuned"]
    assert told == {"tune": "all"}.get(recipe, recipe)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["--recipe", "head"],
            "tuning.train=head is for weights that have learnt; say which ones with --from",
        ),
        (["--recipe", "lora", "--model", "vit_tiny"], "say which ones with --from SOURCE"),
        (["--set", "tuning.train=lore"], "tuning.train: wanted one of all, head, lora"),
        (["--set", "tuning.rank=4"], "unknown key 'tuning.rank'"),
        (["--from", "model", "--set", "tuning.lora.rank=4"], "tuning.lora describes the adapters of"),
        (["--from", "model", "--set", "tuning.frozen_epochs=15"], "leaves none of 15 epochs"),
        (
            ["--from", "model", "--recipe", "head", "--set", "tuning.layer_decay=0.5"],
            "leave out one of the two",
        ),
        (
            ["--from", "model", "--recipe", "lora", "--set", "tuning.lora.targets=atention.qkv"],
            "'atention.qkv' matches no layer that can have an adapter; the linear layers below the head are"
            " attention.qkv, attention.projection, mlp.expand, mlp.contract; did you mean 'attention.qkv'?",
        ),
        (
            ["--from", "model", "--recipe", "lora", "--set", "tuning.lora.rank=16"],
            "tuning.lora: a rank of 16 for backbone.encoder.blocks.0.attention.qkv, whose smaller side is 16;"
            " wanted from 1 to 15",
        ),
    ],
)
def test_what_makes_no_sense_begins_nothing(
    run: Run, model: Path, pictures: Path, arguments: list[str], wanted: str
) -> None:
    before = files(Path())
    refused(run("train", "pictures", *arguments), wanted)
    assert files(Path()) == before


def test_digits_are_neither_mirrored_nor_cut_by_any_recipe(run: Run) -> None:
    from vitreous.training.recipes import RECIPES

    makers: dict[str, Callable[..., object]] = dict(RECIPES)
    for name, recipe in makers.items():
        augment = recipe("digits", "run").augment  # type: ignore[attr-defined]
        assert (augment.crop, augment.flip, augment.rand_augment) == (None, 0.0, None), name
    assert RECIPES["tune"]("pictures", "run").augment.flip > 0
