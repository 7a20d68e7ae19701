"""Pascal VOC's annotations of objects: one XML file for each picture (VOC development kit, section 5).

Boxes are xmin, ymin, xmax, ymax in whole pixels, counted from 1, the last one included; where one of them is
0, all are taken to count from 0. Objects that are marked as difficult are crowds here: they are not learnt,
and finding them is no mistake. ``ImageSets/Main/{train,val,test}.txt`` name the parts, or folders do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from vitreous.data.annotated import (
    Marked,
    annotated_splits,
    in_threads,
    part_of,
    read_lines,
    sizes_of,
    told_empty,
    unique_classes,
)
from vitreous.data.annotation import Objects
from vitreous.data.collection import Splits
from vitreous.data.images import SUFFIXES
from vitreous.data.problems import Problems, checked_box, numbers
from vitreous.data.splitting import many, normal
from vitreous.errors import DataError, nearest, printable

_HOMES = ("Annotations", "annotations", "xmls", "labels")
_PICTURES = ("JPEGImages", "images", "Images", "")
_NAMES = ("classes.txt", "labels.txt")


def find_voc(root: Path) -> list[tuple[Path, str | None]]:
    """The XML files of a folder, with the part that their folder is named after."""
    for home in (root, *(root / name for name in _HOMES)):
        files = sorted(home.glob("*.xml")) if home.is_dir() else []
        if files:
            return [(file, None) for file in files]
    found: list[tuple[Path, str | None]] = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and part_of(folder.name):
            for home in (folder, *(folder / name for name in _HOMES)):
                found += [(file, part_of(folder.name)) for file in sorted(home.glob("*.xml"))]
    return found


def read_voc(
    files: Sequence[tuple[Path, str | None]], root: Path, name: str, *, seed: int, problems: Problems
) -> Splits:
    """The parts that ``files`` are annotations of. What is wrong goes to ``problems`` and is left out.

    Raises:
        DataError: no picture is left.
    """
    read = in_threads(lambda pair: _read(pair[0]), files)
    parts = _parts(root)
    told: list[tuple[_File, str | None]] = []
    for (path, part), found in zip(files, read, strict=True):
        if parts and path.stem not in parts:
            continue
        if isinstance(found, str):
            problems.add("annotation_json", found)
        else:
            told.append((found, part or parts.get(path.stem)))
    named = next((root / title for title in _NAMES if (root / title).is_file()), None)
    if named is not None:
        lines = read_lines(named, named.name)
        classes = unique_classes([normal(printable(line)) for line in lines], named.name)
    else:
        classes = tuple(sorted({one.name for file, _ in told for one in file.objects}))
    least = min((min(one.corners[:2]) for file, _ in told for one in file.objects), default=1.0)
    start = 0 if least < 1 else 1
    homes = [(_picture_name(file, root), _picture(file, root)) for file, _ in told]
    sizes = sizes_of(homes, problems)
    pictures, seen = [], set[str]()
    for (file, part), (title, picture) in zip(told, homes, strict=True):
        if title in seen:
            problems.add("annotation_duplicate", f"{file.title}: {title} is annotated twice")
        elif title in sizes and _is_of(file, title, sizes[title], problems):
            pictures.append(_marked(file, title, picture, part, sizes[title], classes, start, problems))
        seen.add(title)
    if not pictures:
        problems.refuse(name)
    origin = f"Pascal VOC XML files, pixels counted from {start}"
    if len(told) < len(files) and parts:
        origin += f", {many(len(files) - len(told), 'file')} in no list of ImageSets/Main left out"
    splits = annotated_splits(name, classes, pictures, seed=seed, origin=origin)
    return splits._replace(how=splits.how + told_empty(pictures))


class _Object(NamedTuple):
    name: str
    corners: tuple[float, ...]
    difficult: bool


class _File(NamedTuple):
    path: Path
    title: str
    picture: str
    size: tuple[int, int] | None
    objects: list[_Object]


def _read(path: Path) -> _File | str:
    """What one file tells, or what is wrong with it."""
    title = printable(path.name)
    try:
        text = path.read_bytes()
    except OSError as error:
        return f"{title}: cannot be read ({error.strerror})"
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return f"{title}: XML with declarations of its own, which are not read; remove <!DOCTYPE ...>"
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        return f"{title}: broken XML at line {line}, column {column + 1}: {str(error).partition(':')[0]}"
    objects = []
    for place, one in enumerate(root.iter("object"), start=1):
        words = [one.findtext(f"bndbox/{side}", "") for side in ("xmin", "ymin", "xmax", "ymax")]
        name = normal(printable((one.findtext("name") or "").strip()))
        try:
            corners = numbers([float(word) for word in words], 4)
        except ValueError:
            corners = None
        if corners is None or not name:
            return f"{title}, object {place}: wanted a name and a bndbox of xmin, ymin, xmax, ymax"
        difficult = (one.findtext("difficult") or "0").strip() == "1"
        objects.append(_Object(name, tuple(corners), difficult))
    try:
        size = (int(float(root.findtext("size/height", ""))), int(float(root.findtext("size/width", ""))))
    except (ValueError, OverflowError):
        size = None
    return _File(path, title, (root.findtext("filename") or "").strip(), size, objects)


def _picture(file: _File, root: Path) -> Path:
    """The picture of a file: by the name that it tells, or by its own."""
    homes = [file.path.parent, file.path.parent.parent, root]
    places = dict.fromkeys(home / inside for home in homes for inside in _PICTURES)
    told = Path(file.picture).name
    for place in places:
        if told and (place / told).is_file():
            return place / told
    for place in places:
        for suffix in sorted(SUFFIXES):
            for candidate in (place / (file.path.stem + suffix), place / (file.path.stem + suffix.upper())):
                if candidate.is_file():
                    return candidate
    return file.path.parent / (told or file.path.stem)


def _picture_name(file: _File, root: Path) -> str:
    path = _picture(file, root)
    return printable((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


def _parts(root: Path) -> dict[str, str]:
    """The part of each picture that the lists name. DataError where one is in two."""
    found: dict[str, str] = {}
    for part in ("train", "val", "test"):
        file = root / "ImageSets" / "Main" / f"{part}.txt"
        for line in read_lines(file, file.name) if file.is_file() else []:
            stem, told = line.split()[0], part_of(part) or part
            if found.setdefault(stem, told) != told:
                raise DataError(f"{stem!r} is in {found[stem]} and {told} of ImageSets/Main; keep one")
    return found


def _is_of(file: _File, title: str, size: tuple[int, int], problems: Problems) -> bool:
    """Whether a file tells of a picture of this size."""
    if file.size is None or file.size in ((0, 0), size):
        return True
    told = f"{file.size[1]} x {file.size[0]} pixels, but {title} has {size[1]} x {size[0]}"
    problems.add("annotation_size", f"{file.title}: {told}")
    return False


def _marked(
    file: _File,
    title: str,
    path: Path,
    part: str | None,
    size: tuple[int, int],
    classes: tuple[str, ...],
    start: int,
    problems: Problems,
) -> Marked:
    boxes, labels, crowd = [], [], []
    for place, one in enumerate(file.objects, start=1):
        where = f"{file.title}, object {place}"
        if one.name not in classes:
            said = f"{where}: unknown class {one.name!r}{nearest(one.name, classes)}"
            problems.add("annotation_category", said)
            continue
        left, top, right, bottom = one.corners
        box = checked_box(
            (left - start, top - start, right - start + 1, bottom - start + 1), size, where, problems
        )
        if box is not None:
            boxes.append(box)
            labels.append(classes.index(one.name))
            crowd.append(one.difficult)
    objects = Objects.of(boxes, labels, crowd=crowd)
    return Marked(title, path, part, tuple(sorted({classes[label] for label in labels})), objects=objects)
