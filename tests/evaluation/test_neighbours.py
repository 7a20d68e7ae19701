"""Neighbours are those that scikit-learn finds, and vote as the papers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from vitreous.errors import ConfigError, DataError, VitreousError
from vitreous.evaluation import neighbours
from vitreous.evaluation.neighbours import choose_neighbours, neighbour_accuracy, votes

Floats = NDArray[np.float32]


def made(count: int, width: int, classes: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Clouds around a centre for each class, which overlap."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return (centres[labels] + random.normal(size=(count, width))).astype(np.float32), labels


@given(
    k=st.integers(1, 12),
    count=st.integers(12, 60),
    width=st.integers(2, 9),
    classes=st.integers(2, 5),
    pairs=st.sampled_from([1, 100, 2**24]),
)
def test_unweighted_votes_are_those_of_scikit_learn(
    k: int, count: int, width: int, classes: int, pairs: int
) -> None:
    bank, labels = made(count, width, classes)
    queries, _ = made(17, width, classes, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "PAIRS", pairs)  # however few are compared at a time
        mine = votes(bank, labels, queries, classes=classes, neighbours=k, temperature=None)
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(bank.astype(np.float64), labels)
    np.testing.assert_allclose(mine, peer.predict_proba(queries.astype(np.float64)), atol=1e-12)
    assert np.array_equal(mine.argmax(1), peer.predict(queries))


def test_weighted_votes_are_the_formula() -> None:
    bank, labels = made(30, 5, 3)
    queries, _ = made(6, 5, 3, seed=1)
    found = votes(bank, labels, queries, classes=3, neighbours=7, temperature=0.2)
    one, two = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, bank))
    similar = (one @ two.T).astype(np.float64)
    for row, shares in zip(similar, found, strict=True):
        nearest = np.argsort(-row)[:7]
        weights = np.exp(row[nearest] / 0.2)
        wanted = np.bincount(labels[nearest], weights, minlength=3) / weights.sum()
        np.testing.assert_allclose(shares, wanted, rtol=1e-5)
    # Far below the default nothing overflows, and the nearest alone decides.
    sharp = votes(bank, labels, queries, classes=3, neighbours=30, temperature=1e-6)
    assert np.array_equal(sharp.argmax(1), labels[similar.argmax(1)])


def test_lengths_make_no_difference_and_a_small_bank_votes_as_a_whole() -> None:
    bank, labels = made(9, 4, 3)
    queries, truth = made(12, 4, 3, seed=1)
    scaled = bank * np.linspace(0.1, 10, 9, dtype=np.float32)[:, None]
    assert neighbour_accuracy(bank, labels, queries, truth) == neighbour_accuracy(
        scaled, labels, queries, truth, neighbours=9
    )


def test_the_chosen_number_is_the_best_of_leave_one_out() -> None:
    bank, labels = made(80, 3, 4)
    chosen = choose_neighbours(bank, labels, candidates=(20, 1, 5, 79, 200))
    assert set(chosen.accuracies) == {20, 1, 5, 79}
    for k, accuracy in chosen.accuracies.items():
        right = 0
        for place in range(80):
            rest = np.arange(80) != place
            shares = votes(bank[rest], labels[rest], bank[place : place + 1], classes=4, neighbours=k)
            right += int(shares[0].argmax() == labels[place])
        assert accuracy == pytest.approx(right / 80)
    assert chosen.accuracies[chosen.neighbours] == max(chosen.accuracies.values())


def test_of_equal_numbers_the_usual_one_is_taken_and_few_pictures_have_one() -> None:
    bank = np.repeat(np.eye(2, dtype=np.float32), 60, axis=0)
    labels = np.repeat([0, 1], 60)
    assert choose_neighbours(bank, labels).neighbours == 20
    assert choose_neighbours(bank[:2], labels[:2]).neighbours == 1
    assert choose_neighbours(bank[:3], labels[:3]).neighbours == 1


def test_what_cannot_be_compared_is_refused() -> None:
    bank, labels = made(9, 4, 3)
    with pytest.raises(DataError, match="no pictures"):
        votes(bank[:0], labels[:0], bank, classes=3)
    with pytest.raises(DataError, match="9 pictures and 8 labels"):
        votes(bank, labels[:8], bank, classes=3)
    with pytest.raises(DataError, match="nothing to judge"):
        neighbour_accuracy(bank, labels, bank[:0], labels[:0])
    with pytest.raises(ConfigError, match="1 or more"):
        votes(bank, labels, bank, classes=3, neighbours=0)
    bank[0, 0] = np.nan
    with pytest.raises(VitreousError, match="not finite"):
        votes(bank, labels, bank, classes=3)
