"""What is said of one picture: which class it shows, which objects are where, or the class of each pixel.

Shapes: K classes; n objects; H x W source pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Regions

Scores = NDArray[np.float32]


class Answer(NamedTuple):
    """One picture's answer: the likeliest class by name and index, its score, and all scores (K,). ``labels``
    are the classes that it shows, the likeliest first: that one, or where it may show several, all whose
    score is above one half, which may be none."""

    label: str
    score: float
    scores: Scores
    index: int  # type: ignore[assignment]  # a field of this name hides tuple's method
    labels: tuple[str, ...] = ()


class ObjectsAnswer(NamedTuple):
    """The n objects of one picture, the surest first.

    boxes    (n, 4) float32: left, top, right, bottom in source pixels, upright
    labels   the names of their classes
    indices  (n,) int64: their classes
    scores   (n,) float32, each above the threshold that was asked for
    size     (H, W) of the picture
    """

    boxes: NDArray[np.float32]
    labels: tuple[str, ...]
    indices: NDArray[np.int64]
    scores: Scores
    size: tuple[int, int]


class RegionsAnswer(NamedTuple):
    """The class of each pixel of one picture: ``region`` (H, W) uint8, or uint16 where there are more than
    255 classes, as indices into ``names`` (K of them); ``shares`` (K,) of all pixels."""

    region: Regions
    shares: NDArray[np.float64]
    names: tuple[str, ...]

    @staticmethod
    def of(region: Regions, names: Sequence[str]) -> "RegionsAnswer":
        """A map (H, W) and what its numbers are called."""
        counts = np.bincount(region.ravel(), minlength=len(names))
        return RegionsAnswer(region, counts / max(1, region.size), tuple(names))

    def shown(self) -> list[int]:
        """The classes that some pixel has, the largest first."""
        order = np.argsort(-self.shares, kind="stable")
        return [int(number) for number in order if self.shares[number]]


AnyAnswer = Answer | ObjectsAnswer | RegionsAnswer
