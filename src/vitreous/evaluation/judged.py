"""What is judged, by what it says of pictures, and the pictures that could not be: for every kind of model.

Shapes: K classes; m answers of a picture; H x W source pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Regions
from vitreous.data.collection import Collection, Sample
from vitreous.data.layouts import Wanted
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.detection import Found
from vitreous.models.config import Says

if TYPE_CHECKING:
    from vitreous.checkpoints.file import Answers

Progress = Callable[[int, int], None]
T = TypeVar("T")
SHOWN = 12  # pictures of each kind in a gallery

# What data is read for a model; for classes whatever has labels.
WANTED: Mapping[Says, Wanted | None] = {
    "classes": None,
    "objects": "detection",
    "regions": "segmentation",
}
_TOLD: Mapping[Says, str] = {
    "classes": "its pictures have labels at most, no boxes and no masks",
    "objects": "objects are marked on its pictures",
    "regions": "each pixel of its pictures has a class",
}
_MODELS: Mapping[Says, str] = {
    "classes": "the model tells what a whole picture shows",
    "objects": "the model finds objects",
    "regions": "the model tells the class of each pixel",
}
_GIVE: Mapping[Says, str] = {
    "classes": "give class folders or a table of labels",
    "objects": "give COCO JSON, YOLO or Pascal VOC annotations, or scenes:detection",
    "regions": "give pictures with masks (ROOT/{images,masks}), or scenes:segmentation",
}


class Finder(Protocol):
    """What finds objects."""

    classes: tuple[str, ...]

    def objects(
        self, samples: Iterable[Sample], batch_size: int = 8
    ) -> Iterator[tuple[Sample, Found | PictureError]]:
        """Samples -> (sample, all that was found, in source pixels, or the error) in the same order."""
        ...


class Painter(Protocol):
    """What tells the class of each pixel."""

    classes: tuple[str, ...]

    def regions(
        self, samples: Iterable[Sample], batch_size: int = 8, *, window: int | None = None
    ) -> Iterator[tuple[Sample, Regions | PictureError]]:
        """Samples -> (sample, classes (H, W) of source pixels, or the error) in the same order; by windows
        of so many pixels where ``window`` is given."""
        ...


class Judged(Finder, Painter, Protocol):
    """What is evaluated: anything that says one of these of pictures and has names for its classes."""

    temperature: float
    lineage: dict[str, Any]
    answers: "Answers"

    @property
    def says(self) -> Says:
        """Which of the three it can be asked for."""
        ...

    def logits(
        self, samples: Iterable[Sample], batch_size: int = 32
    ) -> Iterator[tuple[Sample, NDArray[np.float32] | PictureError]]:
        """Samples -> (sample, logits (K,) or the error) in the same order."""
        ...


class Answered(Generic[T]):
    """Answers in the order of a collection, without the pictures that cannot be read: (place, sample, answer)
    of each. ``unreadable`` are the others. ``progress`` is told (done, total) pictures.

    When all were looked at, DataError where some cannot be read, all of them named, unless
    ``allow_unreadable``; or where none can.
    """

    def __init__(
        self,
        answers: Iterable[tuple[Sample, T | PictureError]],
        collection: Collection,
        *,
        allow_unreadable: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.answers = answers
        self.collection = collection
        self.allow_unreadable = allow_unreadable
        self.progress = progress
        self.unreadable: list[PictureError] = []

    def __iter__(self) -> Iterator[tuple[int, Sample, T]]:
        total = len(self.collection)
        for place, (sample, answer) in enumerate(self.answers):
            if isinstance(answer, PictureError):
                self.unreadable.append(answer)
            else:
                yield place, sample, answer
            if self.progress is not None:
                self.progress(place + 1, total)
        if self.unreadable and not self.allow_unreadable:
            listed = "; ".join(map(str, self.unreadable))
            raise DataError(
                f"{len(self.unreadable)} of {total} pictures cannot be read: {listed}; mend or remove them,"
                " or allow unreadable ones (--allow-unreadable), which are then counted"
            )
        if len(self.unreadable) == total:
            raise DataError(f"{self.collection.name}: none of its {total} pictures can be read")


def told_of(collection: Collection) -> Says:
    """What the data tells of its pictures."""
    return "objects" if collection.detects else "regions" if collection.segments else "classes"


def check_told(says: Says, collection: Collection) -> None:
    """DataError unless the data tells of its pictures what the model says of them."""
    told = told_of(collection)
    if told == says:
        return
    told_so = _TOLD[told] if told != "classes" or collection.classes else "its pictures have no labels"
    raise DataError(f"{collection.name}: {told_so}, and {_MODELS[says]}; {_GIVE[says]}")
