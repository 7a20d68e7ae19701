"""Our own model directory."""

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints.make import random_checkpoint, same
from tests.checkpoints.test_directory import file_size_limit
from vitreous.checkpoints.directory import write_directory
from vitreous.checkpoints.file import CONFIG, WEIGHTS, Checkpoint, read, save
from vitreous.errors import CheckpointError, StorageError

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {"registers": 2, "layer_scale": 0.1, "stem": "conv", "pool": "mean", "drop_path": 0.1},
    "fixed positions": {"positions": "sincos2d", "image_size": (24, 40)},
    "no head": {"classes": 0},
    "head of the paper": {"head": "mlp", "channels": 1},
}


def change(directory: Path, **values: Any) -> None:
    """Write other values into ``config.json``, with a manifest that fits."""
    config = json.loads((directory / CONFIG).read_text()) | values
    weights = (directory / WEIGHTS).read_bytes()
    write_directory(directory, {CONFIG: json.dumps(config).encode(), WEIGHTS: weights})


@pytest.mark.parametrize("options", OPTIONS)
def test_there_and_back(tmp_path: Path, options: str) -> None:
    checkpoint = random_checkpoint(temperature=1.3, **OPTIONS[options])
    save(tmp_path / "model", checkpoint)
    back = read(tmp_path / "model")
    assert same(back.model, checkpoint.model)
    assert back.model.config == checkpoint.model.config
    for field in ("preprocess", "classes", "temperature", "lineage"):
        assert getattr(back, field) == getattr(checkpoint, field)
    assert not back.model.training
    assert all(value.requires_grad for value in back.model.parameters())
    assert {path.name for path in (tmp_path / "model").iterdir()} == {CONFIG, WEIGHTS, "manifest.json"}


def test_types_of_weights(tmp_path: Path) -> None:
    checkpoint = random_checkpoint()
    checkpoint.model.to(torch.float64)
    save(tmp_path / "model", checkpoint)
    assert next(read(tmp_path / "model").model.parameters()).dtype == torch.float32
    assert same(read(tmp_path / "model", dtype=None).model, checkpoint.model)


def test_a_model_that_was_read_can_be_trained_and_saved_where_it_came_from(tmp_path: Path) -> None:
    save(tmp_path / "model", random_checkpoint())
    checkpoint = read(tmp_path / "model")
    with torch.no_grad():
        for value in checkpoint.model.parameters():
            value.add_(1.0)
    save(tmp_path / "model", checkpoint)
    assert same(read(tmp_path / "model").model, checkpoint.model)


def test_class_names_of_any_letters(tmp_path: Path) -> None:
    names = ("猫", 'a "b" \n c', "\udcff", "", "=cmd()")
    save(tmp_path / "model", replace(random_checkpoint(), classes=names))
    assert read(tmp_path / "model").classes == names


def test_what_contradicts_itself_is_no_checkpoint() -> None:
    whole = random_checkpoint()
    with pytest.raises(CheckpointError, match="2 class names for a model of 5 classes"):
        replace(whole, classes=("a", "b"))
    with pytest.raises(CheckpointError, match="preprocessing for 1 channels"):
        replace(whole, preprocess=replace(whole.preprocess, mean=(0.5,), std=(0.5,)))
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CheckpointError, match="temperature"):
            replace(whole, temperature=temperature)


def test_a_checkpoint_of_another_size_lists_the_tensors(tmp_path: Path) -> None:
    save(tmp_path / "model", random_checkpoint())
    config = json.loads((tmp_path / "model" / CONFIG).read_text())["model"]
    config["backbone"]["encoder"]["mlp_width"] = 128
    config["backbone"]["registers"] = 1
    config["pool_norm"] = True
    config["backbone"]["final_norm"] = False
    change(tmp_path / "model", model=config)
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "model")
    message = str(caught.value)
    assert "3 missing: backbone.embed.registers, pool_norm.weight, pool_norm.bias" in message
    assert "2 unexpected: backbone.norm.bias, backbone.norm.weight" in message
    assert (
        "6 of another shape: backbone.encoder.blocks.0.mlp.expand.weight (wanted 128x64, found 96x64)"
        in message
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"format": "vitreous/2"}, "this version reads 'vitreous/1'"),
        ({"format": "vitreous/1", "family": "swin"}, "family 'swin'"),
        ({"classes": ["a"]}, "1 class names for a model of 5"),
        ({"classes": [1, 2, 3, 4, 5]}, "classes must be a list of names"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": 0}, "temperature must be a positive number"),
        ({"lineage": []}, "lineage an object"),
        ({"surprise": 1}, "wanted the keys"),
        ({"model": {}}, "missing key"),
        ({"preprocess": {"sise": 3}}, "unknown key 'preprocess.sise'"),
    ],
)
def test_a_configuration_that_cannot_be_meant(tmp_path: Path, values: dict[str, Any], reason: str) -> None:
    save(tmp_path / "model", random_checkpoint())
    change(tmp_path / "model", **values)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": 10**9},
        {"patch": 0},
        {"heads": 0},
        {"heads": -4},
        {"registers": 10**30},
        {"image_size": [10**9, 10**9]},
        {"image_size": [10**6, 10**6], "positions": "sincos2d"},
        {"image_size": [-8, -8]},
        {"encoder": {"width": 2**40, "mlp_width": 2**40}},
        {"encoder": {"width": -64, "mlp_width": 96}},
    ],
)
def test_absurd_sizes_cost_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    save(tmp_path / "model", random_checkpoint())
    config = json.loads((tmp_path / "model" / CONFIG).read_text())["model"]
    config["backbone"] |= changes
    change(tmp_path / "model", model=config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_full_disk_leaves_the_old_model(tmp_path: Path) -> None:
    old, new = random_checkpoint(), random_checkpoint(seed=1)
    save(tmp_path / "model", old)
    whole = (tmp_path / "model" / WEIGHTS).stat().st_size
    for size in range(0, whole, whole // 40):
        with file_size_limit(size), pytest.raises(StorageError, match="nothing was changed"):
            save(tmp_path / "model", new)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert same(read(tmp_path / "model").model, old.model)


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    checkpoint = random_checkpoint()
    save(tmp_path / "model", checkpoint)
    (tmp_path / "model").rename(tmp_path / "model.previous")
    assert same(read(tmp_path / "model").model, checkpoint.model)


def test_lineage_is_json(tmp_path: Path) -> None:
    checkpoint = Checkpoint(*_parts(), lineage={"where": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "model", checkpoint)
    assert not any(tmp_path.iterdir())


def _parts() -> tuple[Any, Any, tuple[str, ...]]:
    whole = random_checkpoint()
    return whole.model, whole.preprocess, whole.classes
