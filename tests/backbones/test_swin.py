"""Swin: stages, maps, merging, and learning."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from vitreous.backbones.config import SwinConfig
from vitreous.backbones.interface import Layout
from vitreous.backbones.swin import Merging, Swin, build_swin
from vitreous.errors import ConfigError
from vitreous.models import catalog


def tiny(**changes: Any) -> SwinConfig:
    values: dict[str, Any] = {"width": 8, "depths": (2, 2, 1), "heads": (1, 2, 4), "window": 2}
    return SwinConfig(**values | {"patch": 2, "image_size": (16, 24)} | changes)


def build(config: SwinConfig) -> Swin:
    torch.manual_seed(0)
    return build_swin(config).eval()


def test_a_map_for_each_stage_and_the_last_is_normalised() -> None:
    swin = build(tiny())
    assert (swin.channels, swin.strides) == ((8, 16, 32), (2, 4, 8))
    features = swin(torch.randn(2, 3, 16, 24))
    assert [tuple(grid.shape) for grid in features.maps] == [(2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 2, 3)]
    assert features.prefix.shape == (2, 0, 32)
    mean = features.maps[-1].mean(1)
    assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (2, 2), (50, 3), (1, 40)])
def test_any_picture_size(size: tuple[int, int]) -> None:
    swin = build(tiny())
    grids = tiny().grids_at(size)
    maps = swin(torch.randn(1, 3, *size)).maps
    assert [tuple(grid.shape[-2:]) for grid in maps] == list(grids)


def test_merging_takes_neighbours_column_by_column() -> None:
    merging = Merging(2, 1e-5)
    torch.nn.init.eye_(merging.reduce.weight)  # keeps the first two of four neighbours
    tokens = torch.randn(1, 6, 2)  # 2 x 3
    merged, layout = merging(tokens, Layout(0, 2, 3))
    assert layout == Layout(0, 1, 2)
    upper_left, lower_left, upper_right, lower_right = tokens[0, [0, 3, 1, 4]]
    four = torch.cat([upper_left, lower_left, upper_right, lower_right])
    assert_close(merged[0, 0], merging.norm(four)[:4])
    zeros = torch.zeros(4)  # beyond the odd side
    assert_close(merged[0, 1], merging.norm(torch.cat([tokens[0, 2], tokens[0, 5], zeros]))[:4])


def test_only_odd_blocks_shift_and_information_crosses_windows_through_them() -> None:
    for depth, crosses in ((1, False), (2, True)):
        swin = build(tiny(depths=(depth,), heads=(2,), window=4, image_size=(16, 16)))
        images = torch.randn(1, 3, 16, 16, requires_grad=True)
        # The last token of the first window, and a pixel of the window after it.
        swin.stages[0](*swin.embed(images))[0][0, 3].sum().backward()
        assert bool(images.grad[0, :, 0, 8:].abs().sum() > 0) is crosses  # type: ignore[index]


def test_parts_of_a_patch_are_padded_or_cut_off() -> None:
    images = torch.randn(1, 3, 17, 25)
    padded, cut = build(tiny()), build(tiny(cut_edges=True))
    assert padded(images).maps[0].shape[-2:] == (9, 13)
    assert cut(images).maps[0].shape[-2:] == (8, 12)
    changed = images.clone()
    changed[..., -1] += 1
    assert torch.equal(cut(images).maps[-1], cut(changed).maps[-1])
    assert not torch.equal(padded(images).maps[-1], padded(changed).maps[-1])


def test_stochastic_depth_rises_through_all_stages() -> None:
    swin = build(tiny(drop_path=0.4))
    rates = [block.drop_path.probability for stage in swin.stages for block in stage.encoder.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_positions_are_resized_to_other_sizes() -> None:
    swin = build(tiny(positions="learned"))
    assert swin.embed.positions is not None and swin.embed.positions.table.shape == (1, 96, 8)
    assert swin(torch.randn(1, 3, 32, 32)).maps[0].shape[-2:] == (16, 16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": (3, 3, 3)}, "cannot be shared by 3 heads"),
        ({"heads": (1, 2)}, "3 depths and 2 heads"),
        ({"depths": ()}, "0 depths and 3 heads"),
        ({"window": ((2, 2),)}, "1 values of window for 3 stages"),
        ({"shift": ((2, 1), (1, 1), (1, 1))}, "a shift must be smaller than its window, got 2x1"),
        ({"shift": ((-1, 0), (0, 0), (0, 0))}, "shift must be 0 or more, got -1"),
        ({"window": 0}, "window must be 1 or more"),
        ({"patch": 32}, "larger than the picture"),
        ({"merge_eps": 0.0}, "merge_eps must be above 0"),
        ({"mlp_ratio": 0.01}, "mlp_ratio must be above 0"),
        ({"drop_path": 1.0}, "drop_path is a probability"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_options_reach_the_backbone_by_name() -> None:
    config = catalog.configure("swin_t", options={"window": 12, "drop_path": 0.2}, image_size=384)
    assert config.backbone.windows == ((12, 12),) * 4
    by_stage = catalog.configure("swin_tiny", options={"window": [[4, 4], [2, 4], [2, 2]]})
    assert by_stage.backbone.windows == ((4, 4), (2, 4), (2, 2))


def test_a_few_steps_on_fixed_data_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("swin_tiny", classes=4)).train()
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = cross_entropy(model(images).logits, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
