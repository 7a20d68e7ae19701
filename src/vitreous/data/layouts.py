"""Which annotated layout a folder has, if any: COCO, YOLO, Pascal VOC, pictures and masks.

Where a folder has several, the one for the task that is asked for is read, and boxes where nothing is asked.
Objects with masks serve for segmentation too: their classes are painted on a background, the largest first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from vitreous.data.annotation import IGNORED_WIDE, DrawnRegion, Objects, Regions, ignored_of
from vitreous.data.coco import find_coco, read_coco
from vitreous.data.collection import Collection, Splits
from vitreous.data.images import picture_size
from vitreous.data.mask_classes import BACKGROUND
from vitreous.data.mask_folder import find_masks, read_masks
from vitreous.data.problems import Problems
from vitreous.data.voc import find_voc, read_voc
from vitreous.data.yolo import find_yolo, is_yolo_yaml, read_yolo
from vitreous.errors import DataError

Wanted = Literal["classification", "detection", "segmentation"]


def wanted_of(kind: str) -> Wanted | None:
    """What data a task of this kind is read for; None where any will do that it understands."""
    return {"detection": "detection", "segmentation": "segmentation"}.get(kind)  # type: ignore[return-value]


def read_annotated(
    root: Path, name: str, *, seed: int, problems: Problems, wanted: Wanted | None
) -> Splits | None:
    """The parts of an annotated folder; None where it has no such layout.

    Raises:
        DataError: a layout that is there and cannot be used, or not for what is ``wanted``.
    """
    if wanted == "classification":
        return None
    readers: list[Callable[[], Splits | None]] = [
        lambda: _coco(root, name, seed, problems),
        lambda: _yolo(root, name, seed, problems),
        lambda: _voc(root, name, seed, problems),
        lambda: _masks(root, name, seed, problems),
    ]
    for reader in reversed(readers) if wanted == "segmentation" else readers:
        found = reader()
        if found is not None:
            return as_wanted(found, name, wanted)
    return None


def read_annotation_file(
    path: Path, name: str, *, seed: int, problems: Problems, wanted: Wanted | None
) -> Splits | None:
    """The same for one file of annotations, COCO's JSON or YOLO's YAML."""
    found: Splits | None = None
    if path.suffix.lower() == ".json":
        found = read_coco([(path, None)], path.parent, name, seed=seed, problems=problems)
    elif is_yolo_yaml(path):
        found = read_yolo(path.parent, path, [], name, seed=seed, problems=problems)
    return None if found is None else as_wanted(found, name, wanted)


def as_wanted(splits: Splits, name: str, wanted: Wanted | None) -> Splits:
    """The same for segmentation where that is wanted and objects have masks.

    Raises:
        DataError: boxes are wanted and there are none, or pixels and there are only boxes.
    """
    some = splits.train or splits.validation or splits.test
    if some is None or wanted is None:
        return splits
    if wanted == "detection" and not some.detects:
        raise DataError(f"{name}: it has a class for each pixel and no boxes; wanted boxes for detection")
    if wanted != "segmentation" or some.segments:
        return splits
    train, validation, test = (None if part is None else _painted(part, name) for part in splits[:3])
    how = f"{splits.how}; masks of objects painted on a {BACKGROUND}, the largest first"
    return Splits(train, validation, test, how, splits.seeded)


@dataclass(frozen=True, eq=False)
class PaintedObjects(DrawnRegion):
    """A map of classes from masks of objects: 0 where there is none, label + 1 where there is one, the
    smaller in front. A crowd takes no part where no other object is."""

    marked: Objects
    size: tuple[int, int]
    classes: int  # with the background

    def region(self) -> Regions:
        """(H, W) classes."""
        ignored = ignored_of(self.classes)
        kind = np.uint16 if ignored == IGNORED_WIDE else np.uint8
        found = np.zeros(self.size, dtype=kind)
        order = sorted(
            range(len(self.marked)),
            key=lambda place: (not self.marked.crowd[place], -self.marked.areas[place]),
        )
        for place in order:
            mask = self.marked.masks[place].decode() if self.marked.masks else np.zeros(self.size, bool)
            found[mask] = ignored if self.marked.crowd[place] else self.marked.labels[place] + 1
        return found

    def digest(self) -> bytes:
        """What decides it."""
        return self.marked.digest()


def _painted(collection: Collection, name: str) -> Collection:
    classes = (BACKGROUND, *collection.classes)
    samples = []
    for sample in collection.samples:
        marked = sample.held_objects()
        if marked is None or (len(marked) and marked.masks is None):
            raise DataError(
                f"{name}: {sample.name} has boxes without masks; segmentation wants a class per pixel"
            )
        if marked.masks:
            size = marked.masks[0].size
        elif isinstance(sample.source, Path | bytes):
            size = picture_size(sample.source, name=sample.name)
        else:
            size = (sample.open().height, sample.open().width)
        region = PaintedObjects(marked, size, len(classes))
        samples.append(replace(sample, objects=None, region=region))
    return Collection(collection.name, classes, tuple(samples))


def _coco(root: Path, name: str, seed: int, problems: Problems) -> Splits | None:
    files = find_coco(root)
    return read_coco(files, root, name, seed=seed, problems=problems) if files else None


def _yolo(root: Path, name: str, seed: int, problems: Problems) -> Splits | None:
    file, homes = find_yolo(root)
    if file is None and not homes:
        return None
    return read_yolo(root, file, homes, name, seed=seed, problems=problems)


def _voc(root: Path, name: str, seed: int, problems: Problems) -> Splits | None:
    files = find_voc(root)
    return read_voc(files, root, name, seed=seed, problems=problems) if files else None


def _masks(root: Path, name: str, seed: int, problems: Problems) -> Splits | None:
    homes = find_masks(root)
    return read_masks(homes, root, name, seed=seed, problems=problems) if homes else None
