"""That a picture may show several classes travels with a model, in our layout and in transformers'."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.checkpoints.make import random_checkpoint
from tests.checkpoints.test_file import change
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.adapter import fingerprint, save_adapter
from vitreous.checkpoints.conversion import convert, differences, open_origin
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import CONFIG, Checkpoint, read, save
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError
from vitreous.layers.lora import inject, merge


@pytest.fixture
def several() -> Checkpoint:
    return replace(random_checkpoint(), answers="several")


def test_there_and_back(tmp_path: Path, several: Checkpoint) -> None:
    save(tmp_path / "model", several)
    assert read(tmp_path / "model").answers == "several"
    assert inspect(tmp_path / "model").answers == "several"


def test_one_label_is_written_as_ever(tmp_path: Path) -> None:
    save(tmp_path / "model", random_checkpoint())
    assert "answers" not in json.loads((tmp_path / "model" / CONFIG).read_text())
    assert read(tmp_path / "model").answers == "one"


@pytest.mark.parametrize("answers", ["many", 2, None])
def test_anything_else_is_refused(tmp_path: Path, several: Checkpoint, answers: object) -> None:
    save(tmp_path / "model", several)
    change(tmp_path / "model", answers=answers)
    with pytest.raises(CheckpointError, match="answers must be one or several"):
        read(tmp_path / "model")


def test_a_new_size_keeps_it_and_a_new_head_does_not(several: Checkpoint) -> None:
    assert adapt(several, image_size=(24, 24))[0].answers == "several"
    assert adapt(several, classes=("x", "y"))[0].answers == "one"


def test_transformers_says_it_and_is_read_back(tmp_path: Path, several: Checkpoint) -> None:
    write_any(tmp_path / "theirs", several, "transformers")
    said = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert said["problem_type"] == "multi_label_classification"
    back = read_any(tmp_path / "theirs")
    assert back.answers == "several"
    assert differences(several, back).lost == ()
    assert differences(several, replace(back, answers="one")).lost == ("answers several became one",)
    assert inspect(tmp_path / "theirs").answers == "several"
    write_any(tmp_path / "one", random_checkpoint(), "transformers")
    assert "problem_type" not in json.loads((tmp_path / "one" / "config.json").read_text())


def test_a_problem_that_is_no_classes_is_refused(tmp_path: Path, several: Checkpoint) -> None:
    write_any(tmp_path / "theirs", several, "transformers")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(path.read_text().replace("multi_label_classification", "regression"))
    (tmp_path / "theirs" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="problem_type 'regression' is not read"):
        read_any(tmp_path / "theirs")


@pytest.mark.parametrize("layout", ["timm", "torchvision"])
def test_layouts_without_a_word_for_it_are_refused(tmp_path: Path, several: Checkpoint, layout: str) -> None:
    with pytest.raises(CheckpointError, match=f"{layout} cannot say that a picture may show several"):
        write_any(tmp_path / "theirs", several, layout)
    save(tmp_path / "model", several)
    with pytest.raises(CheckpointError, match=f"{layout} cannot say"):
        convert(open_origin(str(tmp_path / "model")), tmp_path / "theirs", layout)
    assert not (tmp_path / "theirs").exists()
    found = inspect(tmp_path / "model")
    assert "transformers" in found.writable
    assert f"{layout} cannot say" in found.not_writable[layout]


def test_adapters_alone_know_it(tmp_path: Path, several: Checkpoint) -> None:
    base = random_checkpoint()
    save(tmp_path / "base", base)
    adapted = several.model
    adapted.load_state_dict(base.model.state_dict())
    inject(adapted, ("backbone.encoder.blocks.0.attention.qkv",), 2, 4.0)
    merged = merge(read(tmp_path / "base").model)
    begun = {"source": str(tmp_path / "base"), "sha256": fingerprint(base.model.state_dict())}
    whole = replace(several, model=merged, lineage={"from": begun})
    save_adapter(tmp_path / "adapter", adapted, whole)
    assert read_any(tmp_path / "adapter").answers == "several"
    assert inspect(tmp_path / "adapter").answers == "several"
    assert torch.equal(read_any(tmp_path / "adapter").model.head.weight, base.model.head.weight)
