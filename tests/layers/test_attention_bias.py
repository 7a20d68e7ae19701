"""Relative position bias: which row of a table an offset has, and how a table goes to another grid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitreous.layers.attention_bias import RelativeBias, relative_index, resize_bias
from vitreous.layers.layout import Layout

METHODS = ("bilinear", "bicubic", "geometric")
sides = st.integers(1, 6)


def table_of(layout: Layout, heads: int = 2, seed: int = 0) -> Tensor:
    """A random table for a grid."""
    offsets = (2 * layout.rows - 1) * (2 * layout.cols - 1) + 3 * (layout.prefix > 0)
    return torch.randn(offsets, heads, generator=torch.Generator().manual_seed(seed))


@given(sides, sides)
def test_an_offset_has_one_row_wherever_its_patches_are(rows: int, cols: int) -> None:
    index = relative_index(rows, cols)
    seen: dict[tuple[int, int], int] = {}
    for query in range(rows * cols):
        for key in range(rows * cols):
            offset = (query // cols - key // cols, query % cols - key % cols)
            assert seen.setdefault(offset, int(index[query, key])) == index[query, key]
    assert sorted(seen.values()) == list(range((2 * rows - 1) * (2 * cols - 1)))


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_prefix_tokens_have_three_rows_of_their_own(prefix: int) -> None:
    layout = Layout(prefix, 3, 2)
    bias = RelativeBias(2, layout)
    with torch.no_grad():
        bias.table.copy_(table_of(layout))
    found = bias(layout)  # (heads, N, N)
    assert found.shape == (2, layout.tokens, layout.tokens)
    if prefix:
        to_patch, from_patch, between = bias.table[-3:]
        assert (found[:, :prefix, prefix:] == to_patch[:, None, None]).all()
        assert (found[:, prefix:, :prefix] == from_patch[:, None, None]).all()
        assert (found[:, :prefix, :prefix] == between[:, None, None]).all()
    patches = bias.table[relative_index(3, 2).flatten()].T.reshape(2, 6, 6)
    assert torch.equal(found[:, prefix:, prefix:], patches)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_the_same_grid_keeps_every_bit(method: str, grid: tuple[int, int]) -> None:
    layout = Layout(1, *grid)
    table = table_of(layout)
    assert resize_bias(table, layout, layout, method) is table


@settings(max_examples=30)
@given(st.sampled_from(METHODS), sides, sides, sides, sides)
def test_a_table_of_one_number_stays_it(method: str, rows: int, cols: int, down: int, across: int) -> None:
    origin, target = Layout(1, rows, cols), Layout(1, down, across)
    table = torch.full_like(table_of(origin), 0.7)
    found = resize_bias(table, origin, target, method)
    assert found.shape == table_of(target).shape
    assert torch.allclose(found, torch.full_like(found, 0.7), atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, "bilinear_swapped"])
def test_rows_of_prefix_tokens_are_never_resampled(method: str) -> None:
    origin, target = Layout(1, 3, 5), Layout(1, 6, 4)
    table = table_of(origin)
    assert torch.equal(resize_bias(table, origin, target, method)[-3:], table[-3:])


def test_swapped_sides_count_on_the_native_grid_too() -> None:
    wide, tall = Layout(1, 3, 5), Layout(1, 5, 3)
    table = table_of(wide)
    assert torch.equal(
        resize_bias(table, wide, wide, "bilinear_swapped"), resize_bias(table, tall, wide, "bilinear")
    )
    assert resize_bias(table, wide, tall, "bilinear_swapped") is table
    square = Layout(1, 4, 4)
    for target in (square, wide):
        both = [resize_bias(table_of(square), square, target, m) for m in ("bilinear", "bilinear_swapped")]
        assert torch.equal(*both)


def test_geometric_steps_keep_the_nearest_offsets() -> None:
    """From 14 to 24 patches a side the offsets -1, 0 and 1 keep their numbers, and the outermost move out."""
    origin, target = Layout(0, 14, 14), Layout(0, 24, 24)
    grid = torch.randn(27, 27)
    found = resize_bias(grid.reshape(-1, 1), origin, target, "geometric").reshape(47, 47)
    assert torch.allclose(found[22:25, 22:25], grid[12:15, 12:15], atol=1e-6)
    assert torch.allclose(found[0, 0], grid[0, 0], atol=1e-3)
    uniform = resize_bias(grid.reshape(-1, 1), origin, target, "bilinear").reshape(47, 47)
    assert not torch.allclose(uniform[22:25, 22:25], grid[12:15, 12:15], atol=1e-2)


@pytest.mark.parametrize("method", [*METHODS, "bilinear_swapped"])
def test_every_head_is_resized_alone_and_gets_a_gradient(method: str) -> None:
    origin, target = Layout(1, 3, 5), Layout(1, 5, 4)
    table = table_of(origin, heads=3).requires_grad_()
    whole = resize_bias(table, origin, target, method)
    alone = resize_bias(table[:, 1:2], origin, target, method)
    assert torch.allclose(whole[:, 1:2], alone, atol=1e-6)
    whole.square().sum().backward()
    assert table.grad is not None and (table.grad.abs().sum(0) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_of_the_table_is_kept(dtype: torch.dtype) -> None:
    bias = RelativeBias(2, Layout(1, 3, 3), "geometric").to(dtype)
    assert bias(Layout(1, 5, 4)).dtype == dtype
