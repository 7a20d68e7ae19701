"""Labels of a data set as places among a model's classes: by name, and of ImageNet by WordNet id too."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vitreous.checkpoints import imagenet
from vitreous.data.annotation import IGNORED, DrawnObjects, DrawnRegion, Objects, Regions, ignored_of
from vitreous.data.collection import Collection, Sample
from vitreous.errors import DataError

LISTED = 12


class Matched(NamedTuple):
    """The collection with its labels as indices into the model's classes, whose names it now has;
    ``note`` says what a reader of the scores should know of it, None where the names were the same."""

    collection: Collection
    note: str | None


def match(collection: Collection, classes: Sequence[str]) -> Matched:
    """Find each class of the data among the model's.

    The same names in whatever order are the same classes. Otherwise classes of ImageNet are told by their
    WordNet ids, whichever side has ids and whichever names; and of a model that knows one of ImageNet's
    whole lists the data may have only some of the classes: its answers may then be any of them still. Where
    objects or pixels are marked it may have only some of the classes of any model.

    Raises:
        DataError: no labels, or classes that differ; both are listed.
    """
    if not collection.classes:
        raise DataError(f"{collection.name}: only pictures without labels, nothing to judge answers by")
    if collection.classes == tuple(classes):
        return Matched(collection, None)
    place = {name: index for index, name in enumerate(classes)}
    if len(place) == len(classes) and set(collection.classes) == set(place):
        return Matched(_moved(collection, [place[name] for name in collection.classes], classes), None)
    if collection.detects or collection.segments:
        return _some(collection, tuple(classes))
    places = imagenet.places(collection.classes, classes)
    known = [index for index in places if index is not None]
    whole = imagenet.recognised(classes)
    some = len(known) < len(classes)
    if len(known) < len(places) or len(set(known)) < len(known) or (some and whole is None):
        raise DataError(_differ(collection, classes, places))
    note = "the classes of the data were told by WordNet id"
    if some and whole is not None:
        note = (
            f"the data has {len(known):,} of the model's {len(classes):,} classes ({whole.title});"
            f" every score is over all {len(classes):,}"
        )
    return Matched(_moved(collection, known, classes), note)


def _some(collection: Collection, classes: tuple[str, ...]) -> Matched:
    """The same for some of the classes, by name; one that the model has twice is none of them."""
    counts = Counter(classes)
    places = [classes.index(name) if counts[name] == 1 else None for name in collection.classes]
    known = [index for index in places if index is not None]
    if len(known) < len(places):
        raise DataError(_differ(collection, classes, places))
    note = f"the data has {len(known):,} of the model's {len(classes):,} classes"
    if collection.detects:
        note += "; the others take no part in the means"
    else:
        note += "; a class that is told of some pixel and of which the data has none counts as an IoU of 0"
    return Matched(_moved(collection, known, classes), note)


class MovedObjects(DrawnObjects):
    """Objects whose labels are places in another list of classes; made when they are asked for."""

    def __init__(self, sample: Sample, places: Sequence[int]) -> None:
        self.sample = sample
        self.places = tuple(places)

    def objects(self) -> Objects:
        """The objects of the sample, with the new labels."""
        found = self.sample.held_objects()
        if found is None:
            return Objects.of([], [])
        return replace(found, labels=np.asarray(self.places, dtype=np.int64)[found.labels])

    def digest(self) -> bytes:
        """What decides them."""
        return self.sample.told() + repr(self.places).encode()


class MovedRegion(DrawnRegion):
    """A map of classes whose numbers are places in another list of ``classes``."""

    def __init__(self, sample: Sample, places: Sequence[int], classes: int) -> None:
        self.sample = sample
        self.places = tuple(places)
        self.classes = classes

    def region(self) -> Regions:
        """(H, W), the map of the sample with the new numbers. DataError where it cannot be read, or is not
        there."""
        found = self.sample.held_region()
        if found is None:
            raise DataError(f"{self.sample.name}: no map of classes")
        table = np.array([*self.places, ignored_of(self.classes)])
        moved = table[np.minimum(found.astype(np.int64), len(self.places))]
        return moved.astype(np.uint8) if self.classes <= IGNORED else moved.astype(np.uint16)

    def digest(self) -> bytes:
        """What decides it."""
        return self.sample.told() + repr((self.places, self.classes)).encode()


def _moved(collection: Collection, places: Sequence[int], classes: Sequence[str]) -> Collection:
    if collection.detects or collection.segments:
        samples = tuple(
            replace(
                sample,
                label=None if sample.label is None else places[sample.label],
                objects=None if sample.objects is None else MovedObjects(sample, places),
                region=None if sample.region is None else MovedRegion(sample, places, len(classes)),
            )
            for sample in collection.samples
        )
    elif collection.tagged:
        samples = tuple(
            Sample(sample.name, sample.source, tags=tuple(sorted(places[tag] for tag in sample.tags or ())))
            for sample in collection.samples
        )
    else:
        samples = tuple(
            Sample(sample.name, sample.source, places[label])
            for sample, label in zip(collection.samples, collection.labels, strict=True)
        )
    return Collection(collection.name, tuple(classes), samples)


def _differ(collection: Collection, classes: Sequence[str], places: Sequence[int | None]) -> str:
    unknown, first, same = [], dict[int, str](), ""
    for name, index in zip(collection.classes, places, strict=True):
        if index is None:
            unknown += [] if name in classes else [name]
        elif first.setdefault(index, name) != name:
            same = f"; {first[index]} and {name} are one class"
    # Of many classes only the first are listed, and the few that are strange have to be found.
    more = f"; the model does not know {listed(unknown)}" if 0 < len(unknown) < len(places) else ""
    return (
        f"the classes differ: the model knows {listed(classes)}, {collection.name} has"
        f" {listed(collection.classes)}{more}{same}; give data with the model's classes"
    )


def listed(classes: Sequence[str]) -> str:
    """How many classes there are, and the first of them."""
    names = ", ".join(classes[:LISTED]) + (", ..." if len(classes) > LISTED else "")
    return f"{len(classes)} ({names})"
