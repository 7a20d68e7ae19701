"""timm's ViTs, read from what timm saves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity.twins import BOUND, difference, pictures, timm_twin
from vitreous.checkpoints.foreign.timm.architectures import architecture
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.weights import load_weights
from vitreous.errors import CheckpointError

pytest.importorskip("timm")

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mean pooling": {"global_pool": "avg"},
    "mean pooling without fc_norm": {"global_pool": "avg", "fc_norm": False},
    "no class token": {"class_token": False, "global_pool": "avg"},
    "class token with fc_norm": {"fc_norm": True},
    "registers without positions": {"reg_tokens": 3, "no_embed_class": True},
    "registers with positions": {"reg_tokens": 2},
    "registers alone": {"class_token": False, "reg_tokens": 2, "global_pool": "avg"},
    "no positions of the class token": {"no_embed_class": True},
    "no positions": {"pos_embed": "none"},
    "LayerScale": {"init_values": 1e-4},
    "no bias of queries": {"qkv_bias": False},
    "no biases": {"qkv_bias": False, "proj_bias": False},
    "one channel": {"in_chans": 1},
    "gelu_tanh": {"act_layer": "gelu_tanh"},
    "quick_gelu": {"act_layer": "quick_gelu"},
    "another MLP": {"mlp_ratio": 2.7},
    "not square": {"img_size": (24, 40)},
    "padded": {"dynamic_img_pad": True},
    "no final norm": {"final_norm": False},
    "no head": {"num_classes": 0},
    "no pooling and no head": {"num_classes": 0, "global_pool": ""},
}
SIZES = [None, (48, 48), (24, 56)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits(tmp_path: Path, variant: str) -> None:
    twin = timm_twin(tmp_path, **VARIANTS[variant])
    checkpoint = read_any(tmp_path)
    native = checkpoint.model.config.backbone.image_size
    sizes = [native, *SIZES[1:], *([(30, 37)] if variant == "padded" else [])]
    channels = checkpoint.model.config.backbone.channels
    reference = twin.model
    if variant == "no pooling and no head":
        reference = lambda images: twin.model(images)[:, 0]  # noqa: E731
    for dtype, bound in BOUND.items():
        model = checkpoint.model.to(dtype)
        twin.model.to(dtype)
        for size in sizes:
            found = difference(model, reference, pictures(size, channels).to(dtype))
            assert found.relative < bound, (dtype, size, found)


def test_pickled_weights(tmp_path: Path) -> None:
    from timm.models import save_for_hf

    twin = timm_twin(tmp_path / "safe")
    save_for_hf(twin.model, str(tmp_path / "pickled"), safe_serialization=False)
    checkpoint = read_any(tmp_path / "pickled")
    assert difference(checkpoint.model, twin.model, pictures((32, 32)).float()).relative < 1e-4


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
def test_bare_file(tmp_path: Path, kind: str) -> None:
    twin = timm_twin(tmp_path / "twin", embed_dim=192, num_heads=3)
    path = tmp_path / "weights"
    state = twin.model.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state, "epoch": 3} if kind == "wrapped" else state, path)
    checkpoint = read_any(path)
    assert checkpoint.lineage["assumed"] == ["preprocessing", "class names", "activation", "pooling"]
    assert difference(checkpoint.model, twin.model, pictures((32, 32)).float()).relative < 1e-4


def test_bare_file_takes_the_heads_of_a_name(tmp_path: Path) -> None:
    twin = timm_twin(tmp_path / "twin", depth=4, mlp_ratio=4, patch_size=4)
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError, match="number of heads of width 64 is not in the file"):
        read_any(tmp_path / "weights")
    checkpoint = read_any(tmp_path / "weights", name="vit_tiny")
    assert difference(checkpoint.model, twin.model, pictures((32, 32)).float()).relative < 1e-4


def test_bare_file_of_another_size_lists_the_tensors(tmp_path: Path) -> None:
    twin = timm_twin(tmp_path / "twin")
    save_file(twin.model.state_dict(), tmp_path / "weights")
    with pytest.raises(CheckpointError) as caught:
        read_any(tmp_path / "weights", name="vit_ti_16")
    message = str(caught.value)
    assert "120 missing: blocks.2.norm1.weight" in message and "and 114 more" in message
    assert "\n" not in message
    assert "patch_embed.proj.weight (wanted 192x3x16x16, found 64x3x8x8)" in message


def test_preprocessing_and_class_names(tmp_path: Path) -> None:
    from timm.models import save_for_hf

    twin = timm_twin(tmp_path)
    labels = ["ant", "bee", "cat", "dog", "eel"]
    data = {"crop_pct": 0.9, "interpolation": "bilinear", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    save_for_hf(
        twin.model, str(tmp_path), safe_serialization=True, data_config=data,
        model_config={"label_names": labels},
    )  # fmt: skip
    checkpoint = read_any(tmp_path)
    assert checkpoint.classes == tuple(labels)
    preprocess = checkpoint.preprocess
    assert (preprocess.size, preprocess.shorter, preprocess.interpolation) == ((32, 32), 35, "bilinear")
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"pre_norm": True}, "a norm ahead of the blocks"),
        ({"qk_norm": True}, "a norm of queries and keys"),
        ({"global_pool": "map"}, "attention pooling"),
        ({"global_pool": "max"}, "global_pool 'max' is not read"),
        ({"act_layer": "relu"}, "act_layer 'relu' is not known"),
        ({"norm_layer": "rmsnorm"}, "norm_layer 'rmsnorm' is not read"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "pool_include_prefix"),
    ],
)
def test_other_parts_are_refused_by_name(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    timm_twin(tmp_path, **arguments)
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path)


def test_unknown_architecture_is_refused(tmp_path: Path) -> None:
    timm_twin(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "vit_base_patch16_rpn_224"}))
    with pytest.raises(CheckpointError, match="vit_base_patch16_rpn_224"):
        read_any(tmp_path)


def test_unexplained_and_missing_tensors_are_errors(tmp_path: Path) -> None:
    timm_twin(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({**state, "surprise": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="does not explain: surprise"):
        read_any(tmp_path)
    del state["blocks.1.attn.qkv.bias"]
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"1 missing: blocks\.1\.attn\.qkv\.bias"):
        read_any(tmp_path)


def test_architecture_names_stand_for_what_timm_makes_of_them() -> None:
    """Every name that is known here, against timm's own model of one block, laid out without memory."""
    import timm
    from timm.models.vision_transformer import Block

    from vitreous.checkpoints.foreign.plan import GATED_HEADS, HEADS

    acts = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "gate"}
    seen = 0
    for name in timm.list_models(module="vision_transformer") + timm.list_models(module="deit"):
        known = architecture(name)
        if known is None:
            continue
        with torch.device("meta"):
            model = timm.create_model(name, depth=1)
        block = model.blocks[0]
        if type(block) is not Block:  # their tensors have other names, which are refused
            assert any("in_proj" in key for key in model.state_dict()), name
            continue
        heads = known.heads or (HEADS | (GATED_HEADS if known.gated else {}))[model.embed_dim]
        found = (acts[type(block.mlp.act).__name__], model.global_pool, block.attn.num_heads)
        act = "gate" if known.gated else known.activation
        assert known.gated == (type(block.mlp).__name__ == "GluMlp"), name
        assert found == (act, {"class": "token", "mean": "avg"}[known.pool], heads), name
        assert block.norm1.eps == 1e-6 and type(model.norm_pre).__name__ == "Identity", name
        seen += 1
    assert seen > 60


@pytest.mark.parametrize(
    ("level", "change"),
    [
        ("encoder", {"norm_eps": 1e-3}),
        ("encoder", {"activation": "gelu_tanh"}),
        ("backbone", {"heads": 2}),
        ("backbone", {"position_resize": "plain"}),
        ("backbone", {"position_resize": "corners"}),
        ("classifier", {"pool": "mean"}),
    ],
)
def test_what_differs_silently_is_seen_by_the_comparison(
    tmp_path: Path, level: str, change: dict[str, Any]
) -> None:
    """The negative control: the same tensors load under another configuration, and miss the bound."""
    twin = timm_twin(tmp_path)
    checkpoint = read_any(tmp_path)
    config = checkpoint.model.config
    backbone = config.backbone
    if level == "encoder":
        backbone = replace(backbone, encoder=replace(backbone.encoder, **change))
    elif level == "backbone":
        backbone = replace(backbone, **change)
    config = replace(config, backbone=backbone, **(change if level == "classifier" else {}))
    model = load_weights(config, checkpoint.model.state_dict(), "a test")
    twin.model.double()
    images = pictures((48, 48))
    assert difference(checkpoint.model.double(), twin.forward, images).relative < 1e-9
    # The two GELUs are 8e-5 apart: only float64 tells them from rounding.
    assert difference(model.double(), twin.forward, images).relative > 1e-5
