"""Who is better than whom, and how sure that is: paired bootstrap over the pictures that all were judged on.

"An Introduction to the Bootstrap" (Efron and Tibshirani, 1993), chapters 13 and 16: percentile intervals.

Shapes: n pictures.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000

Rights = NDArray[np.bool_]  # (n,): whether the answer was right, for every judged picture


class Interval(NamedTuple):
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


def accuracy(right: Rights, *, seed: int = 0) -> Interval:
    """The share of right answers. Where all or none are right, resampling shows no spread: the interval then
    reaches to 3 / n ("rule of three", Hanley and Lippman-Hand, 1983)."""
    found = _interval(right.astype(np.float64), seed)
    reach = min(1.0, 3 / len(right))
    if found.value == 1:
        return Interval(1.0, 1 - reach, 1.0)
    if found.value == 0:
        return Interval(0.0, 0.0, reach)
    return found


def gain(right: Rights, other: Rights, *, seed: int = 0) -> Interval:
    """By how much the first is better than the other, on the same pictures."""
    return _interval(right.astype(np.float64) - other.astype(np.float64), seed)


def is_beaten(right: Rights, other: Rights, *, seed: int = 0) -> bool:
    """Whether the other is better beyond noise: the interval of the gain lies above zero."""
    return gain(other, right, seed=seed).low > 0


def recommend(rights: Mapping[str, Rights], *, seed: int = 0) -> str | None:
    """The first of these that no other beats beyond noise: put the cheapest first. None for none."""
    for name, right in rights.items():
        if not any(is_beaten(right, other, seed=seed) for key, other in rights.items() if key != name):
            return name
    return None


def _interval(values: NDArray[np.float64], seed: int) -> Interval:
    """The mean of (n,), and the interval that holds 95% of its resamples."""
    generator = np.random.default_rng(seed)
    counts = np.unique(values)
    # Few values occur: how often each is drawn is multinomial, which costs the same for any n.
    shares = np.array([(values == value).mean() for value in counts])
    drawn = generator.multinomial(len(values), shares / shares.sum(), size=RESAMPLES) / len(values)
    low, high = np.quantile(drawn @ counts, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(values.mean()), float(low), float(high))
