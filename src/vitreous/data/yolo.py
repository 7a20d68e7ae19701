"""YOLO's annotations: a text file beside each picture, or in ``labels`` where the picture is in ``images``.

A line is one object: the number of its class, and centre x, centre y, width and height as shares of the
picture, or its outline as x y x y x y ..., three points or more. A picture without a file, or with an empty
one, shows nothing. Classes are named by ``names`` in a YAML file, which may name the parts too, or by
``classes.txt``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

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
from vitreous.data.annotation import Mask, Objects, Polygons
from vitreous.data.collection import Splits
from vitreous.data.problems import Problems, checked_box
from vitreous.data.splitting import listed, normal
from vitreous.data.walk import find_pictures
from vitreous.errors import DataError, printable

_NAMES = ("classes.txt", "obj.names", "labels.txt", "names.txt")
_PARTS = ("train", "val", "test")
Homes = list[tuple[str | None, Path]]


def is_yolo_yaml(path: Path) -> bool:
    """Whether a file is YAML that may tell of such a data set."""
    return path.suffix.lower() in (".yaml", ".yml")


def find_yolo(root: Path) -> tuple[Path | None, Homes]:
    """The YAML of a folder, or None, and its folders of pictures with their parts; none where it is no such
    data set."""
    for file in sorted(root.glob("*.y*ml")):
        values = _yaml(file)
        if isinstance(values, Mapping) and "names" in values and any(part in values for part in _PARTS):
            return file, []
    if (root / "images").is_dir() and any((root / "labels").rglob("*.txt")):
        inside = [place for place in sorted((root / "images").iterdir()) if place.is_dir()]
        parts: Homes = [(part_of(place.name), place) for place in inside if part_of(place.name)]
        return None, parts or [(None, root / "images")]
    found: Homes = []
    for place in sorted(root.iterdir()):
        if part_of(place.name) and (place / "images").is_dir() and any((place / "labels").glob("*.txt")):
            found.append((part_of(place.name), place / "images"))
    if not found and any((root / name).is_file() for name in _NAMES[:2]) and _beside(root):
        found.append((None, root))
    return None, found


def read_yolo(
    root: Path, file: Path | None, homes: Homes, name: str, *, seed: int, problems: Problems
) -> Splits:
    """The parts of such a data set. What is wrong goes to ``problems`` and is left out.

    Raises:
        DataError: no picture, no names of classes, or a YAML file that does not tell them.
    """
    told = None if file is None else _told(file)
    classes = _classes(root, told, file)
    if told is not None and file is not None:
        homes = _homes(file, told)
    pictures = _pictures(homes, root)
    if not pictures:
        raise DataError(f"{name}: no pictures where the parts are said to be")
    sizes = sizes_of([(title, path) for title, path, _ in pictures], problems)
    there = [(title, path, part) for title, path, part in pictures if title in sizes]
    lines = in_threads(lambda one: _lines(_label_file(one[1])), there)
    marked = [
        _marked(title, path, part, sizes[title], text, classes, problems)
        for (title, path, part), text in zip(there, lines, strict=True)
    ]
    if not marked:
        problems.refuse(name)
    if not any(one.shown for one in marked) and not problems:
        raise DataError(
            f"{name}: no object is marked on its {len(marked)} pictures; are the text files there?"
        )
    origin = "YOLO text files" + (f" as {printable(file.name)} tells" if file is not None else "")
    splits = annotated_splits(name, classes, marked, seed=seed, origin=origin)
    return splits._replace(how=splits.how + told_empty(marked))


def _yaml(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def _told(file: Path) -> Mapping[str, Any]:
    import yaml

    where = printable(file.name)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise DataError(f"{where}: broken YAML{at}: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{where}: cannot be read as YAML") from error
    if not isinstance(values, Mapping) or "names" not in values:
        raise DataError(f"{where}: no names of classes; wanted names: [...] and train: FOLDER")
    return values


def _classes(root: Path, told: Mapping[str, Any] | None, file: Path | None) -> tuple[str, ...]:
    if told is not None and file is not None:
        where, names = printable(file.name), told["names"]
        if isinstance(names, Mapping):
            wanted = list(range(len(names)))
            if sorted(names, key=str) != sorted(wanted, key=str):
                raise DataError(f"{where}: names are numbered {listed(map(str, names))}; wanted 0, 1, 2, ...")
            names = [names[number] for number in wanted]
        if not isinstance(names, Sequence) or isinstance(names, str) or not names:
            raise DataError(f"{where}: names is {names!r}; wanted a list of classes")
        if isinstance(told.get("nc"), int) and told["nc"] != len(names):
            raise DataError(
                f"{where}: nc says {told['nc']} classes, names has {len(names)}; correct one of them"
            )
        return unique_classes([normal(printable(str(one))) for one in names], where)
    for place in (root, root / "labels"):
        for title in _NAMES:
            if (place / title).is_file():
                lines = read_lines(place / title, title)
                return unique_classes([normal(printable(line)) for line in lines], title)
    raise DataError(
        f"{printable(root.name)}: no names of classes for its YOLO text files; put them into classes.txt, one"
        " a line, the first is class 0, or into data.yaml as names: [...]"
    )


def _homes(file: Path, told: Mapping[str, Any]) -> Homes:
    found: Homes = []
    for key in _PARTS:
        values = told.get(key)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and value:
                found.append((part_of(key), _place(file, told.get("path"), value, key)))
    if not found:
        raise DataError(f"{printable(file.name)}: no train, val or test; wanted folders of pictures")
    return found


def _place(file: Path, base: Any, value: str, key: str) -> Path:
    """Where a part lies: below ``path``, or beside the file, whatever leads out of its folder left off."""
    inside = Path(*(step for step in PurePosixPath(value).parts if step not in ("..", "/")))
    bases = [file.parent / base] if isinstance(base, str) else []
    candidates = [*(home / value for home in bases), file.parent / value, file.parent / inside]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise DataError(f"{printable(file.name)}: {key} is {value!r}, but there is no such folder beside it")


def _pictures(homes: Homes, root: Path) -> list[tuple[str, Path, str | None]]:
    """Name, file and part of each picture; a text file names one a line."""
    found: dict[Path, tuple[str, Path, str | None]] = {}
    for part, home in homes:
        if home.is_file():
            lines = read_lines(home, printable(home.name))
            files = [
                candidate if (candidate := home.parent / line).exists() else root / line for line in lines
            ]
        else:
            files = [home / inside for inside in find_pictures(home).pictures]
        for path in files:
            inside = path.relative_to(root) if path.is_relative_to(root) else path
            found.setdefault(path, (printable(inside.as_posix()), path, part))
    return list(found.values())


def _label_file(picture: Path) -> Path:
    """The text file of a picture: in ``labels`` for the last ``images`` in its path, else beside it."""
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() == "images":
            parts[place] = "labels"
            other = Path(*parts).with_suffix(".txt")
            if other.exists():
                return other
            break
    return picture.with_suffix(".txt")


def _lines(file: Path) -> list[str] | str:
    """The lines, none where there is no such file; or why it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        return f"{printable(file.name)}: not UTF-8 text"
    except OSError as error:
        return f"{printable(file.name)}: cannot be read ({error.strerror})"


def _beside(root: Path) -> bool:
    names = set(_NAMES)
    return any(file.name not in names for file in root.glob("*.txt"))


def _marked(
    title: str,
    path: Path,
    part: str | None,
    size: tuple[int, int],
    lines: list[str] | str,
    classes: tuple[str, ...],
    problems: Problems,
) -> Marked:
    if isinstance(lines, str):
        problems.add("annotation_value", lines)
        lines = []
    boxes, labels, masks = [], [], list[Mask | None]()
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        where = f"{title}, line {number} of its text file"
        before = first.setdefault(" ".join(words), number)
        if before != number:
            problems.add("annotation_duplicate", f"{where}: the same as line {before}")
            continue
        found = _object(words, size, where, len(classes), problems)
        if found is not None:
            labels.append(found[0])
            boxes.append(found[1])
            masks.append(found[2])
    some = [mask for mask in masks if mask is not None]
    whole = some if some and len(some) == len(masks) else None
    objects = Objects.of(boxes, labels, masks=whole)
    return Marked(title, path, part, tuple(sorted({classes[label] for label in labels})), objects=objects)


def _object(
    words: list[str], size: tuple[int, int], where: str, classes: int, problems: Problems
) -> tuple[int, tuple[float, float, float, float], Mask | None] | None:
    try:
        values = np.array([float(word) for word in words[1:]])
        label = int(float(words[0])) if float(words[0]).is_integer() else -1
    except (ValueError, OverflowError):
        problems.add("annotation_value", f"{where}: not numbers")
        return None
    outline = len(values) >= 6 and len(values) % 2 == 0
    if not (outline or len(values) == 4) or not np.isfinite(values).all():
        said = (
            f"{where}: {len(values)} numbers after the class; wanted 4 of a box, or x y of three points or"
            " more"
        )
        problems.add("annotation_value", said)
        return None
    if not 0 <= label < classes:
        problems.add(
            "annotation_category", f"{where}: class {words[0]}, but the names are of 0 to {classes - 1}"
        )
        return None
    height, width = size
    mask: Mask | None = None
    if outline:
        ring = values.reshape(-1, 2) * [width, height]
        mask = Polygons(size, (ring,))
        corners = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
    else:
        x, y, wide, tall = (values * [width, height, width, height]).tolist()
        corners = (x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2)
    box = checked_box(corners, size, where, problems)
    return None if box is None else (label, box, mask)
