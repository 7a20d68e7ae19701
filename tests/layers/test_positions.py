"""Position tables: identity on their own grid, prefix untouched on any other, the published waves."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vitreous.layers.layout import Layout
from vitreous.layers.positions import (
    LearnedPositions,
    build_positions,
    resize_positions,
    sincos_1d,
    sincos_2d,
)

sides = st.integers(1, 9)
methods = st.sampled_from(["antialias", "plain", "corners"])


@given(rows=sides, cols=sides, prefix=st.integers(0, 3), method=methods)
def test_the_same_grid_comes_back_bit_for_bit(rows: int, cols: int, prefix: int, method: str) -> None:
    layout = Layout(prefix, rows, cols)
    table = torch.randn(1, layout.tokens, 8)
    assert resize_positions(table, layout, layout, method) is table


@given(rows=sides, cols=sides, new_rows=sides, new_cols=sides, prefix=st.integers(1, 3), method=methods)
def test_prefix_rows_stay_and_the_grid_takes_its_new_size(
    rows: int, cols: int, new_rows: int, new_cols: int, prefix: int, method: str
) -> None:
    origin, target = Layout(prefix, rows, cols), Layout(prefix, new_rows, new_cols)
    table = torch.randn(1, origin.tokens, 8)
    resized = resize_positions(table, origin, target, method)
    assert resized.shape == (1, target.tokens, 8)
    assert torch.equal(resized[:, :prefix], table[:, :prefix])
    assert resized.isfinite().all()


@given(method=methods, rows=sides, cols=sides)
def test_a_constant_table_stays_constant(method: str, rows: int, cols: int) -> None:
    table = torch.full((1, 12, 4), 0.7)
    resized = resize_positions(table, Layout(0, 3, 4), Layout(0, rows, cols), method)
    assert_close(resized, torch.full_like(resized, 0.7), atol=1e-5, rtol=1e-5)


def test_corners_keep_the_corner_patches() -> None:
    table = torch.randn(1, 9, 4)
    resized = resize_positions(table, Layout(0, 3, 3), Layout(0, 7, 5), "corners")
    assert_close(resized[0, 0], table[0, 0], atol=1e-6, rtol=1e-6)
    assert_close(resized[0, -1], table[0, -1], atol=1e-6, rtol=1e-6)


def test_one_dimensional_waves_are_those_of_the_transformer() -> None:
    waves = sincos_1d(torch.arange(50), 16)
    for position, channel in ((0, 0), (7, 3), (49, 10), (31, 15)):
        angle = position / 10000 ** (2 * (channel // 2) / 16)
        wanted = math.cos(angle) if channel % 2 else math.sin(angle)
        assert waves[position, channel].item() == pytest.approx(wanted, abs=1e-6)


def test_two_dimensional_waves_tell_columns_then_rows() -> None:
    waves = sincos_2d(3, 5, 16).reshape(3, 5, 16)
    assert torch.equal(waves[0, :, :8], waves[2, :, :8])  # the first half knows no row
    assert torch.equal(waves[:, 0, 8:], waves[:, 4, 8:])  # the second half knows no column
    assert waves[1, 4, 1].item() == pytest.approx(math.sin(4 / 10), abs=1e-6)
    assert waves[2, 0, 12].item() == pytest.approx(math.cos(2), abs=1e-6)


def test_every_place_of_a_grid_is_told_from_every_other() -> None:
    for waves in (sincos_2d(14, 14, 64), sincos_1d(torch.arange(196), 64)):
        distances = torch.cdist(waves, waves) + 9 * torch.eye(196)
        assert distances.min() > 0.1


@pytest.mark.parametrize("kind", ["learned", "sincos1d", "sincos2d", "none"])
def test_each_kind_answers_for_any_grid(kind: str) -> None:
    positions = build_positions(kind, 16, Layout(1, 4, 4), "antialias")
    if isinstance(positions, LearnedPositions):
        torch.nn.init.normal_(positions.table)
    for rows, cols in ((4, 4), (2, 7), (9, 3)):
        table = positions(Layout(1, rows, cols))
        assert table.shape == (1, 1 + rows * cols, 16)
        assert table.isfinite().all()
    assert list(positions.state_dict()) == (["table"] if kind == "learned" else [])


def test_fixed_tables_are_real_while_a_model_is_laid_out_without_memory() -> None:
    with torch.device("meta"):
        positions = build_positions("sincos2d", 16, Layout(1, 4, 4), "antialias")
    assert not positions(Layout(1, 4, 4)).is_meta
