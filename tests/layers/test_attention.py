"""Attention against torch's own and against its own explicit weights; layouts; stochastic depth."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from vitreous.layers.attention import Attention, ScaledDotProduct
from vitreous.layers.layout import Layout
from vitreous.layers.mlp import DropPath, LayerScale, Mlp, QuickGELU


def test_attention_is_that_of_torch() -> None:
    ours, theirs = Attention(width=24, heads=3), nn.MultiheadAttention(24, 3, batch_first=True)
    with torch.no_grad():
        ours.qkv.weight.copy_(theirs.in_proj_weight)
        ours.qkv.bias.copy_(theirs.in_proj_bias.normal_())
        ours.projection.weight.copy_(theirs.out_proj.weight)
        ours.projection.bias.copy_(theirs.out_proj.bias.normal_())
    tokens = torch.randn(2, 7, 24)
    wanted, _ = theirs(tokens, tokens, tokens)
    assert_close(ours(tokens, Layout(1, 2, 3)), wanted, atol=1e-6, rtol=1e-5)


@given(heads=st.integers(1, 4), tokens=st.integers(1, 9), biased=st.booleans())
def test_explicit_weights_times_values_are_the_fused_output(heads: int, tokens: int, biased: bool) -> None:
    queries, keys, values = torch.randn(3, 2, heads, tokens, 8).unbind(0)
    bias = torch.randn(heads, tokens, tokens) if biased else None
    weights = ScaledDotProduct.weights(queries, keys, bias)
    assert_close(weights.sum(-1), torch.ones(2, heads, tokens))
    fused = ScaledDotProduct()(queries, keys, values, bias)
    assert_close(weights @ values, fused, atol=1e-5, rtol=1e-5)


def test_a_few_rows_of_weights_are_those_of_all() -> None:
    queries, keys = torch.randn(2, 1, 2, 6, 4).unbind(0)
    everything = ScaledDotProduct.weights(queries, keys)
    assert_close(ScaledDotProduct.weights(queries[:, :, :1], keys), everything[:, :, :1])


def test_a_bias_is_called_with_the_layout_and_moves_the_weights() -> None:
    class Blind(nn.Module):
        def forward(self, layout: Layout) -> Tensor:
            bias = torch.zeros(layout.tokens, layout.tokens)
            bias[:, layout.prefix :] = -torch.inf  # nobody sees the patches
            return bias

    attention, layout = Attention(width=8, heads=2, bias=Blind()), Layout(1, 2, 2)
    tokens = torch.randn(1, 5, 8)
    changed = torch.cat([tokens[:, :1], torch.randn(1, 4, 8)], dim=1)
    assert_close(attention(tokens, layout)[:, 0], attention(changed, layout)[:, 0])


@given(prefix=st.integers(0, 3), rows=st.integers(1, 5), cols=st.integers(1, 5))
def test_layout_joins_what_it_split(prefix: int, rows: int, cols: int) -> None:
    layout = Layout(prefix, rows, cols)
    tokens = torch.randn(2, layout.tokens, 6)
    first, grid = layout.split(tokens)
    assert first.shape == (2, prefix, 6)
    assert grid.shape == (2, 6, rows, cols)
    assert torch.equal(layout.join(first, grid), tokens)


def test_quick_gelu_is_near_gelu_and_not_equal() -> None:
    values = torch.linspace(-4, 4, 50)
    difference = (QuickGELU()(values) - nn.GELU()(values)).abs().max()
    assert 0.01 < difference < 0.03


def test_mlp_works_on_each_token_alone() -> None:
    mlp = Mlp(8, 32)
    tokens = torch.randn(2, 5, 8)
    assert_close(mlp(tokens)[:, 2:3], mlp(tokens[:, 2:3]))


def test_layer_scale_starts_at_its_initial_value() -> None:
    tokens = torch.randn(1, 3, 4)
    assert_close(LayerScale(4, 0.25)(tokens), tokens * 0.25)


def test_drop_path_drops_whole_pictures_and_keeps_the_mean() -> None:
    drop = DropPath(0.3).train()
    branch = drop(torch.ones(4000, 2, 3))
    per_picture = branch.flatten(1)
    assert set(per_picture.unique().tolist()) <= {0.0, per_picture.max().item()}
    assert (per_picture.amin(1) == per_picture.amax(1)).all()
    assert abs(branch.mean().item() - 1) < 0.05
    assert torch.equal(drop.eval()(branch), branch)


def test_drop_path_draws_for_the_global_batch_wherever_it_is_cut() -> None:
    drop = DropPath(0.5).train()
    branch = torch.ones(8, 1)
    torch.manual_seed(3)
    whole = drop(branch)
    pieces = []
    for start in (0, 4):
        torch.manual_seed(3)
        drop.rows = (start, start + 4, 8)
        pieces.append(drop(branch[start : start + 4]))
    assert torch.equal(torch.cat(pieces), whole)


def test_a_bias_for_a_few_sequences_is_taken_again_for_the_next_ones() -> None:
    queries, keys, values = torch.randn(3, 6, 2, 5, 4).unbind(0)
    few = torch.randn(3, 2, 5, 5)
    every = few.repeat(2, 1, 1, 1)
    mix = ScaledDotProduct()
    assert_close(mix(queries, keys, values, few), mix(queries, keys, values, every))
    assert_close(mix.weights(queries, keys, few), mix.weights(queries, keys, every))
    learnt = few.clone().requires_grad_()
    assert_close(mix(queries, keys, values, learnt), mix(queries, keys, values, every), atol=1e-6, rtol=1e-5)
