"""COCO's annotations of objects: one JSON file for each part, with images, annotations and categories
(cocodataset.org, "format-data").

Boxes are left, top, width, height in pixels; masks are polygons, or run lengths, compressed or not; a crowd
is one object that is many. Classes are the categories in the order of their ids, and keep the names that
they have. A picture lies beside its file, in a folder ``images``, or in one that is named like the part.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from vitreous.data.annotated import Marked, annotated_splits, part_of, sizes_of, told_empty
from vitreous.data.annotation import Mask, Objects, Polygons, Rle, extent
from vitreous.data.collection import Splits
from vitreous.data.problems import Problems, checked_box, numbers, read_json
from vitreous.data.splitting import listed, normal
from vitreous.errors import DataError, nearest, printable

_SNIFFED = 4096  # bytes in which one of the keys of such a file comes
_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_OTHERS = (
    "captions_",
    "person_keypoints_",
    "panoptic_",
    "image_info_",
    "stuff_",
)  # COCO's own, of other tasks


def find_coco(root: Path) -> list[tuple[Path, str | None]]:
    """The files of annotations in a folder, each with the part that it or its folder is named after."""
    found = []
    places = [
        root,
        root / "annotations",
        *(folder for folder in sorted(root.iterdir()) if part_of(folder.name)),
    ]
    for place in dict.fromkeys(places):
        if place.is_dir():
            files = sorted(place.glob("*.json"))
            found += [file for file in files if not file.name.startswith(_OTHERS) and _looks_like_coco(file)]
    named = [file for file in found if file.name.startswith("instances_")] or found
    return [
        (file, part_of(file.stem) or (part_of(file.parent.name) if file.parent != root else None))
        for file in named
    ]


def read_coco(
    files: Sequence[tuple[Path, str | None]], root: Path, name: str, *, seed: int, problems: Problems
) -> Splits:
    """The parts that ``files`` are annotations of. What is wrong goes to ``problems`` and is left out.

    Raises:
        DataError: two files of one part, several files without, or no picture left.
    """
    parts = [part for _, part in files]
    if len(files) > 1 and (None in parts or len(set(parts)) < len(parts)):
        raise DataError(
            f"{name}: cannot tell which parts {listed(printable(file.name) for file, _ in files)} are of;"
            " wanted train, val or test in each name, once, or give one of the files"
        )
    ordered = sorted(files, key=lambda pair: (pair[1] not in (None, "train"), str(pair[0])))
    classes: tuple[str, ...] | None = None
    pictures: list[Marked] = []
    for file, part in ordered:
        reader = _Reader(file, part, root, problems)
        found = reader.read(classes)
        classes = classes or reader.classes
        pictures += found
    if not pictures and problems:
        problems.refuse(name)
    origin = f"COCO annotations {', '.join(printable(file.name) for file, _ in ordered)}"
    splits = annotated_splits(name, classes or (), pictures, seed=seed, origin=origin)
    return splits._replace(how=splits.how + told_empty(pictures))


class _Image(NamedTuple):
    number: int | str
    name: str
    path: Path
    size: tuple[int, int]


class _Reader:
    """One file."""

    def __init__(self, file: Path, part: str | None, root: Path, problems: Problems) -> None:
        self.file, self.part, self.root, self.problems = file, part, root, problems
        self.name = printable(file.name)
        self.classes: tuple[str, ...] = ()  # its own
        self.names: tuple[str, ...] = ()  # those of the whole data set

    def read(self, classes: tuple[str, ...] | None) -> list[Marked]:
        """The pictures with their objects; ``classes`` are those of the train part, where there is one."""
        values = read_json(self.file, self.name, self.problems)
        if values is None:
            return []
        if not isinstance(values, Mapping):
            self._odd("annotation_json", "not an object with images, annotations and categories")
            return []
        missing = [key for key in ("images", "annotations", "categories") if not _is_list(values.get(key))]
        if missing:
            self._odd(
                "annotation_json", f"no list {listed(missing)}; wanted images, annotations and categories"
            )
            return []
        labels = self._categories(values["categories"], classes)
        self.names = classes or self.classes
        images = self._images(values["images"])
        by_image: dict[int | str, list[tuple[str, Mapping[str, Any]]]] = {number: [] for number in images}
        told = {
            one.get("id") for one in values["images"] if isinstance(one, Mapping) and _is_id(one.get("id"))
        }
        seen: set[int | str] = set()
        for place, one in enumerate(values["annotations"]):
            if not isinstance(one, Mapping):
                self._odd("annotation_value", f"annotation number {place} is no object")
                continue
            where = f"{self.name}, annotation {one.get('id', f'number {place}')}"
            if _is_id(one.get("id")):
                if one["id"] in seen:
                    self.problems.add("annotation_duplicate", f"{where}: its id comes twice")
                    continue
                seen.add(one["id"])
            number = one.get("image_id")
            if _is_id(number) and number in by_image:
                by_image[number].append((where, one))
            elif not _is_id(number) or number not in told:
                self.problems.add("annotation_missing", f"{where}: no image has the id {number!r}")
        return [self._marked(image, by_image[number], labels) for number, image in images.items()]

    def _odd(self, kind: str, text: str) -> None:
        self.problems.add(kind, f"{self.name}: {text}")

    def _categories(self, values: Sequence[Any], known: tuple[str, ...] | None) -> dict[int | str, int]:
        """Which class each id stands for."""
        found: dict[int | str, str] = {}
        for place, one in enumerate(values):
            number, title = (one.get("id"), one.get("name")) if isinstance(one, Mapping) else (None, None)
            if not _is_id(number) or not isinstance(title, str) or not title.strip():
                self._odd("annotation_value", f"category number {place} has no id and name")
                continue
            title = normal(printable(title.strip()))
            if number in found or title in found.values():
                self._odd("annotation_duplicate", f"category {number}, {title!r}: its id or name comes twice")
                continue
            found[number] = title
        ordered = sorted(found, key=lambda number: (isinstance(number, str), number))
        self.classes = tuple(found[number] for number in ordered)
        if known is None:
            return {number: label for label, number in enumerate(ordered)}
        labels = {}
        for number in ordered:
            if found[number] in known:
                labels[number] = known.index(found[number])
            else:
                title = found[number]
                said = f"category {title!r} is not among those of train{nearest(title, known)}"
                self._odd("annotation_category", said)
        return labels

    def _images(self, values: Sequence[Any]) -> dict[int | str, _Image]:
        """The pictures that are there, by their ids."""
        told: dict[int | str, _Image] = {}
        names: set[str] = set()
        for place, one in enumerate(values):
            number, file_name = (
                (one.get("id"), one.get("file_name")) if isinstance(one, Mapping) else (None,) * 2
            )
            if not _is_id(number) or not isinstance(file_name, str) or not file_name:
                self._odd("annotation_value", f"image number {place} has no id and file_name")
                continue
            name = printable(file_name)
            if number in told or name in names:
                self._odd("annotation_duplicate", f"image {number}, {name}: its id or file_name comes twice")
                continue
            sides = numbers([one.get("height"), one.get("width")])
            names.add(name)
            whole = (0, 0) if sides is None else (int(sides[0]), int(sides[1]))
            told[number] = _Image(number, name, Path(file_name), whole)
        folder = self._folder([image.path for image in told.values()])
        # Pictures of several parts may have the same names, each in its own folder.
        inside = folder.relative_to(self.root) if folder.is_relative_to(self.root) else Path()
        told = {
            number: image._replace(name=printable((inside / image.path).as_posix()))
            for number, image in told.items()
        }
        paths = [(image.name, folder / image.path) for image in told.values()]
        there = sizes_of(paths, self.problems)
        found = {}
        for (number, image), (_, path) in zip(told.items(), paths, strict=True):
            size = there.get(image.name)
            if size is None:
                continue
            if image.size not in ((0, 0), size):
                self.problems.add(
                    "annotation_size",
                    f"{image.name}: {self.name} says {image.size[1]} x {image.size[0]} pixels, the picture"
                    f" has {size[1]} x {size[0]}",
                )
                continue
            found[number] = image._replace(path=path, size=size)
        return found

    def _folder(self, paths: Sequence[Path]) -> Path:
        """Where the pictures lie: the first place that has one of them."""
        words = self.file.stem.split("_")[-1]
        names = ["", "images", words, f"images/{words}"]
        if self.part is not None:
            folders = [f for f in _folders(self.root) + _folders(self.root / "images") if part_of(f.name)]
            names += [str(f) for f in folders if part_of(f.name) == self.part]
        homes = dict.fromkeys(home / inside for home in (self.file.parent, self.root) for inside in names)
        for home in homes:
            if any((home / path).is_file() for path in paths[:8]):
                return home
        return self.file.parent

    def _marked(
        self, image: _Image, told: list[tuple[str, Mapping[str, Any]]], labels: dict[int | str, int]
    ) -> Marked:
        rows: list[tuple[tuple[float, ...], int, bool, Mask | None, float]] = []
        for where, one in told:
            number = one.get("category_id")
            if not _is_id(number) or number not in labels:
                self.problems.add("annotation_category", f"{where}: unknown category_id {number!r}")
                continue
            mask, good = self._mask(one.get("segmentation"), image.size, where)
            if not good:
                continue
            corners = _corners(one.get("bbox"))
            if corners is None:
                if one.get("bbox") is not None or mask is None:
                    said = f"{where}: bbox is {one.get('bbox')!r}; wanted left, top, width, height"
                    self.problems.add("annotation_value", said)
                    continue
                corners = extent(mask.decode())
            box = checked_box(corners, image.size, where, self.problems)
            if box is None:
                continue
            area = numbers([one.get("area")])
            size = area[0] if area else (box[2] - box[0]) * (box[3] - box[1])
            rows.append((box, labels[number], bool(one.get("iscrowd")), mask, size))
        some = [row[3] for row in rows if row[3] is not None]
        objects = Objects.of(
            [row[0] for row in rows],
            [row[1] for row in rows],
            crowd=[row[2] for row in rows],
            masks=some if len(some) == len(rows) and some else None,
            areas=[row[4] for row in rows],
        )
        shown = tuple(sorted({self.names[row[1]] for row in rows}))
        return Marked(image.name, image.path, self.part, shown, objects=objects)

    def _mask(self, told: Any, size: tuple[int, int], where: str) -> tuple[Mask | None, bool]:
        """The mask, None where nothing is told, and whether what is told can be used."""
        if told is None or told == []:
            return None, True
        if isinstance(told, Mapping):
            return self._runs(told, size, where)
        rings = [numbers(ring) for ring in told] if _is_list(told) else [None]
        good = [ring for ring in rings if ring is not None and len(ring) >= 6 and len(ring) % 2 == 0]
        if len(good) < len(rings):
            said = f"{where}: a polygon wants x y x y x y ..., three points or more"
            self.problems.add("annotation_value", said)
            return None, False
        return Polygons(size, tuple(np.array(ring).reshape(-1, 2) for ring in good)), True

    def _runs(self, told: Mapping[str, Any], size: tuple[int, int], where: str) -> tuple[Mask | None, bool]:
        sides, counts = numbers(told.get("size"), 2), told.get("counts")
        if sides is None or not isinstance(counts, str | list):
            self.problems.add("annotation_value", f"{where}: run lengths want size and counts")
            return None, False
        if (int(sides[0]), int(sides[1])) != size:
            self.problems.add(
                "annotation_mask",
                f"{where}: its mask is {sides[1]:g} x {sides[0]:g} pixels, the picture {size[1]} x {size[0]}",
            )
            return None, False
        try:
            if isinstance(counts, str):
                mask = Rle(size, counts.encode("ascii"))
            else:
                mask = Rle(size, tuple(int(run) for run in numbers(counts) or ()))
            mask.runs()
        except (DataError, UnicodeEncodeError) as error:
            reason = str(error) if isinstance(error, DataError) else "run lengths that are no ASCII"
            self.problems.add("annotation_mask", f"{where}: {reason}")
            return None, False
        return mask, True


def _corners(box: Any) -> tuple[float, float, float, float] | None:
    values = numbers(box, 4)
    if values is None:
        return None
    left, top, width, height = values
    return left, top, left + width, top + height


def _folders(home: Path) -> list[Path]:
    return [place for place in sorted(home.iterdir()) if place.is_dir()] if home.is_dir() else []


def _looks_like_coco(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED)
    except OSError:
        return False
    # COCO's own files begin with "info" and "licenses", longer than what is looked at.
    return any(key in head for key in _KEYS) or (b'"info"' in head and b'"licenses"' in head)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_id(value: Any) -> TypeGuard[int | str]:
    return isinstance(value, int | str) and not isinstance(value, bool)
