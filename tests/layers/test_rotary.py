"""Rotary positions against rotations of the plane written out, and what they are made for: scores that
know how far apart two patches are, and nothing else of where they are."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vitreous.layers.attention import Attention
from vitreous.layers.layout import Layout
from vitreous.layers.rotary import GridRotary

sides = st.integers(1, 7)
steps = st.sampled_from(["period", "rate"])


@settings(max_examples=30)
@given(rows=sides, cols=sides, prefix=st.integers(0, 3), pairs=st.integers(1, 4), step=steps)
def test_each_pair_turns_by_its_own_angle(rows: int, cols: int, prefix: int, pairs: int, step: str) -> None:
    layout, width = Layout(prefix, rows, cols), 4 * pairs
    rotary = GridRotary(width, base=50.0, step=step)
    vectors = torch.randn(2, 3, layout.tokens, width, dtype=torch.float64)
    turned = rotary(vectors, layout)
    assert torch.equal(turned[:, :, :prefix], vectors[:, :, :prefix])
    for place in range(layout.patches):
        row, col = divmod(place, cols)
        centre = (2 * (row + 0.5) / rows - 1, 2 * (col + 0.5) / cols - 1)
        for pair in range(2 * pairs):
            angle = 2 * math.pi * centre[pair // pairs] / 50.0 ** (pair % pairs / pairs)
            first, second = vectors[..., prefix + place, pair], vectors[..., prefix + place, pair + 2 * pairs]
            wanted = (
                first * math.cos(angle) - second * math.sin(angle),
                first * math.sin(angle) + second * math.cos(angle),
            )
            found = turned[..., prefix + place, pair], turned[..., prefix + place, pair + 2 * pairs]
            for mine, theirs in zip(found, wanted, strict=True):  # coordinates are float32 numbers
                assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@given(rows=sides, cols=sides, step=steps)
def test_lengths_stay(rows: int, cols: int, step: str) -> None:
    layout = Layout(1, rows, cols)
    vectors = torch.randn(1, 2, layout.tokens, 16, dtype=torch.float64)
    turned = GridRotary(16, step=step)(vectors, layout)
    assert_close(turned.norm(dim=-1), vectors.norm(dim=-1))


def test_a_score_depends_on_the_distance_of_two_patches_alone() -> None:
    layout = Layout(0, 4, 6)
    rotary = GridRotary(16)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64, generator=generator).unbind(0)
    every = layout.tokens
    queries, keys = (rotary(one.expand(1, 1, every, 16), layout)[0, 0] for one in (query, key))
    scores = (queries @ keys.T).reshape(4, 6, 4, 6)
    assert scores[1, 1, 2, 4] == pytest.approx(scores[0, 2, 1, 5].item(), abs=1e-5)  # coordinates are float32
    assert scores[1, 1, 2, 4] != pytest.approx(scores[1, 1, 3, 4].item(), abs=1e-3)


def test_the_two_ways_of_stepping_differ_by_rounding_alone() -> None:
    layout = Layout(0, 5, 7)
    vectors = torch.randn(1, 2, 35, 64, dtype=torch.float64)
    one, other = (GridRotary(64, step=step)(vectors, layout) for step in ("period", "rate"))
    assert 0 < (one - other).abs().max() < 1e-5


@pytest.mark.parametrize("step", ["period", "rate"])
def test_half_precision_turns_by_angles_of_full_precision(step: str) -> None:
    layout = Layout(2, 6, 6)
    vectors = torch.randn(1, 2, layout.tokens, 32)
    wanted = GridRotary(32, step=step)(vectors.bfloat16().float(), layout)
    found = GridRotary(32, step=step).to(torch.bfloat16)(vectors.bfloat16(), layout)
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), wanted, atol=0.05, rtol=0.02)


def test_nothing_is_kept_and_a_layout_without_memory_computes_later() -> None:
    with torch.device("meta"):
        attention = Attention(32, 2, rotary=GridRotary(16))
    assert not any("rotary" in key for key in attention.state_dict())
    attention = attention.to_empty(device="cpu")
    assert attention(torch.randn(1, 7, 32), Layout(1, 2, 3)).shape == (1, 7, 32)


@pytest.mark.parametrize("head_width", range(4, 260, 4))
def test_steps_are_those_of_both_libraries(head_width: int) -> None:
    """What transformers and timm compute, in their own words, for every width of a head that works there."""
    like = torch.zeros(1)
    pairs = head_width // 4
    places = torch.arange(0.5, 9, dtype=torch.float32) / 9 * 2 - 1
    inverse = 1 / 100.0 ** torch.arange(0, 1, 4 / head_width, dtype=torch.float32)
    if len(inverse) == pairs:  # else it counts one too many, and cannot run
        theirs = 2 * math.pi * places[:, None] * inverse[None]
        assert torch.equal(GridRotary(head_width, step="rate").angles(9, like), theirs)
    exponents = 2.0 * torch.arange(pairs, dtype=torch.float32) / (head_width // 2)
    theirs = 2 * math.pi * places[:, None] / 100.0**exponents
    assert torch.equal(GridRotary(head_width).angles(9, like), theirs)
