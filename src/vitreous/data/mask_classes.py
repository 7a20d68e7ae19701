"""What the values of masks stand for: from a file of classes, and from the values that occur.

Files, in the folder of the data set: ``classes.txt`` (or labels.txt, names.txt), one name a line, the first
is class 0; ``classes.json``, {"name": value} with a number or [red, green, blue], {"0": "name"} or a list of
names; ``classes.csv`` or ``class_dict.csv`` with columns name and value, or name, r, g, b; ADE20K's
objectInfo150.txt. A class that is called void, ignore or unlabelled takes no part.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vitreous.data.annotated import read_lines, unique_classes
from vitreous.data.annotation import IGNORED, IGNORED_WIDE, ignored_of
from vitreous.data.mask_file import Coding, told_value
from vitreous.data.splitting import normal
from vitreous.errors import DataError, printable

BACKGROUND, FOREGROUND = "background", "foreground"
MOST_COLOURS = 255
_BORDER = 0xE0E0C0  # of Pascal VOC's objects: too hard to say what is there
_LISTS = ("classes.txt", "labels.txt", "names.txt")
_TABLES = ("classes.csv", "class_dict.csv")
_VOID = frozenset({"void", "ignore", "ignored", "unlabeled", "unlabelled"})
_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)


class Named(NamedTuple):
    """Names of classes, from the file ``where``; ``values``, one for each, where it tells them, and whether
    those are colours. ``voids`` are the values that take no part."""

    names: tuple[str, ...]
    where: str
    values: tuple[int, ...] | None = None
    colour: bool = False
    voids: tuple[int, ...] = ()


class Decision(NamedTuple):
    """What the masks of a data set mean: their coding, the classes, and a sentence on it."""

    coding: Coding
    classes: tuple[str, ...]
    how: str


def named_classes(root: Path, *, voc: bool = False) -> Named | None:
    """What a file of classes tells, None where there is none. With ``voc`` those of Pascal VOC without a
    file.

    Raises:
        DataError: the file cannot be read, or does not tell classes.
    """
    for name in _LISTS:
        if (root / name).is_file():
            lines = [normal(printable(line)) for line in read_lines(root / name, name)]
            return _checked(Named(tuple(lines), name))
    if (root / "classes.json").is_file():
        return _checked(_from_json(root / "classes.json"))
    for name in _TABLES:
        if (root / name).is_file():
            return _checked(_from_table(root / name))
    if (root / "objectInfo150.txt").is_file():
        rows = [line.split("\t") for line in read_lines(root / "objectInfo150.txt", "objectInfo150.txt")]
        names = [normal(printable(row[-1].split(",")[0].strip())) for row in rows[1:]]
        return _checked(Named(tuple(names), "objectInfo150.txt", tuple(range(1, len(names) + 1))))
    return Named(_VOC, "Pascal VOC") if voc else None


def decide(values: Sequence[tuple[int, ...]], colour: bool, named: Named | None) -> Decision:
    """What values stand for, given those that occur in each mask."""
    occurring = sorted({value for own in values for value in own})
    if named is not None and named.values is not None:
        return _explicit(occurring, colour, named)
    if colour:
        return _colours(occurring, named)
    if set(occurring) <= {0, IGNORED} and IGNORED in occurring and (named is None or len(named.names) <= 2):
        return _binary(named)
    if named is None:
        return _by_number(occurring)
    count = len(named.names)
    ignored = ignored_of(count)
    if max((value for value in occurring if value != ignored), default=0) == count:
        numbers = (ignored, *range(count))
        how = f"indices from 1 by {named.where}, as ADE20K's: 0 takes no part"
        return _indices(numbers, named.names, how, ignored)
    how = f"indices by {named.where}, 0 is {named.names[0]!r}"
    return _indices(tuple(range(count)), named.names, how, ignored)


def _indices(numbers: tuple[int, ...], names: tuple[str, ...], how: str, ignored: int) -> Decision:
    """Value k stands for the k-th of ``numbers``, and ``ignored`` for itself."""
    values = tuple(range(len(numbers)))
    without = sorted({ignored, IGNORED_WIDE})
    coding = Coding(False, (*values, *without), (*numbers, *[ignored] * len(without)), len(names))
    return Decision(coding, names, f"{how}, {ignored} takes no part" if 0 in numbers[:1] else how)


def _binary(named: Named | None) -> Decision:
    names: tuple[str, ...] = (BACKGROUND, FOREGROUND) if named is None else named.names
    if len(names) == 1:
        names = (BACKGROUND, *names)
    how = f"0 and 255 alone: {names[0]!r} and {names[1]!r}"
    return Decision(Coding(False, (0, IGNORED), (0, 1), 2), names, how)


def _by_number(occurring: list[int]) -> Decision:
    most = IGNORED_WIDE if max(occurring) > IGNORED else IGNORED
    count = max((value for value in occurring if value != most), default=0) + 1
    names = tuple(f"class {number}" for number in range(count))
    how = f"indices without a file of classes, 0 is {names[0]!r}"
    return _indices(tuple(range(count)), names, how, ignored_of(count))


def _colours(occurring: list[int], named: Named | None) -> Decision:
    if named is not None:
        raise DataError(
            f"{named.where}: masks are of colours, and it names classes without colours; wanted classes.csv"
            " with columns name,r,g,b"
        )
    if len(occurring) > MOST_COLOURS:
        raise DataError(
            f"masks of {len(occurring)} colours, more than {MOST_COLOURS}: their edges are smoothed; save"
            " them without smoothing, and name the colours in classes.csv as name,r,g,b"
        )
    kept = [value for value in occurring if value != _BORDER or 0 not in occurring]
    names = tuple(BACKGROUND if value == 0 else told_value(value, True) for value in kept)
    numbers = dict(zip(kept, range(len(kept)), strict=True))
    coded = tuple(numbers.get(value, ignored_of(len(kept))) for value in occurring)
    how = f"{len(names)} colours without a file of classes, called by their numbers"
    border = f", {told_value(_BORDER, True)} takes no part" if len(kept) < len(occurring) else ""
    return Decision(Coding(True, tuple(occurring), coded, len(kept)), names, how + border)


def _explicit(occurring: list[int], colour: bool, named: Named) -> Decision:
    if named.colour != colour:
        told, are = ("colours", "indices") if named.colour else ("indices", "colours")
        raise DataError(f"{named.where}: it names {told}, but the masks are of {are}")
    ignored = ignored_of(len(named.names))
    table = dict(zip(named.values or (), range(len(named.names)), strict=True))
    table |= dict.fromkeys(named.voids, ignored)
    if not colour:
        table.setdefault(ignored, ignored)
        if 0 not in table and 0 in occurring:
            table[0] = ignored
    kind = "colours" if colour else "indices"
    without = [told_value(value, colour) for value, number in sorted(table.items()) if number == ignored]
    how = f"{kind} by {named.where}" + (f", {', '.join(without)} takes no part" if without else "")
    ordered = sorted(table)
    coding = Coding(colour, tuple(ordered), tuple(table[value] for value in ordered), len(named.names))
    return Decision(coding, named.names, how)


def _checked(named: Named) -> Named:
    """Without the classes that take no part; DataError where none is left, or a name or value comes twice."""
    if named.values is not None:
        if len(set(named.values)) < len(named.values):
            raise DataError(f"{named.where}: two classes of one value; each needs its own")
        kept = [pair for pair in zip(named.names, named.values, strict=True) if pair[0].lower() not in _VOID]
        voids = tuple(set(named.values) - {value for _, value in kept})
        named = named._replace(
            names=tuple(name for name, _ in kept), values=tuple(value for _, value in kept), voids=voids
        )
    if not named.names:
        raise DataError(f"{named.where}: no names of classes")
    unique_classes(named.names, named.where)
    return named


def _from_json(path: Path) -> Named:
    where = path.name
    try:
        told: Any = json.loads("\n".join(path.read_text(encoding="utf-8-sig").splitlines()))
    except json.JSONDecodeError as error:
        said = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise DataError(f"{where}: {said}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cannot be read as text") from error
    if isinstance(told, list) and all(isinstance(one, str) for one in told):
        return Named(tuple(normal(printable(one)) for one in told), where)
    if isinstance(told, Mapping) and told:
        if all(str(key).isdigit() and isinstance(value, str) for key, value in told.items()):
            ordered = sorted((int(key), normal(printable(value))) for key, value in told.items())
            return Named(tuple(name for _, name in ordered), where, tuple(value for value, _ in ordered))
        rows = [
            (normal(printable(str(key))), value if isinstance(value, list) else [value])
            for key, value in told.items()
        ]
        return _rows(rows, where)
    raise DataError(f"{where}: wanted names as a list, or as name: value")


def _from_table(path: Path) -> Named:
    lines = read_lines(path, path.name)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    head = [cell.lower() for cell in rows[0]] if rows else []
    columns = ["r", "g", "b"] if "r" in head else ["value"]
    missing = [column for column in ("name", *columns) if column not in head]
    if missing:
        raise DataError(f"{path.name}: no column {missing[0]!r}; wanted name,r,g,b or name,value")
    try:
        found = [
            (normal(printable(row[head.index("name")])), [int(row[head.index(column)]) for column in columns])
            for row in rows[1:]
        ]
    except (ValueError, IndexError) as error:
        raise DataError(f"{path.name}: a row without a name and numbers; wanted {','.join(head)}") from error
    return _rows(found, path.name)


def _rows(rows: Sequence[tuple[str, Sequence[Any]]], where: str) -> Named:
    """Names with one number each, or with red, green and blue."""
    lengths = {len(values) for _, values in rows}
    good = all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= IGNORED_WIDE
        for _, values in rows
        for value in values
    )
    if not good or lengths not in ({1}, {3}):
        raise DataError(f"{where}: wanted a number, or red, green and blue, for each class")
    if lengths == {3}:
        if any(value > 255 for _, values in rows for value in values):
            raise DataError(f"{where}: wanted red, green and blue from 0 to 255")
        packed = tuple(values[0] << 16 | values[1] << 8 | values[2] for _, values in rows)
        return Named(tuple(name for name, _ in rows), where, packed, colour=True)
    return Named(tuple(name for name, _ in rows), where, tuple(values[0] for _, values in rows))
