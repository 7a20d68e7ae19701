"""One look at everything that is marked on the pictures of a collection: counts, and what looks odd.

Shapes: n objects.
"""

import hashlib
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotated import in_threads
from vitreous.data.annotation import Objects, ignored_of
from vitreous.data.collection import Collection, Sample
from vitreous.errors import DataError

SMALLEST_OBJECT = 4.0  # pixels; what is narrower can hardly be seen
SAME_BOX = 0.95  # overlap from which on two boxes of one class are one object, marked twice


class Marks(NamedTuple):
    """What is marked in a collection.

    pictures  how many pictures show each class
    amounts   how many objects, or pixels, there are of each class; crowds are counted
    empty     names of pictures on which nothing is marked
    tiny      objects narrower than ``SMALLEST_OBJECT``, as "name: class, width x height"
    repeated  objects that are marked twice, as "name: class"
    broken    masks that could not be read, as lines
    told      by the names of pictures, a hash of all that is marked on each
    """

    pictures: dict[str, int]
    amounts: dict[str, int]
    empty: list[str]
    tiny: list[str]
    repeated: list[str]
    broken: list[str]
    told: dict[str, bytes]


class _Mark(NamedTuple):
    amounts: dict[int, int]
    tiny: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    broken: str = ""
    told: bytes = b""


def marks_of(collection: Collection) -> Marks:
    """Everything that is marked on the pictures of a collection, none of which is opened."""
    classes = collection.classes
    looked = in_threads(lambda sample: _look_at(sample, classes), collection.samples)
    pictures, amounts = (dict.fromkeys(classes, 0) for _ in range(2))
    for one in looked:
        for number, amount in one.amounts.items():
            pictures[classes[number]] += 1
            amounts[classes[number]] += amount
    pairs = list(zip(collection.samples, looked, strict=True))
    return Marks(
        pictures,
        amounts,
        [sample.name for sample, one in pairs if not one.amounts and not one.broken],
        [text for one in looked for text in one.tiny],
        [text for one in looked for text in one.repeated],
        [one.broken for one in looked if one.broken],
        {sample.name: one.told for sample, one in pairs},
    )


def _look_at(sample: Sample, classes: tuple[str, ...]) -> _Mark:
    try:
        region = sample.held_region()
        objects = sample.held_objects()
    except DataError as error:
        return _Mark({}, broken=str(error))
    if region is not None:
        numbers, counts = np.unique(region, return_counts=True)
        found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        found.pop(ignored_of(len(classes)), None)
        return _Mark(found, told=hashlib.sha256(np.ascontiguousarray(region).data).digest())
    if objects is None:
        return _Mark({})
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    narrow = np.flatnonzero(sides.min(axis=1, initial=np.inf) < SMALLEST_OBJECT)
    tiny = [
        f"{sample.name}: {classes[objects.labels[place]]}, {sides[place][0]:g} x {sides[place][1]:g}"
        for place in narrow
    ]
    twice = [f"{sample.name}: {classes[objects.labels[place]]}" for place in _repeated(objects)]
    amounts = dict(Counter(objects.labels.tolist()))
    return _Mark(amounts, tuple(tiny), tuple(twice), told=objects.digest())


def _repeated(objects: Objects) -> NDArray[np.intp]:
    """The places of objects that are almost the same as one of their class before them."""
    boxes = objects.boxes.astype(np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)  # (n, n)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    overlap = shared / (areas[:, None] + areas[None, :] - shared)
    alike = (overlap >= SAME_BOX) & (objects.labels[:, None] == objects.labels[None, :])
    alike &= ~(objects.crowd[:, None] | objects.crowd[None, :])
    return np.flatnonzero(np.tril(alike, -1).any(axis=1))
