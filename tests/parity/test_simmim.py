"""SimMIM on Swin: transformers' class and the authors' own files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.checkpoints.make import same
from tests.parity.cases_swin import (
    hidden_in,
    rebuilt,
    simmim_from_transformers,
    transformers_simmim,
)
from tests.parity.twins import BOUND, pictures, randomise
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models import catalog
from vitreous.models.config import ClassifierConfig, SimMIMConfig

pytest.importorskip("transformers")

TWO: dict[str, Any] = {"depths": [2, 2], "num_heads": [2, 3], "encoder_stride": 8}
VARIANTS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "positions": ({"use_absolute_embeddings": True}, [32, 64]),
    "one channel": ({"num_channels": 1}, [32, 48]),
    "no bias of queries": ({"qkv_bias": False}, [32]),
    "two stages": (TWO, [32, 40]),
    "one window covers the map": ({"window_size": 4, **TWO}, [32, 64]),
}


@torch.no_grad()
def agree(checkpoint: Checkpoint, model: Any, forward: Any, sides: list[int]) -> None:
    for dtype, bound in BOUND.items():
        ours = checkpoint.model.to(dtype)
        model.to(dtype)
        for side in sides:
            images = pictures((side, side), checkpoint.model.config.channels).to(dtype)
            theirs = forward(images)
            assert (rebuilt(ours, images) - theirs).abs().max() < bound * theirs.abs().max(), (dtype, side)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    arguments, sides = VARIANTS[variant]
    twin = transformers_simmim(tmp_path / "theirs", **arguments)
    checkpoint = read_any(twin.path)
    agree(checkpoint, twin.model, twin.forward, sides)
    checkpoint = read_any(twin.path)
    write_any(tmp_path / "back", checkpoint, "transformers")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config and same(again.model, checkpoint.model)
    agree(checkpoint, *simmim_from_transformers(tmp_path / "back"), sides)


def test_hiding_nothing_and_pictures_of_any_size(tmp_path: Path) -> None:
    twin = transformers_simmim(tmp_path)
    model = read_any(tmp_path).model
    images = pictures((32, 32)).float()
    with torch.no_grad():
        theirs = twin.model(images).reconstruction
        assert torch.allclose(model(images).images, theirs, atol=1e-4)
        assert model(pictures((35, 50)).float()).images.shape == (3, 3, 35, 50)
        changed = images.clone()
        first = torch.zeros(3, 64, dtype=torch.bool)
        first[:, 0] = True
        changed[..., :4, :4] += 1  # what is hidden does not matter
        assert torch.allclose(model(images, first).images, model(changed, first).images)


def official_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a transformers directory as the authors name them."""
    renamed = {
        "attention.self.relative_position_bias_table": "attn.relative_position_bias_table",
        "attention.output.dense": "attn.proj",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.norm": "patch_embed.norm",
        "embeddings.mask_token": "mask_token",
        "embeddings.position_embeddings": "absolute_pos_embed",
        "layernorm": "norm",
        "encoder.layers": "layers",
    }
    state: dict[str, Tensor] = {}
    found = load_file(path / "model.safetensors")
    for key, value in found.items():
        if ".self.key." in key or ".self.value." in key:
            continue
        if ".self.query." in key:
            parts = [found[key.replace("query", part)] for part in ("query", "key", "value")]
            value, key = torch.cat(parts), key.replace("attention.self.query", "attn.qkv")
        for theirs, official in renamed.items():
            key = key.replace(theirs, official)
        state[key.replace("swin.", "encoder.", 1)] = value
    return state


@pytest.mark.parametrize("positions", [False, True])
def test_the_authors_files(tmp_path: Path, positions: bool) -> None:
    twin = transformers_simmim(
        tmp_path / "theirs", use_absolute_embeddings=positions, layer_norm_eps=1e-5, image_size=32
    )
    torch.save({"model": official_state(twin.path)}, tmp_path / "simmim.pth")
    checkpoint = read_any(tmp_path / "simmim.pth")
    config = checkpoint.model.config
    assert isinstance(config, SimMIMConfig) and checkpoint.lineage["layout"] == "microsoft"
    assert config.image_size == (32, 32)
    agree(checkpoint, twin.model, twin.forward, [32])
    with pytest.raises(CheckpointError, match="family 'simmim', but swin_b is 'swin'"):
        read_any(tmp_path / "simmim.pth", name="swin_b")
    with pytest.raises(CheckpointError, match="of another shape"):
        read_any(tmp_path / "simmim.pth", name="simmim_swin_b")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoder_stride": 32}, "encoder_stride 32 paints no whole picture: cells of the last"),
        ({"image_size": [32, 64]}, "pictures of 32x64 pixels, where theirs are square"),
        ({"model_type": "vit"}, "model_type 'vit'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    transformers_simmim(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_backbone_with_a_mask_token_and_no_decoder_is_a_backbone(tmp_path: Path) -> None:
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=32, embed_dim=24, depths=[2, 1], num_heads=[2, 3], window_size=4)
    model = randomise(SwinModel(config, use_mask_token=True))
    model.save_pretrained(tmp_path)
    checkpoint = read_any(tmp_path)
    assert isinstance(checkpoint.model.config, ClassifierConfig)
    assert checkpoint.lineage["unused"] == ["embeddings.mask_token"]
    images = pictures((48, 48)).float()
    with torch.no_grad():
        assert torch.allclose(checkpoint.model(images).logits, model(images).pooler_output, atol=1e-4)


def test_pretraining_becomes_a_classifier(tmp_path: Path) -> None:
    checkpoint = read_any(transformers_simmim(tmp_path / "theirs").path)
    tuned, notes = adapt(checkpoint, classes=("ant", "bee"), image_size=(64, 64))
    assert same(tuned.model.backbone, checkpoint.model.backbone)
    assert "mask token and decoder of the pretraining is left out" in notes[1]
    assert tuned.model(torch.randn(1, 3, 64, 64)).logits.shape == (1, 2)
    assert inspect(tmp_path / "theirs").family == "simmim"


def test_what_no_library_holds(tmp_path: Path) -> None:
    model = catalog.build(catalog.configure("simmim_swin_tiny", image_size=(32, 48)))
    checkpoint = Checkpoint(model, Preprocess(size=(32, 48), shorter=None), ())
    with pytest.raises(CheckpointError, match="32x48 pixels are not square"):
        write_any(tmp_path / "a", checkpoint, "transformers")
    with pytest.raises(CheckpointError, match="timm has no class for a model of family 'simmim'"):
        write_any(tmp_path / "b", checkpoint, "timm")


def test_a_few_steps_on_fixed_data_lower_the_error() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("simmim_swin_tiny")).train()
    images = torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), size=(32, 32), mode="bilinear")
    hidden = hidden_in(images, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    errors = []
    for _ in range(15):
        error = (model(images, hidden).images - images).abs().mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[-1] < 0.7 * errors[0]
