"""Readings carried back through layers are what whole matrices give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vitreous.explain.carrying import Layer, carried_back

from .matrices import normalised


def adding(matrix: Tensor) -> Layer:
    return Layer(lambda tokens: matrix @ tokens, matrix.shape[1], adds=True)


def merging(matrix: Tensor) -> Layer:
    return Layer(lambda tokens: matrix @ tokens, matrix.shape[1], adds=False)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_reading_is_a_row_of_the_normalised_matrix() -> None:
    first, second = drawn(0, 6, 6), drawn(1, 6, 6)
    identity = torch.eye(6, dtype=torch.float64)
    whole = normalised((identity + second) @ (identity + first), identity)
    for token in range(6):
        found = carried_back([adding(first), adding(second)], {2: identity[token]})
        assert torch.allclose(found, whole[token])


def test_readings_of_several_depths_and_merging_add_up() -> None:
    first, second, third = drawn(0, 6, 6), drawn(1, 3, 3), drawn(2, 3, 3)
    pairs = torch.kron(torch.eye(3, dtype=torch.float64), torch.full((1, 2), 0.5, dtype=torch.float64))
    layers = [adding(first), merging(pairs), adding(second), adding(third)]
    readings = {0: drawn(3, 6), 1: drawn(4, 6), 3: drawn(5, 3), 4: drawn(6, 3)}
    fine, coarse = torch.eye(6, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    after = {0: fine, 1: fine + first}
    after[3] = (coarse + second) @ pairs @ after[1]
    after[4] = (coarse + third) @ after[3]
    kept = {0: fine, 1: fine, 3: pairs, 4: pairs}
    wanted = sum(reading @ normalised(after[at], kept[at]) for at, reading in readings.items())
    assert torch.allclose(carried_back(layers, readings), wanted)


def test_where_nothing_is_gathered_a_reading_stays_where_it_is() -> None:
    reading = drawn(0, 4)
    assert torch.equal(carried_back([], {0: reading}), reading)
    assert torch.allclose(carried_back([adding(torch.zeros(4, 4).double())], {1: reading}), reading)


@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 4), st.floats(1e-6, 1e6))
def test_what_stayed_and_what_was_gathered_count_alike(
    seed: int, tokens: int, depth: int, scale: float
) -> None:
    layers = [adding(scale * drawn(seed + layer, tokens, tokens)) for layer in range(depth)]
    reading = drawn(seed + depth, tokens)
    found = carried_back(layers, {depth: reading})
    assert float(found.sum()) == pytest.approx(2 * float(reading.sum()), rel=1e-6)
    assert (found >= reading * (1 - 1e-9) - 1e-9).all()


def test_it_works_where_gradients_are_off() -> None:
    with torch.inference_mode():
        reading = torch.tensor([1.0, 0.0])
    with torch.no_grad():
        matrix = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
        assert carried_back([adding(matrix)], {1: reading.clone()}).tolist() == [1.0, 1.0]
