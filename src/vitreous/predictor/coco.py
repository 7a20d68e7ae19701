"""Answers as COCO's results (cocodataset.org, "format-results"): a list with one row for each object, or for
each class that some pixel of a picture has, which is what ``loadRes`` of pycocotools reads. The ids in it are
those of a data set without annotations that is written beside it.

Shapes: H x W source pixels. Boxes are left, top, width, height in source pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from vitreous.data.annotation import Regions, Rle
from vitreous.errors import InputError, nearest
from vitreous.predictor.answers import ObjectsAnswer, RegionsAnswer

MAKER = "vitreous"
DIGITS = 3  # of a pixel's coordinates


class Ids(NamedTuple):
    """The numbers of pictures by their file names, and of classes by their names, in somebody's data set."""

    images: Mapping[str, int]
    categories: Mapping[str, int]

    @staticmethod
    def of(values: Any, name: str) -> "Ids":
        """From what a COCO data set's JSON holds. InputError where it is none."""
        try:
            images = {str(PurePath(one["file_name"])): int(one["id"]) for one in values["images"]}
            categories = {str(one["name"]): int(one["id"]) for one in values["categories"]}
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{name}: no COCO data set; wanted images with id and file_name, and categories with id and"
                " name"
            ) from error
        return Ids(images, categories)

    def image(self, name: str) -> int:
        """The number of the picture whose file name ends this one, or is the only one that ends as it does.
        InputError where there is none."""
        parts = PurePath(name).parts
        for start in range(len(parts)):
            if (tail := str(PurePath(*parts[start:]))) in self.images:
                return self.images[tail]
        alike = [number for file, number in self.images.items() if PurePath(file).name == parts[-1]]
        if len(alike) == 1:
            return alike[0]
        what = f"{len(alike)} pictures are called so" if alike else "has no such picture"
        raise InputError(f"{name}: the data set whose ids are wanted {what}")

    def category(self, name: str) -> int:
        """The number of a class. InputError where there is none."""
        if name not in self.categories:
            raise InputError(
                f"the data set whose ids are wanted has no category {name!r}{nearest(name, self.categories)}"
            )
        return self.categories[name]


class CocoResults:
    """Rows and pictures, added up one answer at a time. Without ``ids`` pictures are numbered by whoever adds
    them, and a class's number is its place among the model's."""

    def __init__(self, classes: Sequence[str], ids: Ids | None = None) -> None:
        self.classes = tuple(classes)
        self.categories = [
            number if ids is None else ids.category(name) for number, name in enumerate(self.classes)
        ]
        self.rows: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    def add(self, name: str, number: int, answer: ObjectsAnswer | RegionsAnswer) -> None:
        """What was said of the picture that is called ``name`` and has this ``number``."""
        height, width = answer.size if isinstance(answer, ObjectsAnswer) else answer.region.shape
        self.images.append({"id": number, "file_name": name, "width": int(width), "height": int(height)})
        told = _boxes(answer) if isinstance(answer, ObjectsAnswer) else _masks(answer)
        for label, row in told:
            maker = {} if self.rows else {"made_by": MAKER}
            self.rows.append({"image_id": number, "category_id": self.categories[label], **row, **maker})

    def dataset(self) -> dict[str, Any]:
        """The pictures and classes that the rows speak of, as a COCO data set without annotations."""
        named = zip(self.categories, self.classes, strict=True)
        return {
            "info": {"description": f"what the results of {MAKER} beside this file speak of"},
            "images": self.images,
            "categories": [{"id": number, "name": name} for number, name in named],
            "annotations": [],
        }


def run_lengths(region: Regions, number: int) -> dict[str, Any]:
    """The pixels of one class of a map (H, W), as COCO's compressed run lengths."""
    mask = Rle.of(region == number)
    return {"size": list(mask.size), "counts": mask.compressed().decode("ascii")}


def _boxes(answer: ObjectsAnswer) -> Iterator[tuple[int, dict[str, Any]]]:
    for box, label, score in zip(answer.boxes, answer.indices, answer.scores, strict=True):
        left, top, right, bottom = (float(edge) for edge in box)
        corner_and_size = [round(side, DIGITS) for side in (left, top, right - left, bottom - top)]
        yield int(label), {"bbox": corner_and_size, "score": float(score)}


def _masks(answer: RegionsAnswer) -> Iterator[tuple[int, dict[str, Any]]]:
    for number in answer.shown():
        yield number, {"segmentation": run_lengths(answer.region, number)}
