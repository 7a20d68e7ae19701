"""The Mix Transformer: what its configuration refuses, its maps at any size, and what its parts do."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from vitreous.backbones.config import MiTConfig
from vitreous.backbones.mix_transformer import MixMlp, build_mix_transformer
from vitreous.config import from_plain, to_plain
from vitreous.errors import ConfigError
from vitreous.layers.attention import Attention
from vitreous.layers.layout import Layout
from vitreous.layers.reduced_attention import ReducedAttention

CONFIG = MiTConfig(
    widths=(8, 16, 24, 32), depths=(1, 2, 1, 1), heads=(1, 2, 3, 4), drop_path=0.4, image_size=(64, 64)
)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"widths": ()}, "0 stages; wanted 1 to 8"),
        ({"depths": (1, 1)}, "2 values of depths for 4 stages"),
        ({"mlp_ratios": (4.0,)}, "1 values of mlp_ratios for 4 stages"),
        ({"reductions": (8, 4, 0, 1)}, "reductions must be 1 or more, got 0"),
        ({"kernels": (7, 4, 3, 3)}, "kernels must be odd, got 4"),
        ({"heads": (3, 2, 3, 4)}, "width 8 cannot be shared by 3 heads"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"mlp_ratios": (4.0, 4.0, 4.0, 0.01)}, "mlp_ratios must be above 0"),
        ({"mlp_ratios": (4.0, 4.0, 4.0, float("nan"))}, "mlp_ratios must be above 0"),
        ({"drop_path": 1.0}, "drop_path is a probability"),
        ({"channels": 0}, "channels must be 1 or more"),
        ({"image_size": (0, 64)}, "image size must be positive"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(CONFIG, **change)


def test_config_survives_json() -> None:
    assert from_plain(MiTConfig, to_plain(CONFIG)) == CONFIG


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
def test_maps_are_what_was_promised_at_any_size(height: int, width: int) -> None:
    backbone = build_mix_transformer(CONFIG).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, height, width))
    grids = CONFIG.grids_at((height, width))
    sizes = [tuple(grid.shape[1:]) for grid in features.maps]
    assert sizes == [(channels, *grid) for channels, grid in zip(backbone.channels, grids, strict=True)]
    assert grids[0] == CONFIG.grid_at((height, width))
    for grid, stride in zip(grids, backbone.strides, strict=True):
        assert grid == (-(-height // stride), -(-width // stride))
    assert all(grid.isfinite().all() for grid in features.maps)


def test_every_map_is_normalised() -> None:
    backbone = build_mix_transformer(CONFIG).eval()
    for grid in backbone(torch.randn(2, 3, 64, 64)).maps:
        assert_close(grid.mean(1), torch.zeros_like(grid[:, 0]), atol=1e-5, rtol=0)


def test_parts_are_where_the_config_says() -> None:
    backbone = build_mix_transformer(CONFIG)
    kinds = [type(stage.blocks[0].attention) for stage in backbone.stages]
    assert kinds == [ReducedAttention, ReducedAttention, ReducedAttention, Attention]
    rates = [block.drop_path.probability for stage in backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_mlp_mixes_neighbours_and_nobody_else() -> None:
    torch.manual_seed(0)
    mlp = MixMlp(4, 8, "gelu")
    layout = Layout(0, 5, 6)
    tokens = torch.randn(1, 30, 4)
    changed = tokens.clone()
    changed[0, 2 * 6 + 3] += 1
    moved = (mlp(tokens, layout) != mlp(changed, layout)).any(dim=2).view(5, 6)
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[1:4, 2:5] = True
    assert torch.equal(moved, expected)


def test_a_picture_moved_by_the_last_stride_moves_the_maps() -> None:
    # No table of positions: away from the edges a map only moves, if nobody looks further than nearby.
    torch.manual_seed(0)
    sizes = {"widths": (8,), "depths": (1,), "heads": (1,), "reductions": (1,), "kernels": (7,)}
    config = replace(CONFIG, **sizes, steps=(4,), mlp_ratios=(4.0,))
    backbone = build_mix_transformer(config).eval()
    for stage in backbone.stages:
        nn.init.zeros_(stage.blocks[0].attention.projection.weight)
    images = torch.randn(1, 3, 64, 64)
    here, there = backbone(images).maps[0], backbone(images.roll(4, dims=3)).maps[0]
    assert_close(there[..., 3:-3, 4:-3], here[..., 3:-3, 3:-4])


def test_one_picture_is_convolved_channels_last() -> None:
    # Else a depthwise convolution of a single picture is several times slower.
    grid = Layout(0, 4, 5).split(torch.randn(1, 20, 8))[1]
    assert grid.stride() == (160, 1, 40, 8)
