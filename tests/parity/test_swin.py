"""Swin's variants in each layout, what libraries do differently about windows, and what is refused."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

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
from tests.parity.twins import BOUND, Forward, difference, pictures, randomise
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.weights import load_weights
from vitreous.errors import CheckpointError

pytest.importorskip("timm")

Size = tuple[int, int]


def agree(checkpoint: Checkpoint, model: nn.Module, forward: Forward, sizes: list[Size]) -> None:
    """Our model and the reference answer alike at these sizes, in both precisions."""
    for dtype, bound in BOUND.items():
        ours = checkpoint.model.to(dtype)
        model.to(dtype)
        for size in sizes:
            images = pictures(size, checkpoint.model.config.channels).to(dtype)
            found = difference(ours, forward, images)
            assert found.relative < bound, (dtype, size, found)


TIMM: dict[str, tuple[dict[str, Any], list[Size]]] = {
    "square": ({"img_size": 32}, [(32, 32), (64, 32), (44, 60)]),
    "one window everywhere": ({"img_size": 16}, [(16, 16), (32, 48)]),
    "always partitioned": ({"always_partition": True}, [(32, 48), (16, 16), (64, 36)]),
    "always, windows larger than maps": (
        {"always_partition": True, "img_size": 16, "window_size": 5},
        [(16, 16), (64, 36)],
    ),
    "a window for each stage": ({"window_size": (2, 4, 3)}, [(32, 48), (64, 36)]),
    "oblong windows": ({"window_size": (2, 4)}, [(32, 48), (64, 36)]),
    "oblong windows by stage": ({"window_size": ((2, 4), (3, 2), (2, 2))}, [(32, 48), (64, 36)]),
    "odd windows": ({"window_size": 3}, [(32, 48), (64, 36)]),
    "two stages": ({"depths": (1, 3), "num_heads": (2, 4), "window_size": (4, 3)}, [(32, 48), (64, 36)]),
    "edges cut off": ({"img_size": (30, 45), "strict_img_size": True}, [(30, 45)]),
    "fixed size": ({"strict_img_size": True}, [(32, 48)]),
    "no bias of queries": ({"qkv_bias": False}, [(32, 48), (64, 64)]),
    "one channel": ({"in_chans": 1}, [(32, 48), (64, 64)]),
    "another MLP": ({"mlp_ratio": 2.7}, [(32, 48), (64, 64)]),
    "another patch": ({"patch_size": 2}, [(32, 48), (36, 50)]),
    "no head": ({"num_classes": 0}, [(32, 48), (64, 64)]),
    "heads of a stated size": ({"head_dim": (12, 16, 24)}, [(32, 48)]),
    "pooled fast": ({"global_pool": "fastavg"}, [(32, 48)]),
}


@pytest.mark.parametrize("variant", TIMM)
def test_timm_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    arguments, sizes = TIMM[variant]
    twin = timm_swin(tmp_path / "theirs", **arguments)
    checkpoint = read_any(twin.path)
    agree(checkpoint, twin.model, twin.forward, sizes)
    checkpoint = read_any(twin.path)
    write_any(tmp_path / "back", checkpoint, "timm")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config and same(again.model, checkpoint.model)
    strict = {"strict_img_size": arguments.get("strict_img_size", False)}
    agree(checkpoint, *from_timm(tmp_path / "back", **strict), sizes)


def test_timm_after_its_size_was_changed(tmp_path: Path) -> None:
    from timm.models import save_for_hf

    model = timm_model()
    model.set_input_size((64, 64))
    randomise(model, seed=4)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    checkpoint = read_any(tmp_path)
    assert checkpoint.model.config.backbone.window == ((8, 5), (8, 5), (4, 4))
    agree(checkpoint, model, model, [(64, 64), (32, 48), (96, 100)])


def test_timm_without_pooling_gives_the_last_map(tmp_path: Path) -> None:
    twin = timm_swin(tmp_path, num_classes=0, global_pool="")
    checkpoint = read_any(tmp_path)
    images = pictures((64, 64)).float()
    with torch.no_grad():
        maps = checkpoint.model.backbone(images).maps
        theirs, stages = twin.model.forward_intermediates(images)
    assert torch.allclose(maps[-1], theirs.permute(0, 3, 1, 2), atol=1e-5)
    for ours, reference in zip(maps[:-1], stages, strict=False):
        assert torch.allclose(ours, reference, atol=1e-4)


def test_timm_until_0_9(tmp_path: Path) -> None:
    """Stages that end with what merges, beside a config.json: timm's loader takes them, too."""
    twin = timm_swin(tmp_path)
    save_file(official_state(twin.model), tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["layout"] == "timm"
    agree(checkpoint, *from_timm(tmp_path), [(32, 48), (64, 64)])


@pytest.mark.parametrize("name", [None, "swin_tiny_patch4_window7_224", "swin_s3_tiny_224", "swin_tiny"])
def test_timm_bare_file(tmp_path: Path, name: str | None) -> None:
    sizes: dict[str, Any] = {"img_size": 64, "window_size": 4, "strict_img_size": False}
    if name == "swin_tiny_patch4_window7_224":
        sizes |= {"img_size": 224, "window_size": 7}
    elif name == "swin_s3_tiny_224":
        sizes |= {"img_size": 224, "window_size": (7, 7, 14, 7)}
        sizes |= {"depths": (1, 1, 2, 2), "num_heads": (1, 1, 1, 2), "embed_dim": 8}
    elif name == "swin_tiny":
        sizes |= {"img_size": 32, "patch_size": 2, "embed_dim": 32}
        sizes |= {"depths": (2, 2, 2), "num_heads": (2, 4, 8)}
    model = timm_model(**sizes)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    checkpoint = read_any(tmp_path / "weights.safetensors", name=name)
    backbone = checkpoint.model.config.backbone
    assert backbone.image_size == (sizes["img_size"],) * 2
    agree(checkpoint, model, model, [backbone.image_size, (128, 96)])


TRANSFORMERS: dict[str, tuple[dict[str, Any], list[Size]]] = {
    "square": ({"image_size": 32}, [(32, 32), (64, 48), (50, 37)]),
    "one window covers a side": ({"window_size": 4, "depths": [2, 2], "num_heads": [2, 3]},
                                 [(32, 48), (64, 64), (32, 80)]),
    "part of a patch": ({"image_size": 30}, [(30, 30), (50, 37)]),
    "positions": ({"image_size": 32, "use_absolute_embeddings": True}, [(32, 32), (64, 64), (48, 64)]),
    "positions of whole patches": ({"image_size": 35, "use_absolute_embeddings": True}, [(32, 32), (64, 64)]),
    "positions, not square": ({"image_size": [32, 48], "use_absolute_embeddings": True}, [(32, 48)]),
    "no bias of queries": ({"qkv_bias": False}, [(32, 48), (64, 64)]),
    "one channel": ({"num_channels": 1}, [(32, 48), (64, 64)]),
    "another MLP": ({"mlp_ratio": 2.7}, [(32, 48), (64, 64)]),
    "gelu_new": ({"hidden_act": "gelu_new"}, [(32, 48), (64, 64)]),
    "quick_gelu": ({"hidden_act": "quick_gelu"}, [(32, 48), (64, 64)]),
    "odd windows": ({"window_size": 3, "image_size": 48}, [(48, 48), (64, 96), (61, 50)]),
}  # fmt: skip


@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_transformers_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    pytest.importorskip("transformers")
    arguments, sizes = TRANSFORMERS[variant]
    twin = transformers_swin(tmp_path / "theirs", **arguments)
    checkpoint = read_any(twin.path)
    if variant == "positions of whole patches":  # theirs fails at the size that it states
        twin.model.config.image_size = 32
    agree(checkpoint, twin.model, twin.forward, sizes)
    checkpoint = read_any(twin.path)
    assert checkpoint.classes == ("ant", "bee", "cat", "dog", "eel")
    write_any(tmp_path / "back", checkpoint, "transformers")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config and same(again.model, checkpoint.model)
    agree(checkpoint, *from_transformers(tmp_path / "back"), sizes)


@pytest.mark.parametrize("pooled", [True, False])
def test_transformers_model_without_a_head(tmp_path: Path, pooled: bool) -> None:
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=32, embed_dim=24, depths=[2, 1], num_heads=[2, 3], window_size=4)
    model = randomise(SwinModel(config, add_pooling_layer=pooled))
    model.save_pretrained(tmp_path)
    checkpoint = read_any(tmp_path)
    assert (checkpoint.classes, checkpoint.model.config.classes) == ((), 0)
    images = pictures((48, 64)).float()
    with torch.no_grad():
        expected = copy.deepcopy(model)(images).last_hidden_state.mean(1)
        assert torch.allclose(checkpoint.model(images).logits, expected, atol=1e-4)


def test_transformers_remembers_pictures_and_we_do_not(tmp_path: Path) -> None:
    """Why the reference is copied for each picture: after a small one it never shifts again."""
    values = {"image_size": 32, "window_size": 4, "depths": [2, 2], "num_heads": [2, 3]}
    twin = transformers_swin(tmp_path, **values)
    small, large = pictures((32, 32)).float(), pictures((64, 64)).float()
    model = read_any(tmp_path).model
    with torch.no_grad():
        fresh = twin.forward(large)
        twin.model(small)
        later = twin.model(large).logits
        assert (fresh - later).abs().max() > 1e-3
        model(small)
        assert torch.allclose(model(large).logits, fresh, atol=1e-4)


def test_transformers_pads_no_map_to_a_window_and_we_do(tmp_path: Path) -> None:
    twin = transformers_swin(tmp_path, image_size=64, window_size=4)
    small = pictures((24, 24)).float()
    with pytest.raises(RuntimeError):
        twin.forward(small)
    assert read_any(tmp_path).model(small).logits.isfinite().all()


def test_transformers_published_files_keep_an_index(tmp_path: Path) -> None:
    twin = transformers_swin(tmp_path, image_size=32)
    state = load_file(tmp_path / "model.safetensors")
    name = "swin.encoder.layers.0.blocks.0.attention.self.relative_position_index"
    save_file(state | {name: torch.zeros(4, 4)}, tmp_path / "model.safetensors")
    checkpoint = read_any(tmp_path)
    assert checkpoint.lineage["unused"] == [name]
    agree(checkpoint, twin.model, twin.forward, [(32, 32)])


TORCHVISION: dict[str, tuple[dict[str, Any], list[Size]]] = {
    "flat windows": ({"window_size": [2, 4]}, [(64, 64), (32, 48), (50, 37)]),
    "tall windows": ({"window_size": [5, 2]}, [(64, 64), (32, 48), (50, 37)]),
    "odd windows": ({"window_size": [3, 3]}, [(64, 64), (32, 48), (50, 37)]),
    "another MLP": ({"mlp_ratio": 2.7}, [(64, 64), (32, 48)]),
    "another patch": ({"patch_size": [2, 2]}, [(32, 32), (19, 40)]),
}


@pytest.mark.parametrize("variant", TORCHVISION)
def test_torchvision_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    arguments, sizes = TORCHVISION[variant]
    twin = torchvision_swin(tmp_path / "theirs.pth", **arguments)
    checkpoint = read_any(twin.path)
    agree(checkpoint, twin.model, twin.forward, sizes)
    checkpoint = read_any(twin.path)
    write_any(tmp_path / "back", checkpoint, "torchvision")
    again = read_any(tmp_path / "back")
    assert again.model.config == checkpoint.model.config and same(again.model, checkpoint.model)
    agree(checkpoint, *from_torchvision(tmp_path / "back"), sizes)


MICROSOFT: dict[str, tuple[dict[str, Any], list[Size]]] = {
    "windows of 7": ({"img_size": 112, "window_size": 7}, [(112, 112)]),
    "windows of 12": ({"img_size": 192, "window_size": 12}, [(192, 192)]),
    "not square": ({"img_size": (64, 128)}, [(64, 128)]),
    "not square, taller": ({"img_size": (192, 64)}, [(192, 64)]),
    "one window everywhere": ({"img_size": 16}, [(16, 16)]),
    "no shifted block": ({"depths": (1, 1, 1)}, [(64, 64)]),
    "no bias of queries": ({"qkv_bias": False}, [(64, 64)]),
    "one channel": ({"in_chans": 1}, [(64, 64)]),
    "no head": ({"num_classes": 0}, [(64, 64)]),
}


@pytest.mark.parametrize("variant", MICROSOFT)
def test_microsoft_variants(tmp_path: Path, variant: str) -> None:
    arguments, sizes = MICROSOFT[variant]
    twin = microsoft_swin(tmp_path / "swin.pth", **arguments)
    checkpoint = read_any(twin.path)
    assert checkpoint.lineage["layout"] == "microsoft"
    assert checkpoint.model.config.image_size == sizes[0]
    agree(checkpoint, twin.model, twin.forward, sizes)


class _Placed(nn.Module):
    """What the authors' ``ape=True`` adds to the patches."""

    def __init__(self, embed: nn.Module, table: Tensor) -> None:
        super().__init__()
        self.embed = embed
        self.table = nn.Parameter(table)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.embed(images)
        return patches + self.table.view(1, *patches.shape[1:])


@pytest.mark.parametrize("bare", [False, True])
def test_microsoft_positions_and_patches_that_are_not_normalised(tmp_path: Path, bare: bool) -> None:
    """``ape=True`` and ``patch_norm=False`` of the authors' configuration; ``bare`` drops what follows from
    sizes, so that the table of positions alone tells the picture size."""
    model = timm_model(img_size=64)
    table = torch.randn(1, 256, 24)
    state = official_state(model) | {"absolute_pos_embed": table}
    state = {key: value for key, value in state.items() if not key.startswith("patch_embed.norm")}
    if bare:
        state = {key: value for key, value in state.items() if not key.endswith(("_mask", "_index"))}
    torch.save({"model": state}, tmp_path / "swin.pth")
    model.patch_embed.norm = nn.Identity()
    model.patch_embed = _Placed(model.patch_embed, table)
    checkpoint = read_any(tmp_path / "swin.pth")
    backbone = checkpoint.model.config.backbone
    assert (backbone.positions, backbone.patch_norm, backbone.image_size) == ("learned", False, (64, 64))
    agree(checkpoint, model, model, [(64, 64)])


def test_microsoft_without_what_follows_from_sizes(tmp_path: Path) -> None:
    twin = microsoft_swin(tmp_path / "swin.pth")
    state = torch.load(tmp_path / "swin.pth")["model"]
    torch.save({k: v for k, v in state.items() if not k.endswith(("_mask", "_index"))}, tmp_path / "bare.pth")
    checkpoint = read_any(tmp_path / "bare.pth")
    assert "picture size" in checkpoint.lineage["assumed"]
    agree(checkpoint, twin.model, twin.forward, [(64, 64)])


def test_microsoft_takes_a_name(tmp_path: Path) -> None:
    twin = microsoft_swin(tmp_path / "a.pth", img_size=112, window_size=7)
    read_any(twin.path, name="swin_tiny_patch4_window7_224")
    with pytest.raises(CheckpointError, match="windows of 7x7, unlike swin_base_patch4_window12_384"):
        read_any(twin.path, name="swin_base_patch4_window12_384")
    with pytest.raises(CheckpointError, match=r"missing: layers\.2\.blocks\.1\.norm1"):
        read_any(twin.path, name="swin_t")
    with pytest.raises(CheckpointError, match="family 'swin', but vit_b_16 is 'vit'"):
        read_any(twin.path, name="vit_b_16")
    with pytest.raises(CheckpointError, match="unknown model 'swin_x'"):
        read_any(twin.path, name="swin_x")


def test_published_preprocessing(tmp_path: Path) -> None:
    small = read_any(microsoft_swin(tmp_path / "a.pth").path).preprocess
    assert (small.shorter, small.interpolation) == (73, "bicubic")
    large = read_any(torchvision_swin(tmp_path / "b.pth", window_size=[7, 7], embed_dim=96,
                                      depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24]).path)  # fmt: skip
    assert (large.preprocess.size, large.preprocess.shorter) == ((224, 224), 232)
    assert inspect(tmp_path / "b.pth").model == "swin_t"


@pytest.mark.parametrize(
    "change",
    [
        {"shift": "each_axis"},
        {"shift": ((2, 2), (2, 2), (0, 0))},
        {"shift_first": False},
        {"norm_eps": 1e-3},
        {"merge_eps": 1e-3},
        {"activation": "gelu_tanh"},
        {"heads": (3, 3, 4)},
    ],
)
def test_what_differs_silently_is_seen_by_the_comparison(tmp_path: Path, change: dict[str, Any]) -> None:
    """The negative control: the same tensors load under another configuration, and miss the bound."""
    twin = timm_swin(tmp_path)
    checkpoint = read_any(tmp_path)
    config = checkpoint.model.config
    state = dict(checkpoint.model.state_dict())
    if "heads" in change:
        state = {k: torch.randn(v.shape[0], 3) if k.endswith("bias.table") and v.shape[1] == 2 else v
                 for k, v in state.items()}  # fmt: skip
    model = load_weights(replace(config, backbone=replace(config.backbone, **change)), state, "a test")
    images = pictures((36, 52))
    twin.model.double()
    assert difference(checkpoint.model.double(), twin.forward, images).relative < 1e-9
    assert difference(model.double(), twin.forward, images).relative > 1e-5


def test_architecture_names_stand_for_what_timm_makes_of_them() -> None:
    """Every Swin of timm's at its real size, laid out without memory and never written."""
    import timm

    from vitreous.checkpoints.foreign.plan import Found
    from vitreous.checkpoints.foreign.timm.swin import plan
    from vitreous.checkpoints.stored import Stored
    from vitreous.checkpoints.weights import Described
    from vitreous.layers.geometry import shift_on

    names = timm.list_models(module="swin_transformer")
    assert len(names) >= 9
    for name in names:
        with torch.device("meta"):
            model = timm.create_model(name)
        shapes = {key: Described("F32", tuple(value.shape)) for key, value in model.state_dict().items()}
        found = plan(Found(Stored(name, "safetensors", (), shapes, dict), None, None), name)
        backbone = found.config.backbone
        assert backbone.image_size == tuple(model.patch_embed.img_size), name
        for stage, layer in enumerate(model.layers):
            for index, block in enumerate(layer.blocks):
                grid = backbone.grids_at(backbone.image_size)[stage]
                wanted = backbone.shifts[stage] if index % 2 else (0, 0)
                assert shift_on(grid, block.window_size, wanted, "always") == block.shift_size, name
                assert (backbone.windows[stage], backbone.heads[stage]) == (
                    block.window_size,
                    block.attn.num_heads,
                ), name
        assert found.left_over(shapes) == () and found.assumed[:1] == ("preprocessing",)
