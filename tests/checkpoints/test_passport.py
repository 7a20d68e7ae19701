"""What a file says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.make import random_checkpoint
from tests.parity.twins import google_arrays
from vitreous.checkpoints.destination import LAYOUTS, write_any
from vitreous.checkpoints.directory import sha256
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.checkpoints.passport import inspect
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path: Path, layout: str) -> None:
    checkpoint = random_checkpoint()
    write_any(tmp_path / "model", checkpoint, layout)
    passport = inspect(tmp_path / "model")
    assert (passport.layout, passport.family, passport.problem) == (layout, "vit", None)
    assert passport.parameters == sum(value.numel() for value in checkpoint.model.parameters())
    assert passport.classes == 5 and passport.first_classes == checkpoint.classes
    assert passport.preprocess == checkpoint.preprocess
    assert passport.sha256 == {"model.safetensors": sha256(tmp_path / "model/model.safetensors")}
    assert passport.missing == passport.left_over == passport.unused == ()
    values = passport.to_dict()
    assert (values["patch"], values["grid"], values["positions"]) == (8, [4, 4], "learned")
    assert (values["norm_eps"], values["activation"], values["pool"]) == (1e-6, "gelu", "class")
    json.dumps(values)


def test_our_own_says_more(tmp_path: Path) -> None:
    save(tmp_path, random_checkpoint(temperature=1.5))
    passport = inspect(tmp_path)
    assert (passport.temperature, passport.lineage) == (1.5, {"made": "for a test"})
    with pytest.raises(CheckpointError, match="damaged"):
        (tmp_path / "model.safetensors").write_bytes(b"x")
        inspect(tmp_path)


def test_catalog_sizes_have_their_names(tmp_path: Path) -> None:
    save(tmp_path, random_checkpoint(depth=4, mlp_width=256, patch=4))
    assert inspect(tmp_path).model == "vit_tiny"


def test_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **google_arrays())
    passport = inspect(tmp_path / "a.npz")
    assert (passport.layout, passport.container, passport.problem) == ("google", "npz", None)
    assert passport.assumed == ("preprocessing", "class names")


def test_tensors_left_over_and_missing(tmp_path: Path) -> None:
    write_any(tmp_path / "model", random_checkpoint(), "timm")
    (tmp_path / "model/manifest.json").unlink()
    path = tmp_path / "model/model.safetensors"
    state = load_file(path)
    del state["norm.bias"]
    save_file({**state, "surprise": torch.zeros(2)}, path)
    passport = inspect(tmp_path / "model")
    assert (passport.left_over, passport.missing) == (("surprise",), ("norm.bias",))
    assert passport.problem is not None and "surprise" in passport.problem


def test_a_model_that_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    write_any(tmp_path / "model", random_checkpoint(), "timm")
    state = load_file(tmp_path / "model/model.safetensors")
    save_file({**state, "norm_pre.weight": torch.zeros(64)}, tmp_path / "weights")
    passport = inspect(tmp_path / "weights")
    assert passport.layout == "timm" and passport.config is None
    assert passport.problem is not None and "a norm ahead of the blocks" in passport.problem


def test_an_unknown_layout_names_tensors_and_the_nearest(tmp_path: Path) -> None:
    write_any(tmp_path / "model", random_checkpoint(), "timm")
    state = load_file(tmp_path / "model/model.safetensors")
    save_file({f"encoder.{key}": value for key, value in state.items()}, tmp_path / "weights")
    passport = inspect(tmp_path / "weights")
    assert passport.layout == "unknown" and passport.problem is not None
    assert "encoder.blocks.0" in passport.problem and "the nearest is timm" in passport.problem
    save_file({"x": torch.zeros(2)}, tmp_path / "other")
    assert "no layout explains any" in str(inspect(tmp_path / "other").problem)


def test_no_number_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "ours", random_checkpoint())
    write_any(tmp_path / "theirs", random_checkpoint(), "transformers")

    def refuse(*_: object) -> None:
        raise AssertionError("tensors were read")

    monkeypatch.setattr("vitreous.checkpoints.stored.read_safetensors", refuse)
    assert inspect(tmp_path / "ours").problem is inspect(tmp_path / "theirs").problem is None


def test_a_tensor_of_another_shape_is_a_problem(tmp_path: Path) -> None:
    config = catalog.configure("vit_tiny", classes=3, options={"width": 64, "depth": 2, "heads": 2})
    prepare = Preprocess(size=(32, 32), shorter=None)
    write_any(tmp_path / "model", Checkpoint(catalog.build(config), prepare, tuple("abc")), layout="timm")
    assert inspect(tmp_path / "model").problem is None
    weights = tmp_path / "model" / "model.safetensors"
    tensors = load_file(weights)
    name = next(key for key in tensors if key.endswith("mlp.fc1.weight"))
    tensors[name] = tensors[name][:, :5].contiguous()
    save_file(tensors, weights, metadata={"format": "pt"})
    (tmp_path / "model" / "manifest.json").unlink()
    problem = inspect(tmp_path / "model").problem
    assert problem is not None and "another shape" in problem
