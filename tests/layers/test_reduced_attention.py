"""Keys and values of a coarser grid: what is asked, what is left out, and what is padded."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vitreous.layers.attention import Attention
from vitreous.layers.layout import Layout
from vitreous.layers.lora import adapted_layers, inject, merge
from vitreous.layers.reduced_attention import ReducedAttention

WIDTH, HEADS = 12, 3


@pytest.fixture
def attention() -> ReducedAttention:
    torch.manual_seed(0)
    return ReducedAttention(WIDTH, HEADS, 2, 1e-5).double()


def tokens(rows: int, cols: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows * cols, WIDTH, generator=generator, dtype=torch.float64)


def by_hand(attention: ReducedAttention, given: Tensor, rows: int, cols: int) -> Tensor:
    """The same for each head and each square of tokens, in plain words."""
    grid = given.view(len(given), rows, cols, WIDTH)
    squares = [
        torch.einsum("bhwc,ochw->bo", grid[:, row : row + 2, col : col + 2], attention.reduce.weight)
        for row in range(0, rows - 1, 2)
        for col in range(0, cols - 1, 2)
    ]
    coarse = attention.norm(torch.stack(squares, dim=1) + attention.reduce.bias)
    queries, both = attention.queries(given), attention.keys_values(coarse)
    mixed = []
    for head in torch.arange(WIDTH).chunk(HEADS):
        scores = queries[..., head] @ both[..., head].transpose(1, 2) / len(head) ** 0.5
        mixed.append(scores.softmax(-1) @ both[..., WIDTH + head])
    return attention.projection(torch.cat(mixed, dim=2))


@pytest.mark.parametrize(("rows", "cols"), [(4, 6), (5, 7), (2, 3)])
def test_it_is_attention_on_squares(attention: ReducedAttention, rows: int, cols: int) -> None:
    given = tokens(rows, cols)
    assert_close(attention(given, Layout(0, rows, cols)), by_hand(attention, given, rows, cols))


def test_a_grid_smaller_than_a_square_is_padded(attention: ReducedAttention) -> None:
    given = tokens(1, 3)
    padded = torch.cat([given, torch.zeros_like(given)], dim=1)
    expected = attention(padded, Layout(0, 2, 3))[:, :3]
    assert_close(attention(given, Layout(0, 1, 3)), expected)


def test_what_is_left_over_is_asked_by_nobody(attention: ReducedAttention) -> None:
    given = tokens(3, 4)
    changed = given.clone()
    changed[:, 8:] += 1  # the third row, which is no part of a square
    layout = Layout(0, 3, 4)
    before, after = attention(given, layout), attention(changed, layout)
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.isclose(before[:, 8:], after[:, 8:]).all(dim=2).any()


def test_squares_of_one_token_are_plain_attention() -> None:
    torch.manual_seed(0)
    reduced, plain = ReducedAttention(WIDTH, HEADS, 1, 1e-5), Attention(WIDTH, HEADS)
    with torch.no_grad():
        reduced.reduce.weight.copy_(torch.eye(WIDTH)[:, :, None, None])
        reduced.reduce.bias.zero_()
        plain.qkv.weight.copy_(torch.cat([reduced.queries.weight, reduced.keys_values.weight]))
        plain.qkv.bias.copy_(torch.cat([reduced.queries.bias, reduced.keys_values.bias]))
    plain.projection = reduced.projection
    # Normalised tokens, because keys and values are normalised once more.
    given = reduced.norm(tokens(3, 3).float())
    assert_close(reduced(given, Layout(0, 3, 3)), plain(given, Layout(0, 3, 3)), atol=1e-4, rtol=1e-4)


def test_keys_and_values_have_an_adapter_each(attention: ReducedAttention) -> None:
    inject(attention, ["keys_values", "queries"], rank=2, alpha=4)
    layers = adapted_layers(attention)
    assert (layers["keys_values"].fused, layers["queries"].fused) == (2, 1)
    with torch.no_grad():
        for layer in layers.values():
            layer.up.normal_()
    given, layout = tokens(4, 4), Layout(0, 4, 4)
    before = attention(given, layout)
    assert_close(merge(attention)(given, layout), before)
