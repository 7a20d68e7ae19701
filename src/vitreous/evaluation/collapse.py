"""Have features collapsed, so that all pictures look alike to a model, or differ in next to no way?

Effective rank: O. Roy, M. Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO
2007), section 2: exp of the entropy of the singular values' shares of their sum. It is 1 where features lie
on a line and D where they fill all directions alike.

Shapes: n pictures; D the width of their features.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

# Random weights and pretrained ones lie far from these: their features have a spread of 0.1 and more, and
# their effective rank is 11 and more (tests/evaluation/test_collapse.py holds some against them).
POINT = 0.01  # spread below which features are one point
LINE = 2.0  # effective rank below which features lie on a line
FEW, FALLEN = 3.0, 0.25  # a rank below both FEW and this share of what it was has fallen
ROOM = 4.0  # times LINE that a rank could have; with fewer pictures or numbers none is too low


class Variety(NamedTuple):
    """How features differ from picture to picture.

    rank    effective rank of the centred features, from 1 to ``most``
    spread  distance from the mean feature over the length of a feature, each the root of its mean square: 0
            where all are the same, at most 1
    most    the rank that so many features of that width could have: the smaller of n - 1 and D
    """

    rank: float
    spread: float
    most: int


def variety(features: ArrayLike) -> Variety | None:
    """Features (n, D) -> how they differ; None where one is not finite, or there are fewer than two."""
    values = torch.from_numpy(np.array(features, dtype=np.float64))
    if len(values) < 2 or not bool(torch.isfinite(values).all()):
        return None
    most = min(len(values) - 1, values.shape[1])
    length = values.square().sum().sqrt()
    centred = values - values.mean(0)
    singular = torch.linalg.svdvals(centred)
    # What a float32 rounds away is no direction: features that are one point have a rank of 1, not of noise.
    noise = float(length) * torch.finfo(torch.float32).eps
    singular = singular[singular > noise]
    if not len(singular):
        return Variety(1.0, 0.0, most)
    shares = singular / singular.sum()
    rank = float(torch.special.entr(shares).sum().exp())
    return Variety(min(rank, float(most)), float(centred.square().sum().sqrt() / length), most)


def collapse(now: Variety, before: float | None = None) -> str | None:
    """What is wrong with features, as part of a sentence; None where nothing is. ``before`` is the effective
    rank that the same pictures had before training."""
    if now.spread < POINT:
        return f"the features of all pictures are the same to {max(now.spread, 1e-4):.2%} of their length"
    if now.most < ROOM * LINE:
        return None
    if now.rank < LINE:
        return f"the features of all pictures lie on a line: effective rank {now.rank:.2f} of {now.most}"
    if before is not None and now.rank < min(FEW, FALLEN * before):
        return f"the effective rank of the features fell from {before:.1f} to {now.rank:.1f}"
    return None
