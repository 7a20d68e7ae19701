"""A bias that follows from a box and from where cells are, and from nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vitreous.layers.box_bias import BoxBias, axes_of, sine_boxes
from vitreous.layers.placed_attention import sine_places


def boxes(seed: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 + 0.8 * torch.rand(2, count, 4, generator=generator)


def test_it_is_a_sum_of_one_part_for_the_row_and_one_for_the_column() -> None:
    torch.manual_seed(0)
    told = BoxBias(8, 3)(boxes(0, 5), axes_of(torch.ones(2, 4, 6, dtype=torch.bool)))
    assert told.shape == (2, 3, 5, 24)
    grid = told.view(2, 3, 5, 4, 6)
    mixed = grid[..., :1, :] + grid[..., :1] - grid[..., :1, :1]  # of the first row and the first column
    assert_close(mixed, grid, atol=1e-5, rtol=1e-5)


def test_a_box_moved_with_the_cells_has_the_same_bias() -> None:
    torch.manual_seed(0)
    bias, step = BoxBias(8, 2), 1 / 8
    here = torch.tensor([[[0.4, 0.4, 0.2, 0.3]]])
    there = here + torch.tensor([step, 2 * step, 0, 0])
    axes = axes_of(torch.ones(1, 8, 8, dtype=torch.bool))
    one, other = (bias(box, axes).view(2, 8, 8) for box in (here, there))
    assert_close(one[:, :6, :7], other[:, 2:, 1:], atol=1e-5, rtol=1e-5)


def test_middles_are_shares_of_the_pictures_own_cells() -> None:
    seen = torch.zeros(2, 4, 4, dtype=torch.bool)
    seen[0] = True
    seen[1, :2, :3] = True
    axes = axes_of(seen)
    assert_close(axes.down[0], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    assert_close(axes.down[1], torch.tensor([0.25, 0.75, 1.25, 1.75]))
    assert_close(axes.across[1, :3], torch.tensor([1 / 6, 0.5, 5 / 6]))


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_sines_tell_boxes_apart_and_keep_their_norm(seed: int, count: int) -> None:
    told = sine_boxes(boxes(seed, count), 16)
    assert told.shape == (2, count, 32)
    assert_close(told.square().sum(-1), torch.full((2, count), 16.0))
    assert torch.cdist(told[0], told[1]).min() > 0


def test_the_middle_of_a_box_is_told_in_the_words_of_cells() -> None:
    cells = sine_places(torch.ones(1, 1, 4, dtype=torch.bool), 16, torch.float32)[0]  # of x = 1/4, ... 1
    box = sine_boxes(torch.tensor([[[0.5, 1.0, 0.1, 0.1]]]), 16)[0, 0]
    assert_close(box[:8], cells[1, 8:], atol=1e-4, rtol=0)  # across
    assert_close(box[8:16], cells[0, :8], atol=1e-4, rtol=0)  # down: the only row, at 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_kind_of_its_weights(dtype: torch.dtype) -> None:
    bias = BoxBias(8, 2).to(dtype)
    axes = axes_of(torch.ones(2, 3, 3, dtype=torch.bool))
    assert bias(boxes(1, 2).to(dtype), axes).dtype == dtype
