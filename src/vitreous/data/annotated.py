"""What all readers of annotated layouts share: sizes of pictures, names of parts, and the way to
``Splits``."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from vitreous.data.annotation import DrawnRegion, Objects
from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.images import picture_size
from vitreous.data.problems import Problems
from vitreous.data.splitting import PARTS, Entry, divide, listed, many, normal
from vitreous.errors import DataError, PictureError

_MORE_PARTS = {"training": "train", "trainval": "train", "testing": "test"}
T = TypeVar("T")
R = TypeVar("R")


class Marked(NamedTuple):
    """A picture with what is marked on it, before it has a place. ``shown`` are the names of the classes that
    it shows; pictures are divided so that each part has some of all."""

    name: str
    path: Path
    part: str | None
    shown: tuple[str, ...]
    objects: Objects | None = None
    region: DrawnRegion | None = None


def part_of(name: str) -> str | None:
    """The part that a folder or a file is named after: "train2017", "instances_val", "valid"; None for
    none."""
    lower = name.lower()
    words = "".join(mark if mark.isalpha() else " " for mark in lower).split()
    known = PARTS | _MORE_PARTS
    return next((known[word] for word in words if word in known), None)


def annotated_splits(
    name: str, classes: tuple[str, ...], pictures: Sequence[Marked], *, seed: int, origin: str
) -> Splits:
    """Pictures as parts: those that they name, what they leave open by the seeded split of
    ``data/splitting.py``. DataError where there are none."""
    if not pictures:
        raise DataError(f"{name}: no annotated pictures")
    by_name = {picture.name: picture for picture in pictures}
    rest = "train" if any(one.part for one in pictures) else None
    entries = [Entry(one.name, one.path, "", one.part or rest, one.shown) for one in by_name.values()]
    groups, how, seeded = divide(entries, seed=seed, origin=origin)
    parts: dict[str, Collection | None] = {}
    for part in ("train", "validation", "test"):
        ordered = sorted(groups.get(part) or (), key=lambda entry: normal(entry.name))
        samples = tuple(_sample(by_name[entry.name]) for entry in ordered)
        parts[part] = Collection(name, classes, samples) if samples else None
    sizes = ", ".join(f"{len(found)} {part}" for part, found in parts.items() if found is not None)
    return Splits(parts["train"], parts["validation"], parts["test"], f"{how}: {sizes}", seeded)


def sizes_of(paths: Sequence[tuple[str, Path]], problems: Problems) -> dict[str, tuple[int, int]]:
    """(H, W) of each picture, by its name; a problem for each that is missing or no picture."""

    def look(picture: tuple[str, Path]) -> tuple[int, int] | PictureError:
        try:
            return picture_size(picture[1], name=picture[0])
        except PictureError as error:
            return error

    found: dict[str, tuple[int, int]] = {}
    for (name, _), size in zip(paths, in_threads(look, paths), strict=True):
        if isinstance(size, PictureError):
            problems.add("annotation_missing", f"{name}: {size.reason}")
        else:
            found[name] = size
    return found


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Work on many files at once, the results in order."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(work, items))


def read_lines(path: Path, name: str) -> list[str]:
    """The lines of a text file that hold something. DataError where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    return [line.strip() for line in lines if line.strip()]


def told_empty(pictures: Sequence[Marked]) -> str:
    """The tail of the sentence on how splits came about: pictures on which nothing is marked."""
    empty = sum(not one.shown for one in pictures)
    return f"; nothing is marked on {many(empty, 'picture')}" if empty else ""


def unique_classes(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of classes as they are; DataError where one comes twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: classes named twice: {listed(twice)}; each needs a name of its own")
    return tuple(names)


def _sample(picture: Marked) -> Sample:
    return Sample(picture.name, picture.path, objects=picture.objects, region=picture.region)
