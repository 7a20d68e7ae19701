"""``vitreous inspect`` on our directory, on another library's file, and on what is neither."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.cli.conftest import Run, tiny_predictor
from vitreous.predictor import save


def test_a_model_directory_says_what_it_is(run: Run, model: Path) -> None:
    said = run("inspect", model)
    assert (said.code, said.err) == (0, "")
    assert ["layout", "vitreous"] in said.rows
    assert ["image", "size", "8", "x", "8"] in said.rows
    assert ["layers", "2"] in said.rows
    assert ["first", "classes", "ant,", "bee"] in said.rows
    assert ["left", "over", "none"] in said.rows


def test_json_is_the_whole_passport(run: Run, model: Path) -> None:
    found = json.loads(run("inspect", "model", "--json").out)
    assert found["patch"] == 4
    assert found["first_classes"] == ["ant", "bee"]
    assert found["config"]["backbone"]["depth"] == 2


def test_another_librarys_layout_is_recognised(run: Run, tmp_path: Path) -> None:
    save(tiny_predictor(), tmp_path / "theirs", layout="timm")
    found = json.loads(run("inspect", "theirs", "--json").out)
    assert (found["layout"], found["problem"]) == ("timm", None)


def test_tensors_that_nobody_knows_are_told_and_fail(run: Run, tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(3)}, tmp_path / "strange.safetensors")
    said = run("inspect", "strange.safetensors")
    assert said.code == 1
    assert ["layout", "unknown"] in said.rows


def test_what_holds_no_weights_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights")
    said = run("inspect", "notes.txt")
    assert said.code == 2
    assert said.err.startswith("vitreous: notes.txt: ")
