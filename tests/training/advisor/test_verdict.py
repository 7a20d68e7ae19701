"""Intervals and comparisons: what chance alone makes must not be called a difference."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.training.advisor.verdict import accuracy, gain, is_beaten, recommend


def drawn(share: float, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < share


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        found = accuracy(drawn(0.8, 150, seed))
        held += found.low <= 0.8 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_all_right_is_not_certain() -> None:
    assert accuracy(np.ones(60, dtype=bool)) == (1.0, 0.95, 1.0)
    assert accuracy(np.zeros(60, dtype=bool)) == (0.0, 0.0, 0.05)


def test_chance_beats_nobody_most_of_the_time() -> None:
    beaten = sum(is_beaten(drawn(0.8, 200, seed), drawn(0.8, 200, 1000 + seed)) for seed in range(200))
    assert beaten / 200 < 0.06  # one side of a 95% interval


def test_pairs_tell_more_than_two_scores_apart() -> None:
    worse = drawn(0.8, 300, 0)
    better = worse.copy()
    better[np.flatnonzero(~worse)[:12]] = True  # 4 points better, and never worse
    apart = accuracy(worse), accuracy(better)
    assert apart[0].high > apart[1].low  # the intervals of the two scores overlap
    assert is_beaten(worse, better) and not is_beaten(better, worse)
    assert abs(gain(better, worse).value - 0.04) < 1e-9


def test_the_first_that_nobody_beats_is_recommended() -> None:
    good = drawn(0.9, 400, 0)
    same = good.copy()
    same[:2] = ~same[:2]
    rights = {"cheap and bad": drawn(0.6, 400, 1), "good": good, "dearer": same}
    assert recommend(rights) == "good"
    assert recommend({"dearer": same, "good": good}) == "dearer"
    assert recommend({}) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.3, 0.95), min_size=1, max_size=5), st.integers(0, 1000))
def test_what_is_recommended_is_never_beaten(shares: list[float], seed: int) -> None:
    rights = {str(place): drawn(share, 80, seed + place) for place, share in enumerate(shares)}
    chosen = recommend(rights)
    assert chosen is not None  # the best is beaten by nobody
    assert not any(is_beaten(rights[chosen], other) for other in rights.values())
