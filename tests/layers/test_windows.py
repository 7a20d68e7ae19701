"""Windows: what is cut can be put together again, and attention in them against attention under a mask."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from vitreous.layers.attention import Attention, ScaledDotProduct
from vitreous.layers.attention_bias import RelativeBias
from vitreous.layers.geometry import shift_on, whole_windows
from vitreous.layers.layout import Layout
from vitreous.layers.windows import APART, Windowed, cut, merge, partition, shift

sides = st.integers(1, 9)
windows = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(rows=st.integers(1, 4), cols=st.integers(1, 4), window=windows)
def test_merge_puts_together_what_partition_cut(rows: int, cols: int, window: tuple[int, int]) -> None:
    grid = torch.randn(2, rows * window[0], cols * window[1], 3)
    cut_apart = partition(grid, window)
    assert cut_apart.shape == (2, rows * cols, window[0] * window[1], 3)
    assert torch.equal(merge(cut_apart, window, *grid.shape[1:3]), grid)


@given(rows=sides, cols=sides, down=st.integers(0, 9), across=st.integers(0, 9))
def test_a_shift_is_undone_by_its_negative(rows: int, cols: int, down: int, across: int) -> None:
    grid = torch.randn(2, rows, cols, 3)
    moved = shift(grid, (down, across))
    assert torch.equal(moved[:, 0, 0], grid[:, down % rows, across % cols])
    assert torch.equal(shift(moved, (-down, -across)), grid)


@given(rows=sides, cols=sides, window=windows, first=st.booleans(), data=st.data())
def test_a_cut_keeps_every_token_once(
    rows: int, cols: int, window: tuple[int, int], first: bool, data: st.DataObject
) -> None:
    by = tuple(data.draw(st.integers(0, side - 1)) for side in window)
    layout, whole = Layout(0, rows, cols), whole_windows(rows, cols, window)
    order, back, _ = cut(layout, window, by, shift_first=first)  # type: ignore[arg-type]
    assert order.sort().values.tolist() == list(range(whole[0] * whole[1]))
    places = torch.arange(whole[0] * whole[1]).view(whole)[:rows, :cols].flatten()
    assert torch.equal(order[back], places)


def test_a_shift_ahead_of_padding_leaves_the_padding_where_it_is() -> None:
    layout = Layout(0, 1, 3)
    after = cut(layout, (1, 2), (0, 1)).order.tolist()
    before = cut(layout, (1, 2), (0, 1), shift_first=True).order.tolist()
    assert (after, before) == ([1, 2, 3, 0], [1, 2, 0, 3])  # token 3 is padding


def test_a_mask_parts_what_only_the_shift_has_brought_together() -> None:
    mask = cut(Layout(0, 1, 4), (1, 2), (0, 1)).mask
    assert mask is not None
    assert mask[0, 0].tolist() == [[0, 0], [0, 0]]
    assert mask[1, 0].tolist() == [[0, APART], [APART, 0]]
    assert cut(Layout(0, 1, 4), (1, 2), (0, 0)).mask is None
    everywhere = cut(Layout(0, 4, 4), (2, 2), (1, 0)).mask
    assert everywhere is not None
    assert not everywhere[:2].any() and everywhere[2:].any()


@given(rows=sides, cols=sides, window=windows, by=st.booleans(), first=st.booleans())
def test_attention_in_windows_is_attention_under_a_mask(
    rows: int, cols: int, window: tuple[int, int], by: bool, first: bool
) -> None:
    """Over the whole padded grid, where tokens of different windows, or from different sides of a seam, do
    not see one another."""
    torch.manual_seed(0)
    moved = (window[0] // 2, window[1] // 2) if by else (0, 0)
    attention = Attention(6, 2, bias=RelativeBias(2, Layout(0, *window)))
    nn.init.normal_(attention.bias.table)  # type: ignore[union-attr,arg-type]
    windowed = Windowed(attention, window, moved, "always", shift_first=first)
    layout = Layout(0, rows, cols)
    tokens = torch.randn(2, rows * cols, 6)
    down, across = whole_windows(rows, cols, window)
    vertical, horizontal = (
        _places(rows, down, window[0], moved[0], first),
        _places(cols, across, window[1], moved[1], first),
    )
    padded = torch.zeros(2, down, across, 6)
    padded[:, :rows, :cols] = tokens.view(2, rows, cols, 6)
    flat = padded.flatten(1, 2)
    scores = torch.full((2, down * across, down * across), -torch.inf)
    table = attention.bias(Layout(0, *window))  # type: ignore[misc]
    for one in range(down * across):
        for other in range(down * across):
            (row, row_region), (col, col_region) = vertical[one // across], horizontal[one % across]
            (below, below_region), (right, right_region) = (
                vertical[other // across],
                horizontal[other % across],
            )
            same = (row // window[0], col // window[1]) == (below // window[0], right // window[1])
            if not same:
                continue
            inside = [(r % window[0]) * window[1] + c % window[1] for r, c in ((row, col), (below, right))]
            apart = (row_region, col_region) != (below_region, right_region)
            scores[:, one, other] = table[:, inside[0], inside[1]].detach() + APART * apart
    queries, keys, values = (
        part.unflatten(2, (2, 3)).transpose(1, 2) for part in attention.qkv(flat).chunk(3, 2)
    )
    mixed = ScaledDotProduct.weights(queries, keys, scores) @ values
    whole = attention.projection(mixed.transpose(1, 2).flatten(2)).view(2, down, across, 6)
    expected = whole[:, :rows, :cols].flatten(1, 2)
    assert_close(windowed(tokens, layout), expected, atol=1e-5, rtol=1e-5)


def _places(side: int, padded: int, window: int, by: int, shift_first: bool) -> list[tuple[int, int]]:
    """For each token of one padded axis: where it stands when the grid is shifted, and in which region."""
    if shift_first:
        where = [(token - by) % side if token < side else token for token in range(padded)]
    else:
        where = [(token - by) % padded for token in range(padded)]
    if not by:
        return [(place, 0) for place in where]
    return [(place, (place >= padded - window) + (place >= padded - by)) for place in where]


@pytest.mark.parametrize(
    ("rule", "grid", "expected"),
    [
        ("each_axis", (8, 8), (2, 2)),
        ("each_axis", (4, 8), (0, 2)),
        ("each_axis", (8, 3), (2, 0)),
        ("shorter_axis", (4, 8), (0, 0)),
        ("shorter_axis", (5, 8), (2, 2)),
        ("always", (1, 1), (2, 2)),
    ],
)
def test_where_a_grid_is_shifted(rule: str, grid: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shift_on(grid, (4, 4), (2, 2), rule) == expected


def test_a_native_grid_is_cut_once_and_no_other_grid_notices() -> None:
    torch.manual_seed(0)
    attention = Attention(6, 2, bias=RelativeBias(2, Layout(0, 2, 2)))
    native = Layout(0, 5, 6)
    kept = Windowed(attention, (2, 2), (1, 1), native=native)
    fresh = Windowed(attention, (2, 2), (1, 1))
    assert kept.order is not None and fresh.order is None and "order" not in kept.state_dict()
    for layout in (native, Layout(0, 4, 4), Layout(0, 6, 5)):
        tokens = torch.randn(2, layout.tokens, 6)
        assert torch.equal(kept(tokens, layout), fresh(tokens, layout))
    assert kept.double()(torch.randn(1, 30, 6).double(), native).dtype == torch.float64


def test_a_learned_bias_and_a_fixed_one_give_the_same_on_every_path() -> None:
    """The fused kernel is not used where a bias is learnt."""
    torch.manual_seed(0)
    windowed = Windowed(Attention(8, 2, bias=RelativeBias(2, Layout(0, 3, 3))), (3, 3), (1, 1))
    nn.init.normal_(windowed.attention.bias.table)  # type: ignore[union-attr,arg-type]
    tokens, layout = torch.randn(2, 36, 8), Layout(0, 6, 6)
    learning = windowed(tokens, layout)
    with torch.no_grad():
        assert_close(windowed(tokens, layout), learning, atol=1e-6, rtol=1e-5)
    learning.sum().backward()
    table = windowed.attention.bias.table  # type: ignore[union-attr]
    assert isinstance(table, Tensor) and table.grad is not None and table.grad.abs().min() > 0
