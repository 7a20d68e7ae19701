"""Tables of pictures: CSV or TSV with a header, columns path and label, and split if wished.

In the place of label a column ``labels`` says which classes a picture shows, any number of them: "cat|dog".
An empty cell says that it shows none.

Paths are relative to the table's folder, or absolute. Column names may be in any case; other
columns are ignored. The separator is a comma, semicolon or tab, whichever the header uses.
"""

import csv
from pathlib import Path

from vitreous.data.splitting import PARTS, Entry, listed, normal
from vitreous.errors import DataError, nearest, printable

BETWEEN = "|"  # labels of one picture
SUFFIXES = frozenset({".csv", ".tsv"})


def read_table(path: Path, name: str) -> tuple[list[Entry], int]:
    """The rows of a table, and how many of them said the same thing twice and were dropped.

    DataError for a missing column, both ``label`` and ``labels``, an empty cell, a split that is none, a
    picture with two labels or in two splits, or where no picture of the table exists.
    """
    header, rows = _read_rows(path, name)
    columns = {key.strip().lower(): key for key in header}
    for column in ("path", "label"):
        if column not in columns and not (column == "label" and "labels" in columns):
            others = "" if column == "path" else " and no column 'labels'"
            raise DataError(
                f"{name}: no column {column!r}{others}; columns found: {listed(columns)}"
                + nearest(column, columns)
            )
    if "label" in columns and "labels" in columns:
        raise DataError(
            f"{name}: columns 'label' and 'labels'; keep 'label' where a picture shows exactly one class,"
            " 'labels' where it may show several"
        )
    entries: dict[str, Entry] = {}
    repeated = 0
    for number, row in rows:
        entry = _entry(row, columns, path.parent, f"{name}, line {number}")
        first = entries.setdefault(entry.name, entry)
        if first is not entry:
            repeated += 1
            _must_agree(first, entry, f"{name}, line {number}")
    if not any(entry.names for entry in entries.values()):
        raise DataError(f"{name}: no picture has a label; wanted class names in 'labels', | between them")
    if not any(entry.path.exists() for entry in entries.values()):
        raise DataError(
            f"{name}: none of its {len(entries)} pictures exists, the first is"
            f" {next(iter(entries))!r}; paths are relative to the table's folder"
        )
    return list(entries.values()), repeated


def _read_rows(path: Path, name: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row as {column: cell} with the number of its line in the file."""
    try:
        # utf-8-sig drops the byte-order mark that spreadsheets put in front of the first column.
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            reader = csv.DictReader(file, delimiter=separator, restval="")
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader if any(row.values())]
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text; save the table as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{name}: not a table ({error})") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    if not rows:
        found = f"; columns found: {listed(columns)}" if columns else ""
        raise DataError(f"{name}: the table has no rows{found}; wanted path,label")
    return columns, rows


def _entry(row: dict[str, str], columns: dict[str, str], folder: Path, where: str) -> Entry:
    cells = {column: (row[key] or "").strip() for column, key in columns.items()}
    for column in ("path", "label"):
        if not cells.get(column, "-"):
            raise DataError(f"{where}: the {column} is empty")
    part = None
    if "split" in cells:
        part = PARTS.get(cells["split"].lower())
        if part is None:
            raise DataError(
                f"{where}: unknown split {cells['split']!r}; wanted one of {', '.join(PARTS)}"
                + nearest(cells["split"], PARTS)
            )
    name = printable(cells["path"])
    if "labels" in cells:
        return Entry(name, folder / cells["path"], "", part, _tags(cells["labels"], where))
    return Entry(name, folder / cells["path"], normal(printable(cells["label"])), part)


def _tags(cell: str, where: str) -> tuple[str, ...]:
    names = [normal(printable(name.strip())) for name in cell.split(BETWEEN)] if cell else []
    if not all(names):
        raise DataError(f"{where}: an empty label in {cell!r}; wanted class names, {BETWEEN} between them")
    return tuple(sorted(set(names)))


def _must_agree(first: Entry, second: Entry, where: str) -> None:
    if first.tags != second.tags:
        labels = " and ".join(repr(BETWEEN.join(entry.names)) for entry in (first, second))
        raise DataError(f"{where}: {first.name!r} has other labels than before, {labels}; keep one row")
    if first.class_name != second.class_name:
        labels = f"{first.class_name!r} and {second.class_name!r}"
        raise DataError(
            f"{where}: {first.name!r} has two labels, {labels}; keep one, or, if pictures show several,"
            f" give each one row and a column 'labels' with {BETWEEN} between them"
        )
    if first.part != second.part:
        raise DataError(f"{where}: {first.name!r} is in {first.part} and {second.part}; keep one")
