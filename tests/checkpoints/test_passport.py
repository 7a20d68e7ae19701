"""What a file says of itself."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.hostile import timm_directory
from tests.checkpoints.make import random_checkpoint
from tests.parity.twins import google_arrays, transformers_twin
from vitreous.checkpoints import directory
from vitreous.checkpoints.destination import LAYOUTS, write_any
from vitreous.checkpoints.directory import sha256
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.checkpoints.passport import inspect
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "dall_e"])
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
    save_file({f"tower.{key}": value for key, value in state.items()}, tmp_path / "weights")
    passport = inspect(tmp_path / "weights")
    assert passport.layout == "unknown" and passport.problem is not None
    assert "tower.blocks.0" in passport.problem
    assert re.search(
        r"the nearest is \w+'s \w+, which has 32 of 32 once 'tower\.' is taken off", passport.problem
    )
    save_file({"x": torch.zeros(2)}, tmp_path / "other")
    assert "no layout that is read comes near" in str(inspect(tmp_path / "other").problem)


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
    assert problem is not None
    assert re.search(
        r"1 of another shape: blocks\.0\.mlp\.fc1\.weight \(wanted 256x64, found 256x5\)", problem
    )


def test_what_it_can_become_is_said(tmp_path: Path) -> None:
    write_any(tmp_path / "model", random_checkpoint(norm_eps=1e-5), "transformers")
    passport = inspect(tmp_path / "model")
    assert passport.loadable and passport.writable == ("vitreous", "transformers")
    assert "norm epsilon is 1e-05" in passport.not_writable["timm"]
    values = passport.to_dict()
    assert values["loadable"] is True and values["writable"] == ["vitreous", "transformers"]
    (tmp_path / "model/manifest.json").unlink()
    path = tmp_path / "model/model.safetensors"
    state = load_file(path)
    del state["classifier.bias"]
    save_file(state, path)
    assert not inspect(tmp_path / "model").loadable and inspect(tmp_path / "model").writable == ()


def test_parameters_stand_beside_the_catalogs(tmp_path: Path) -> None:
    save(tmp_path, random_checkpoint(depth=4, mlp_width=256, patch=4))
    passport = inspect(tmp_path)
    assert passport.model_parameters == passport.parameters
    assert passport.catalog_parameters is not None and passport.catalog_parameters > passport.parameters


def test_where_class_names_come_from(tmp_path: Path) -> None:
    save(tmp_path / "ours", random_checkpoint())
    write_any(tmp_path / "theirs", random_checkpoint(), "transformers")
    np.savez(tmp_path / "a.npz", **google_arrays())
    names = [inspect(tmp_path / name).class_names for name in ("ours", "theirs", "a.npz")]
    assert names == ["config.json", "id2label in config.json", "nowhere, they are numbered"]


def test_who_wrote_it(tmp_path: Path) -> None:
    transformers_twin(tmp_path / "model")
    origin = inspect(tmp_path / "model").origin
    assert re.fullmatch(r"transformers \d+\.\d+\.\d+ ViTForImageClassification", origin)
    np.savez(tmp_path / "a.npz", **google_arrays())
    assert inspect(tmp_path / "a.npz").origin == "google (.npz)"


def test_a_training_checkpoint_says_what_was_taken(tmp_path: Path) -> None:
    model = timm_directory(tmp_path)
    state = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    state = {f"module.{key}": value.to(torch.bfloat16) for key, value in state.items()}
    values = {"model": state, "epoch": 7, "args": argparse.Namespace(lr=0.1, seed=1)}
    torch.save(values, model / "pytorch_model.bin")
    passport = inspect(model)
    beside = {"epoch": "7", "args": "2 settings"}
    assert passport.lineage == {"entry": "model", "prefix": "module.", "beside": beside}
    assert passport.dtypes == ("bfloat16",) and passport.loadable


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["stages.0.blocks.0.conv_dw.weight", "stem.0.weight"], "ConvNeXt"),
        (["layers.0.blocks.0.attn.logit_scale", "layers.0.blocks.0.attn.cpb_mlp.0.weight"], "Swin V2"),
        (["blocks.0.attn.q_proj.weight", "blocks.0.mlp.fc1_g.weight"], "EVA-02"),
        (["visual.conv1.weight", "token_embedding.weight"], "CLIP"),
        (["bert.embeddings.word_embeddings.weight"], "BERT or a relative, a model of text"),
        (["base.layers.0.lora_A.weight"], "a LoRA adapter, which needs the model it was made for"),
        (["image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"], "SAM"),
    ],
)
def test_kinds_that_are_not_read_are_named(names: list[str], kind: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(2) for name in names}, tmp_path / "weights")
    passport = inspect(tmp_path / "weights")
    assert passport.looks_like == kind
    assert not passport.loadable and f"look like {kind}" in str(passport.problem)


def test_every_file_is_hashed_once_and_the_manifest_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, random_checkpoint())
    hashed: list[str] = []
    real = directory.sha256

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return real(path)

    monkeypatch.setattr(directory, "sha256", counted)
    monkeypatch.setattr("vitreous.checkpoints.passport.sha256", counted)
    assert inspect(tmp_path).sha256 == {"model.safetensors": real(tmp_path / "model.safetensors")}
    assert sorted(hashed) == ["config.json", "model.safetensors"]
