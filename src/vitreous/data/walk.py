"""Finding picture files below a folder: sorted, hidden ones left out, and never in circles."""

import os
from pathlib import Path
from typing import NamedTuple

from vitreous.data.images import SUFFIXES
from vitreous.errors import DataError, printable


class Found(NamedTuple):
    """Pictures as paths relative to the folder, in sorted order; names of the files left out."""

    pictures: list[Path]
    hidden: list[str]
    others: list[str]


def find_pictures(folder: Path, *, deep: bool = True) -> Found:
    """The files below ``folder`` (with ``deep=False``: directly in it) that end like a picture.

    Links are followed, but each folder is entered once, so a circle of links ends. DataError where
    a folder cannot be read.
    """
    found = Found([], [], [])
    _visit(folder, Path(), found, set() if deep else None)
    return found


def folders_in(folder: Path) -> list[str]:
    """The names of the folders directly in ``folder``, sorted, hidden ones left out."""
    return [entry.name for entry in _entries(folder) if _is_folder(entry) and not is_hidden(entry.name)]


def is_hidden(name: str) -> bool:
    """Whether a name starts with a dot, or is the folder that macOS puts into its archives."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(name: str) -> bool:
    """Whether a file's name ends like a picture's."""
    return Path(name).suffix.lower() in SUFFIXES


def _visit(folder: Path, inside: Path, found: Found, entered: set[tuple[int, int]] | None) -> None:
    entries = _entries(folder)
    if entered is not None:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in entered:
            return
        entered.add(identity)
    for entry in entries:
        if is_hidden(entry.name):
            if not _is_folder(entry):
                found.hidden.append(entry.name)
        elif _is_folder(entry):
            if entered is not None:
                _visit(folder / entry.name, inside / entry.name, found, entered)
        elif is_picture(entry.name):
            found.pictures.append(inside / entry.name)
        else:
            found.others.append(entry.name)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{printable(folder.name)}: folder cannot be read ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself
