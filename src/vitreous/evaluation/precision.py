"""Which answers of a detector take which objects, and average precision of pictures that are drawn again.

The rules are COCO's (cocodataset.org, "detection-eval"), at an overlap of one half: of each class the surest
answers of a picture choose first, each the object that it overlaps most among those not yet taken; what only
overlaps a crowd is neither right nor wrong. Precision is read at 101 recalls, where it is the best that is
reached from there on. A picture that is drawn twice counts twice, so a resample costs two running sums.

Shapes: K classes; a answers and b objects of a class on one picture; m answers of a class in all pictures.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Objects
from vitreous.evaluation.classification import LEVEL

RESAMPLES = 500
HALF = 0.5
RECALLS = np.linspace(0, 1, 101)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Overlaps = Callable[[int, Integers, Integers], Floats]


class Scored(Protocol):
    """Answers for one picture: labels (m,) and scores (m,)."""

    @property
    def labels(self) -> Integers:
        """(m,)."""
        ...

    @property
    def scores(self) -> NDArray[np.float32]:
        """(m,), the higher the surer."""
        ...


class Matches(NamedTuple):
    """Of one class: the answers that count, the surest first, each with its ``picture`` (m,) and whether it
    is ``right`` (m,); and how many ``objects`` (n,) each picture has, crowds aside."""

    picture: Integers
    right: NDArray[np.bool_]
    objects: Integers


def match_at_half(
    predictions: Sequence[Scored],
    truths: Sequence[Objects],
    classes: int,
    overlaps: Overlaps,
    *,
    most: int,
) -> list[Matches]:
    """What became of the ``most`` surest answers of every class and picture, for each class. ``overlaps``
    is asked for (picture, a places of answers, b places of objects) and answers (a, b)."""
    labels: list[Integers] = []
    scores: list[NDArray[np.float32]] = []
    places: list[Integers] = []
    rights: list[NDArray[np.bool_]] = []
    objects = np.zeros((classes, len(truths)), dtype=np.int64)
    for picture, (found, true) in enumerate(zip(predictions, truths, strict=True)):
        objects[:, picture] = np.bincount(true.labels[~true.crowd], minlength=classes)
        order = np.argsort(-found.scores, kind="stable")
        order = order[_first_of_each(found.labels[order], most)]
        told = found.labels[order]
        right, aside = np.zeros((2, len(order)), dtype=bool)
        for number in np.intersect1d(told, true.labels):  # of the others no object is there to be taken
            answers, there = np.flatnonzero(told == number), np.flatnonzero(true.labels == number)
            taken, aside[answers] = chosen(overlaps(picture, order[answers], there), true.crowd[there])
            right[answers] = taken >= 0
        labels.append(told[~aside])
        scores.append(found.scores[order][~aside])
        rights.append(right[~aside])
        places.append(np.full(int((~aside).sum()), picture))
    ranked = np.argsort(-np.concatenate(scores), kind="stable")
    said, place, hit = (
        np.concatenate(labels)[ranked],
        np.concatenate(places)[ranked],
        np.concatenate(rights)[ranked],
    )
    return [Matches(place[said == number], hit[said == number], objects[number]) for number in range(classes)]


def average_precisions(matches: Sequence[Matches], times: Integers | None = None) -> Floats:
    """AP50 of every class (K,), NaN where no picture has an object of it; ``times`` (n,) says how often each
    picture counts, once without it."""
    return np.array([_average_precision(of_class, times) for of_class in matches])


def interval_of_ap50(matches: Sequence[Matches], *, seed: int = 0) -> tuple[float, float]:
    """95% of 500 resamples of the pictures; the classes are those that each resample has objects of."""
    pictures = len(matches[0].objects)
    generator = np.random.default_rng(seed)
    drawn = np.full(RESAMPLES, np.nan)
    present = [of_class for of_class in matches if of_class.objects.any()]
    for place in range(RESAMPLES):
        times = np.bincount(generator.integers(pictures, size=pictures), minlength=pictures)
        found = average_precisions(present, times)
        if not np.isnan(found).all():
            drawn[place] = np.nanmean(found)
    if np.isnan(drawn).all():
        return np.nan, np.nan
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(drawn, tails).tolist()
    return low, high


def chosen(overlaps: Floats, crowd: NDArray[np.bool_]) -> tuple[Integers, NDArray[np.bool_]]:
    """Overlaps of answers, the surest first, with objects (a, b) -> which object each answer has, -1 where
    none (a,), and which lie in a crowd and take no part (a,)."""
    taken = np.full(len(overlaps), -1)
    aside = np.zeros(len(overlaps), dtype=bool)
    free = ~crowd
    enough = (overlaps >= HALF).any(axis=1)
    for answer in np.flatnonzero(enough).tolist():
        row = overlaps[answer]
        candidates = np.flatnonzero(free & (row >= HALF))
        if len(candidates):
            # Of equal overlaps COCO takes the last.
            best = candidates[np.flatnonzero(row[candidates] == row[candidates].max())[-1]]
            taken[answer], free[best] = best, False
        else:
            aside[answer] = (crowd & (row >= HALF)).any()  # a crowd has room for many
    return taken, aside


def _first_of_each(labels: Integers, most: int) -> Integers:
    """The places of the first ``most`` of each label (m,), in order."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(grouped, grouped, side="left")
    return np.sort(order[rank < most])


def _average_precision(matches: Matches, times: Integers | None) -> float:
    objects = int(matches.objects.sum() if times is None else matches.objects @ times)
    if not objects:
        return float("nan")
    weights = np.ones(len(matches.picture)) if times is None else times[matches.picture].astype(np.float64)
    # Precision falls between the right answers, so its best is found at one of them.
    taken = np.cumsum(weights)[matches.right]
    hits = np.cumsum(weights[matches.right])
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(hits / objects, RECALLS, side="left")
    inside = reached < len(best)
    return float(best[reached[inside]].sum() / len(RECALLS))
