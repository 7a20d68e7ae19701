"""Readers of users' layouts: class folders, tables, flat folders and the embedded data, by one call.

A name that exists as a file or folder is read from there; otherwise it may name embedded data.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.digits import digits
from vitreous.data.layouts import Wanted, read_annotated, read_annotation_file
from vitreous.data.problems import Problems
from vitreous.data.scene_set import scenes
from vitreous.data.splitting import PARTS, Entry, listed, make_splits, many, normal
from vitreous.data.table import BETWEEN, read_table
from vitreous.data.table import SUFFIXES as TABLE_SUFFIXES
from vitreous.data.walk import Found, find_pictures, folders_in, is_hidden, is_picture
from vitreous.errors import DataError, nearest, printable

# By name; what follows a colon is for each to read.
EMBEDDED: dict[str, Callable[[str], Splits]] = {"digits": digits, "scenes": scenes}

_WANTED = (
    "wanted ROOT/CLASS/*.jpg, ROOT/{train,val,test}/CLASS/*.jpg, a CSV with columns path,label or"
    " path,labels, COCO JSON, YOLO text files, Pascal VOC XML, ROOT/{images,masks}, or embedded data"
    f" ({', '.join(EMBEDDED)})"
)


def read_data(
    source: str | Path,
    *,
    seed: int = 0,
    wanted: Wanted | None = None,
    problems: Problems | None = None,
) -> Splits:
    """A data set in any layout that is understood, in parts, with a sentence on how they came about.

    - ``ROOT/CLASS/*.jpg``: split by ``seed`` within each class (see ``data/splitting.py``)
    - ``ROOT/{train,val,test}/CLASS/*.jpg``: the parts as given; without val, a tenth of train
    - a CSV with the columns path, label (or labels, several with | between them) and, if wished, split
    - a folder of pictures without classes: all in ``test``, without labels
    - COCO JSON, YOLO text files or Pascal VOC XML with their pictures: objects with boxes (``data/coco.py``,
      ``data/yolo.py``, ``data/voc.py``), also by the JSON or YAML file itself
    - ``ROOT/{images,masks}``: a class for each pixel (``data/mask_folder.py``)
    - the name of embedded data, if there is no such path: "digits", "scenes", "scenes:hard,size=32"

    Where several would fit, ``wanted`` says for which task the data is read. Hidden files and files that are
    no pictures are left out and counted. DataError for anything else, and for annotations with something
    wrong in them, all of it at once; with ``problems`` those are put there instead, and left out of the
    data.
    """
    name = printable(os.fspath(source))
    path = Path(source)
    if not _exists(path):
        return _embedded(source, name, path, wanted)
    found = Problems() if problems is None else problems
    annotated = None
    if path.is_dir():
        annotated = read_annotated(path, name, seed=seed, problems=found, wanted=wanted)
    elif wanted != "classification":
        annotated = read_annotation_file(path, name, seed=seed, problems=found, wanted=wanted)
    if annotated is not None:
        if problems is None:
            found.refuse(name)
        return annotated
    if path.is_dir():
        return _read_folder(path, name, seed)
    if path.suffix.lower() in TABLE_SUFFIXES:
        entries, repeated = read_table(path, name)
        splits = make_splits(name, entries, seed=seed, origin="table")
        note = f"; left out: {many(repeated, 'repeated row')}" if repeated else ""
        joined = next((entry.class_name for entry in entries if BETWEEN in entry.class_name), None)
        if joined is not None:
            note += f"; {joined!r} is read as one class (call the column 'labels' if it means several)"
        return splits._replace(how=splits.how + note)
    if is_picture(path.name):
        raise DataError(f"{name}: one picture is no data set; {_WANTED}")
    raise DataError(f"{name}: neither a folder nor a CSV; {_WANTED}")


def check_trainable(splits: Splits) -> None:
    """DataError unless a classifier can be trained: two classes or more (one will do where a picture may show
    several or none), each with pictures in train, and pictures for validation. Where objects or pixels are
    marked: some in train, and pictures for validation."""
    train = splits.train
    if train is None:
        other = splits.validation or splits.test
        name = "the data" if other is None else other.name
        if other is not None and not other.classes:
            raise DataError(f"{name}: no class folders, only pictures without labels; {_WANTED}")
        raise DataError(f"{name}: no train part; {_WANTED}")
    if train.detects or train.segments:
        _check_marked(train, splits.validation)
        return
    if len(train.classes) < 2 and not train.tagged:
        only = train.classes[0]
        if all(_is_below_subfolder(sample.name, only) for sample in train.samples):
            only += f" (are its subfolders the classes? then give {train.name}/{only} itself)"
        raise DataError(f"{train.name}: one class only, {only}; a classifier needs two or more")
    if train.tagged and len(train.classes) == 1 and all(sample.tags for sample in train.samples):
        raise DataError(f"{train.name}: every train picture shows {train.classes[0]}; give some that do not")
    empty = [class_name for class_name, count in train.counts().items() if not count]
    if empty:
        raise DataError(f"{train.name}: no train pictures of {listed(empty)}")
    if not splits.validation:
        raise DataError(f"{train.name}: no pictures for validation; give at least two for some class")


def _check_marked(train: Collection, validation: Collection | None) -> None:
    if train.segments and len(train.classes) < 2:
        raise DataError(f"{train.name}: one class only, {train.classes[0]}; segmentation needs two or more")
    if train.detects and not any(len(sample.held_objects() or ()) for sample in train.samples):
        raise DataError(f"{train.name}: no object is marked on the {len(train)} train pictures")
    if not validation:
        raise DataError(f"{train.name}: no pictures for validation; give at least two pictures")


def expand(sources: Iterable[str], stdin: IO[str] | None = None) -> Iterator[Sample]:
    """Files, folders (searched deep), globs and "-" (names on ``stdin``, one a line), in order.

    Samples have no label. A name with nothing behind it still comes out as a sample, and opening
    it says why: one bad name among many must not end the work. DataError for "-" without ``stdin``.
    """
    for source in sources:
        if source == "-":
            if stdin is None:
                raise DataError("-: there is no standard input to read names from")
            for line in stdin:
                if line.strip("\r\n"):
                    yield from _below(line.strip("\r\n"))
        elif glob.has_magic(source) and not os.path.lexists(source):
            # pathlib's glob takes no absolute pattern.
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
            files = [match for match in matches if not Path(match).is_dir()]
            for match in files or [source]:
                yield Sample(printable(match), Path(match))
        else:
            yield from _below(source)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False  # too long, or not a name at all


def _is_below_subfolder(name: str, class_name: str) -> bool:
    return name.startswith(f"{class_name}/") and name.count("/") > 1


def _below(source: str) -> Iterator[Sample]:
    path = Path(source)
    found: list[Path] = []
    try:
        if path.is_dir():
            found = find_pictures(path).pictures
    except (DataError, OSError, ValueError):
        found = []
    if not found:
        yield Sample(printable(source), path)
    for inside in found:
        yield Sample(printable(str(path / inside)), path / inside)


def _embedded(source: str | Path, name: str, path: Path, wanted: Wanted | None) -> Splits:
    if isinstance(source, str) and (embedded := source.partition(":"))[0] in EMBEDDED:
        if embedded[0] == "scenes":
            return scenes(embedded[2], wanted)
        return EMBEDDED[embedded[0]](embedded[2])
    known = list(EMBEDDED)
    with suppress(OSError, ValueError):  # without a parent folder there is no neighbour to name
        known += [item.name for item in path.parent.iterdir() if not is_hidden(item.name)]
    raise DataError(f"{name}: no such file or folder; {_WANTED}{nearest(path.name, known)}")


def _read_folder(root: Path, name: str, seed: int) -> Splits:
    folders = folders_in(root)
    given = [folder for folder in folders if folder.lower() in PARTS and folders_in(root / folder)]
    outside = find_pictures(root, deep=False)
    if given:
        return _read_parts(root, name, seed, given, [f for f in folders if f not in given])
    if not folders:
        return _read_flat(root, name, outside)
    by_class, found = _read_classes(root)
    if not any(by_class.values()):
        if outside.pictures:
            return _read_flat(root, name, outside)
        raise DataError(f"{name}: no pictures in its folders; {_WANTED}")
    _refuse_empty(name, by_class)
    splits = make_splits(
        name,
        [_entry(root, inside, class_name) for class_name, files in by_class.items() for inside in files],
        seed=seed,
        origin="class folders",
    )
    return splits._replace(how=splits.how + _left_out([outside, *found], outside.pictures))


def _read_parts(root: Path, name: str, seed: int, given: list[str], rest: list[str]) -> Splits:
    entries: list[Entry] = []
    classes: dict[str, tuple[str, set[str]]] = {}
    found: list[Found] = []
    for folder in given:
        part = PARTS[folder.lower()]
        if part in classes:
            raise DataError(f"{name}: {classes[part][0]} and {folder} are the same part; keep one")
        by_class, below = _read_classes(root / folder)
        _refuse_empty(f"{name}/{folder}", by_class)
        classes[part] = (folder, set(by_class))
        found += below
        entries += [
            _entry(root, Path(folder) / inside, class_name, part)
            for class_name, files in by_class.items()
            for inside in files
        ]
    _must_match(name, list(classes.values()))
    splits = make_splits(name, entries, seed=seed, origin=f"folders {', '.join(given)}")
    note = f"; folders left out: {listed(rest)}" if rest else ""
    return splits._replace(how=splits.how + _left_out(found) + note)


def _read_flat(root: Path, name: str, found: Found) -> Splits:
    if not found.pictures:
        raise DataError(f"{name}: no pictures in this folder; {_WANTED}")
    samples = tuple(Sample(printable(inside.as_posix()), root / inside) for inside in found.pictures)
    how = f"one folder without classes: {many(len(samples), 'picture')} without labels"
    return Splits(None, None, Collection(name, (), samples), how + _left_out([found]))


def _read_classes(root: Path) -> tuple[dict[str, list[Path]], list[Found]]:
    """The pictures of each class folder, relative to ``root``; and what was found there."""
    by_class: dict[str, list[Path]] = {}
    found = []
    for folder in folders_in(root):
        below = find_pictures(root / folder)
        found.append(below)
        files = by_class.setdefault(normal(printable(folder)), [])
        files += [Path(folder) / inside for inside in below.pictures]
    return by_class, found


def _entry(root: Path, inside: Path, class_name: str, part: str | None = None) -> Entry:
    return Entry(printable(inside.as_posix()), root / inside, class_name, part)


def _refuse_empty(name: str, by_class: dict[str, list[Path]]) -> None:
    empty = [class_name for class_name, files in by_class.items() if not files]
    if empty:
        raise DataError(
            f"{name}: class folders without pictures: {listed(empty)};"
            " put pictures there or remove the folder"
        )


def _must_match(name: str, parts: list[tuple[str, set[str]]]) -> None:
    first, known = parts[0]
    for folder, classes in parts[1:]:
        if classes != known:
            raise DataError(
                f"{name}: {first} and {folder} differ in their classes;"
                f" {first} has {listed(sorted(known))}; {folder} has {listed(sorted(classes))}"
            )


def _left_out(found: list[Found], pictures: Iterable[Path] = ()) -> str:
    """The tail of the sentence on how splits came about: what was seen and not used."""
    hidden = sum(len(below.hidden) for below in found)
    others = [name for below in found for name in below.others]
    outside = len(list(pictures))
    notes = []
    if outside:
        notes.append(f"{many(outside, 'picture')} outside the class folders")
    if hidden:
        notes.append(many(hidden, "hidden file"))
    if others:
        notes.append(f"{many(len(others), 'file')} of other kinds ({listed(others, 3)})")
    return f"; left out: {', '.join(notes)}" if notes else ""
