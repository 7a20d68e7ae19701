"""Swin from one layout to another, and what each of them refuses, by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.make import same
from tests.parity.cases_swin import (
    from_timm,
    from_torchvision,
    from_transformers,
    microsoft_swin,
    official_state,
    timm_model,
    timm_swin,
    torchvision_swin,
    transformers_swin,
)
from tests.parity.twins import difference, pictures, randomise
from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models.catalog import build
from vitreous.models.config import ClassifierConfig

pytest.importorskip("timm")

LOADERS: dict[str, Any] = {
    "timm": lambda path: from_timm(path, strict_img_size=True),
    "transformers": from_transformers,
    "torchvision": from_torchvision,
}
ONE: dict[str, Any] = {"depths": (2,), "heads": (2,)}  # stage
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "each axis": {"shift": "each_axis", "image_size": (64, 96)},
    "shorter axis": {"shift": "shorter_axis"},
    "no shift where one window covers the map": {"image_size": (16, 16), **ONE},
    "shifted before padding": {"shift_first": True, "image_size": (40, 56)},
    "shifted after padding": {"image_size": (40, 56)},
    "one axis shifted": {"image_size": (16, 64), **ONE},
    "neither axis shifted": {"image_size": (16, 64), "shift": "shorter_axis", **ONE},
    "always shifted": {"image_size": (16, 16), "shift": ((2, 2),), **ONE},
    "shifts of its own": {"shift": ((1, 2), (0, 0))},
    "windows by stage": {"window": ((4, 4), (2, 2))},
    "oblong windows": {"window": ((2, 4), (2, 4))},
    "windows like square ones": {"window": ((1, 5), (1, 5)), "image_size": (64, 160)},
    "windows larger than maps": {"window": 6, "image_size": (16, 16)},
    "edges cut off": {"image_size": (66, 67), "cut_edges": True},
    "edges padded": {"image_size": (61, 62)},
    "norm epsilon": {"norm_eps": 1e-3},
    "epsilon of patches": {"merge_eps": 1e-3},
    "gelu_tanh": {"activation": "gelu_tanh"},
    "positions": {"positions": "learned"},
    "patches as they are": {"patch_norm": False},
    "one channel": {"channels": 1},
    "no head": {"classes": 0},
    "head of two layers": {"head": "mlp"},
    "norm after pooling": {"pool_norm": True},
    "one block": {"depths": (1,), "heads": (2,)},
    "another MLP": {"mlp_ratio": 2.7},
    "another patch": {"patch": 2, "image_size": (32, 32)},
}
REFUSED: dict[str, dict[str, str]] = {
    "timm": {
        "neither axis shifted": "shifts windows by 0x0 on maps of 4x16, there by 0x2",
        "shifted after padding": "shifts after padding on maps of 10x14, there before",
        "shifts of its own": "shifts windows by 1x2",
        "windows like square ones": "table of windows of 1x5 for one of square windows",
        "windows larger than maps": "larger than the maps",
        "edges padded": "no multiple of patch 4",
        "norm epsilon": "norm epsilon is 0.001",
        "epsilon of patches": "norm epsilon is 0.001",
        "gelu_tanh": "activation is gelu_tanh",
        "positions": "table of positions",
        "patches as they are": "patches are not normalised",
        "head of two layers": "head of two layers",
        "norm after pooling": "normalises after pooling",
    },
    "transformers": {
        "one axis shifted": "shifts windows by 0x2 on maps of 4x16, there by 0x0",
        "shifted before padding": "shifts before padding on maps of 10x14, there after",
        "always shifted": "shifts windows by 2x2 on maps of 4x4, there by 0x0",
        "shifts of its own": "shifts windows by 1x2",
        "windows by stage": r"windows differ by stage \(4x4, 2x2\)",
        "oblong windows": "windows are not square",
        "windows like square ones": "windows are not square",
        "windows larger than maps": "larger than the maps",
        "edges cut off": "no multiple of patch 4",
        "epsilon of patches": "norm epsilon is 0.001",
        "patches as they are": "patches are not normalised",
        "no head": "no head",
        "head of two layers": "head of two layers",
        "norm after pooling": "normalises after pooling",
    },
    "torchvision": {
        "neither axis shifted": "shifts windows by 0x0 on maps of 4x16, there by 0x2",
        "shifted before padding": "shifts before padding on maps of 10x14, there after",
        "always shifted": "shifts windows by 2x2 on maps of 4x4, there by 0x0",
        "shifts of its own": "shifts windows by 1x2",
        "windows by stage": "windows differ by stage",
        "edges padded": "no multiple of patch 4",
        "norm epsilon": "norm epsilon is 0.001",
        "epsilon of patches": "norm epsilon is 0.001",
        "gelu_tanh": "activation is gelu_tanh",
        "positions": "table of positions",
        "patches as they are": "patches are not normalised",
        "one channel": "takes 1 channels",
        "no head": "no head",
        "head of two layers": "head of two layers",
        "norm after pooling": "normalises after pooling",
        "one block": "one block",
    },
}


def checkpoint_of(**options: Any) -> Checkpoint:
    """A small Swin with a random value in every tensor; options are fields of its configurations."""
    head = {key: options[key] for key in ("classes", "head", "pool_norm") if key in options}
    sizes: dict[str, Any] = {
        "width": 24,
        "depths": (2, 2),
        "heads": (2, 3),
        "window": 4,
        "image_size": (64, 64),
    }
    swin = SwinConfig(**sizes | {key: value for key, value in options.items() if key not in head})
    config = ClassifierConfig(backbone=swin, pool="mean", **{"classes": 5} | head)
    statistics = {"mean": (0.4,) * swin.channels, "std": (0.3,) * swin.channels}
    preprocess = Preprocess(size=swin.image_size, shorter=None, **statistics)
    names = ("ant", "bee", "cat", "dog", "eel")[: config.classes]
    return Checkpoint(randomise(build(config)), preprocess, names, 1.0 if head else 1.7)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("layout", LOADERS)
def test_what_a_library_has_a_place_for_it_computes_alike(tmp_path: Path, layout: str, model: str) -> None:
    pytest.importorskip(layout)
    checkpoint = checkpoint_of(**MODELS[model])
    reason = REFUSED[layout].get(model)
    if reason is not None:
        with pytest.raises(CheckpointError, match=reason) as caught:
            write_any(tmp_path / "there", checkpoint, layout)
        assert "\n" not in str(caught.value) and not any(tmp_path.iterdir())
        return
    write_any(tmp_path / "there", checkpoint, layout)
    other, forward = LOADERS[layout](tmp_path / "there")
    size, channels = checkpoint.model.config.image_size, checkpoint.model.config.channels
    images = pictures(size, channels)
    scaled = checkpoint.temperature
    ours, other = checkpoint.model.double(), other.double()
    with torch.no_grad():
        expected, found = ours(images).logits / scaled, forward(images)
    # A head divided by a temperature was rounded once, to the float32 of the file.
    assert torch.allclose(expected, found, atol=1e-6 if scaled != 1.0 else 1e-10)
    back = read_any(tmp_path / "there")
    assert (back.classes, back.preprocess) == (checkpoint.classes, checkpoint.preprocess)
    head = ("head.weight", "head.bias")
    for key, value in checkpoint.model.float().state_dict().items():
        if key not in head:
            assert torch.equal(value, back.model.state_dict()[key]), key
    with torch.no_grad():
        again = back.model.double()(images).logits
    assert torch.allclose(again, found, atol=1e-10)


@pytest.mark.parametrize("layout", LOADERS)
def test_published_sizes_go_from_any_layout_to_any_other(tmp_path: Path, layout: str) -> None:
    square: dict[str, Any] = {"img_size": 64, "window_size": 4}
    sources = {
        "timm": lambda path: timm_swin(path, **square),
        "transformers": lambda path: transformers_swin(
            path, image_size=64, window_size=4, layer_norm_eps=1e-5
        ),
        "torchvision": torchvision_swin,
        "microsoft": lambda path: microsoft_swin(path, **square),
    }
    for source, make in sources.items():
        checkpoint = read_any(make(tmp_path / source).path)
        write_any(tmp_path / f"{source}-back", checkpoint, layout)
        other, forward = LOADERS[layout](tmp_path / f"{source}-back")
        images = pictures((64, 64))
        other.double()
        assert difference(checkpoint.model.double(), forward, images).relative < 1e-9, source
        assert same(read_any(tmp_path / f"{source}-back").model, checkpoint.model.float())


def changed(path: Path, section: str | None = None, **values: Any) -> None:
    """Edit a directory's config.json."""
    config = json.loads((path / "config.json").read_text())
    (config if section is None else config[section]).update(values)
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"norm_layer": "rmsnorm"}, "model_args.norm_layer 'rmsnorm' is not a part of Swin"),
        ({"surprise": 3}, "model_args.surprise 3 is not a part of Swin"),
        ({"global_pool": "max"}, "global_pool 'max' is not read"),
        ({"num_heads": [4, 3, 4]}, r"num_heads \[4, 3, 4\], but the tables have \[2, 3, 4\]"),
        ({"head_dim": 8}, "head_dim 8 is not read"),
        ({"window_size": 8}, r"of another shape: layers\.0\.blocks\.0\.attn\.relative_position_bias_table"),
        ({"window_size": [4, 4, 4, 4]}, "4 windows for 3 stages"),
        ({"window_size": 0}, "window_size: wanted a positive whole number"),
        ({"img_size": [10**9, 10**9]}, "more than 67108864 are refused"),
        ({"always_partition": "yes"}, "always_partition: wanted true or false"),
    ],
)
def test_timm_arguments_that_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    timm_swin(tmp_path)
    changed(tmp_path, "model_args", **change)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_timm_architectures_and_ratios_that_are_refused(tmp_path: Path) -> None:
    timm_swin(tmp_path / "a")
    changed(tmp_path / "a", architecture="swinv2_tiny_window8_256")
    with pytest.raises(CheckpointError, match="architecture 'swinv2_tiny_window8_256' is not a Swin"):
        read_any(tmp_path / "a")
    timm_swin(tmp_path / "b", mlp_ratio=(4, 2, 4))
    with pytest.raises(CheckpointError, match="MLPs of 96, 96, 384 at widths from 24"):
        read_any(tmp_path / "b")


def test_unexplained_and_missing_tensors_are_errors(tmp_path: Path) -> None:
    timm_swin(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({**state, "surprise": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="does not explain: surprise"):
        read_any(tmp_path)
    del state["layers.1.blocks.1.attn.qkv.bias"]
    save_file(state, path)
    with pytest.raises(CheckpointError, match=r"1 missing: layers\.1\.blocks\.1\.attn\.qkv\.bias"):
        read_any(tmp_path)


def test_the_second_version_is_refused_by_name(tmp_path: Path) -> None:
    import timm
    from timm.models import save_for_hf
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
    from transformers import Swinv2Config, Swinv2ForImageClassification

    sizes = {"embed_dim": 24, "depths": (1, 1), "num_heads": (2, 3)}
    second = timm.create_model("swinv2_tiny_window8_256", img_size=64, window_size=4, **sizes)
    save_for_hf(second, str(tmp_path / "timm"), safe_serialization=True)
    save_file(second.state_dict(), tmp_path / "bare.safetensors")
    for source in ("timm", "bare.safetensors"):
        with pytest.raises(CheckpointError, match="cosine attention"):
            read_any(tmp_path / source)
    values = {"image_size": 64, "window_size": 4} | {key: list(v) if key != "embed_dim" else v
                                                    for key, v in sizes.items()}  # fmt: skip
    Swinv2ForImageClassification(Swinv2Config(**values)).save_pretrained(tmp_path / "transformers")
    with pytest.raises(CheckpointError, match="model_type 'swinv2'"):
        read_any(tmp_path / "transformers")
    vision = SwinTransformer([4, 4], 24, [1, 2], [2, 3], [4, 4], num_classes=5, block=SwinTransformerBlockV2,
                             downsample_layer=PatchMergingV2)  # fmt: skip
    torch.save(vision.state_dict(), tmp_path / "v2.pth")
    with pytest.raises(CheckpointError, match="cosine attention"):
        read_any(tmp_path / "v2.pth")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not known"),
        ({"model_type": "donut-swin"}, "model_type 'donut-swin'"),
        ({"depths": [2, 2, 2]}, r"depths \[2, 2, 2\], but the weights have \[2, 2, 1\]"),
        ({"num_heads": [2, 3, 2]}, r"num_heads \[2, 3, 2\], but the weights have \[2, 3, 4\]"),
        ({"embed_dim": 48}, "embed_dim 48, but the weights have 24"),
        ({"patch_size": 8}, "patch_size"),
        ({"window_size": 3}, "relative_position_bias_table"),
        ({"window_size": [2, 2]}, "window_size: wanted a positive whole number"),
        ({"mlp_ratio": 3.0}, None),
        ({"use_absolute_embeddings": True}, "position_embeddings is not a table of positions"),
        ({"layer_norm_eps": 0}, "norm_eps must be above 0"),
        ({"image_size": 2}, "larger than the picture"),
    ],
)
def test_transformers_values_that_are_refused(
    tmp_path: Path, change: dict[str, Any], reason: str | None
) -> None:
    transformers_swin(tmp_path)
    changed(tmp_path, **change)
    if reason is None:  # the shapes know better
        assert read_any(tmp_path).model.config.backbone.mlp_ratio == 4.0
        return
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


def test_transformers_relatives_are_refused_by_name(tmp_path: Path) -> None:
    from transformers import SwinBackbone, SwinConfig

    config = SwinConfig(image_size=32, embed_dim=24, depths=[2, 1], num_heads=[2, 3], window_size=4)
    SwinBackbone(config).save_pretrained(tmp_path / "backbone")
    with pytest.raises(CheckpointError, match="SwinBackbone"):
        read_any(tmp_path / "backbone")
    transformers_swin(tmp_path / "whole")
    (tmp_path / "whole/model.safetensors").rename(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"stand in config\.json"):
        read_any(tmp_path / "weights.safetensors")


def test_torchvision_windows_that_nothing_tells(tmp_path: Path) -> None:
    path = torchvision_swin(tmp_path / "swin.pth", window_size=[1, 4]).path
    with pytest.raises(CheckpointError, match="a table of 7 offsets is of no square window"):
        read_any(path)


def test_timm_windows_that_nothing_tells(tmp_path: Path) -> None:
    save_file(timm_model(window_size=(2, 4)).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="a table of 21 offsets is of no square window"):
        read_any(tmp_path / "weights.safetensors")


def test_microsoft_sizes_that_contradict_one_another(tmp_path: Path) -> None:
    state = official_state(timm_model(img_size=64))
    torch.save(state | {"absolute_pos_embed": torch.zeros(1, 16, 24)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="16 positions do not fit"):
        read_any(tmp_path / "a.pth")
    key = "layers.0.blocks.1.attn_mask"
    torch.save(state | {key: torch.zeros_like(state[key])}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="no mask of shifted windows"):
        read_any(tmp_path / "b.pth")
    torch.save(state | {"layers.0.blocks.0.attn.logit_scale": torch.zeros(2)}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="cosine attention"):
        read_any(tmp_path / "c.pth")


def test_a_writer_of_swin_takes_nothing_else(tmp_path: Path) -> None:
    from tests.checkpoints.make import random_checkpoint
    from vitreous.checkpoints.foreign.timm.swin import WRITER

    assert WRITER.reasons(random_checkpoint().model.config) == ["it does not stand on a Swin"]
    assert replace(checkpoint_of(), temperature=1.0).temperature == 1.0
