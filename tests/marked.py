"""A stand-in for models that find objects or tell the class of each pixel: it answers by the truth, changed
as a test wishes."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Objects
from vitreous.data.collection import Sample
from vitreous.errors import PictureError
from vitreous.evaluation.detection import Found

SHAPES = (
    *("circle", "square", "triangle", "star", "cross"),
    *("ring", "heart", "crescent", "arrow", "hexagon"),
)


def told(objects: Objects, name: str) -> Found:
    """The truth as an answer, surely."""
    return Found.of(objects.boxes, objects.labels, np.ones(len(objects)))


class Knowing:
    """Knows the truth of whatever it is shown, in its own classes."""

    temperature = 1.0
    answers = "one"

    def __init__(
        self,
        says: str,
        classes: tuple[str, ...],
        *,
        find: Callable[[Objects, str], Found] = told,
        paint: Callable[[NDArray[np.uint8], str], NDArray[np.uint8]] = lambda region, name: region,
    ) -> None:
        self.says, self.classes, self.find, self.paint = says, classes, find, paint
        self.lineage: dict[str, object] = {}
        self.asked: list[str] = []

    def objects(
        self, samples: Iterable[Sample], batch_size: int = 8
    ) -> Iterator[tuple[Sample, Found | PictureError]]:
        for sample in samples:
            self.asked.append(sample.name)
            try:
                sample.open()
            except PictureError as error:
                yield sample, error
                continue
            yield sample, self.find(sample.held_objects() or Objects.of([], []), sample.name)

    def regions(
        self, samples: Iterable[Sample], batch_size: int = 8, *, window: int | None = None
    ) -> Iterator[tuple[Sample, NDArray[np.uint8] | PictureError]]:
        for sample in samples:
            self.asked.append(sample.name)
            try:
                sample.open()
            except PictureError as error:
                yield sample, error
                continue
            region = sample.held_region()
            assert region is not None
            yield sample, self.paint(np.where(region == 255, 0, region).astype(np.uint8), sample.name)
