"""``vitreous inspect`` on our directory, on other libraries' files, and on what is neither."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Run, Said, tiny_predictor
from vitreous.predictor import save

KEYS = {
    "name", "container", "layout", "tensors", "parameters", "dtypes", "bytes", "sha256", "origin",
    "looks_like", "family", "model", "config", "model_parameters", "catalog_parameters", "preprocess",
    "classes", "first_classes", "class_names", "temperature", "answers", "adapter", "missing", "left_over",
    "unused", "assumed", "lineage", "problem", "writable", "not_writable", "loadable",
}  # fmt: skip
OF_A_MODEL = {"image_size", "channels", "patch", "grid", "layers", "width", "mlp_width", "heads", "positions"}


def value(said: Said, label: str) -> str:
    """What stands behind a label."""
    found = [line for line in said.out.splitlines() if line.startswith(f"  {label} ")]
    assert len(found) == 1, said.out
    return found[0].removeprefix(f"  {label}").strip()


def test_a_model_directory_says_what_it_is(run: Run, model: Path) -> None:
    said = run("inspect", model)
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) <= 35
    assert value(said, "origin") == "vitreous"
    assert value(said, "loads") == "yes"
    assert value(said, "converts to") == "vitreous, transformers, timm, torchvision"
    assert value(said, "pictures") == "8x8 pixels, 3 channels; patches of 4, a grid of 2x2"
    assert value(said, "blocks") == "2 of width 16, MLP 64, 2 heads"
    assert value(said, "positions").startswith("learned")
    assert (value(said, "norm epsilon"), value(said, "activation")) == ("1e-06", "gelu")
    assert value(said, "pooling") == "class token; head linear"
    assert value(said, "classes") == "2: ant, bee"
    assert value(said, "preprocessing").startswith("squashed to 8x8 bilinear; mean 0.5 0.5 0.5")
    assert value(said, "unaccounted for") == value(said, "missing") == value(said, "not used") == "none"
    assert len(value(said, "SHA-256")) == 64


def test_values_are_aligned(run: Run, model: Path) -> None:
    lines = [line for line in run("inspect", model).out.splitlines() if line.startswith("  ")]
    assert all(line[17] == " " and line[18] != " " for line in lines)


def test_json_is_the_whole_passport(run: Run, model: Path) -> None:
    found = json.loads(run("inspect", "model", "--json").out)
    assert set(found) >= KEYS | OF_A_MODEL
    assert found["patch"] == 4
    assert found["first_classes"] == ["ant", "bee"]
    assert found["config"]["backbone"]["depth"] == 2
    assert found["loadable"] is True


def test_another_librarys_layout_is_recognised(run: Run, tmp_path: Path) -> None:
    save(tiny_predictor(), tmp_path / "theirs", layout="timm")
    found = json.loads(run("inspect", "theirs", "--json").out)
    assert (found["layout"], found["problem"]) == ("timm", None)


def test_half_precision_and_wrappings_are_said(run: Run, tmp_path: Path) -> None:
    save(tiny_predictor(), tmp_path / "theirs", layout="timm")
    (tmp_path / "theirs/manifest.json").unlink()
    path = tmp_path / "theirs/model.safetensors"
    state = {f"module.{key}": value.half() for key, value in load_file(path).items()}
    path.unlink()
    torch.save({"model": state, "epoch": 3}, tmp_path / "theirs/pytorch_model.bin")
    said = run("inspect", "theirs")
    assert value(said, "tensors").endswith("float16, loaded as float32")
    assert (value(said, "entry"), value(said, "prefix"), value(said, "beside")) == (
        "model",
        "module.",
        "epoch 3",
    )


def test_tensors_that_nobody_knows_are_told_and_fail(run: Run, tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(3)}, tmp_path / "strange.safetensors")
    said = run("inspect", "strange.safetensors")
    assert said.code == 1
    assert (value(said, "origin"), value(said, "loads")) == ("unknown", "no")
    assert "some.weight" in value(said, "problem")
    assert set(json.loads(run("inspect", "strange.safetensors", "--json").out)) == KEYS


def test_what_holds_no_weights_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights")
    said = run("inspect", "notes.txt")
    assert said.code == 2
    assert said.err.startswith("vitreous: notes.txt: text, not a file of weights")


def test_a_hostile_name_cannot_paint_the_terminal(run: Run, tmp_path: Path) -> None:
    save_file({"a\x1b[31m\nb": torch.zeros(3)}, tmp_path / "strange.safetensors")
    assert "\x1b" not in run("inspect", "strange.safetensors").out
