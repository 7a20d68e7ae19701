"""Zip files that may be hostile: what stands in them, before anything of them is unpacked."""

import zipfile
from pathlib import Path

from vitreous.errors import CheckpointError, printable

DIRECTORY_LIMIT = 8 * 2**20  # bytes of an archive's own table of contents; 1000 entries take about 60 kB
TAIL = 2**16 + 22 + 76  # bytes in which the record of the table stands: a comment and two headers
BROKEN = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, RuntimeError)


def entries_of(path: Path, name: str, *, ratio: int) -> list[zipfile.ZipInfo]:
    """The entries of a zip file.

    Raises:
        CheckpointError: it is damaged; or its entries are encrypted, stand twice under one name, point
            outside it, or unpack to more than ``ratio`` times the file.
    """
    _refuse_long_table(path, name)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except BROKEN as error:
        raise CheckpointError(f"{name}: damaged zip file, cut short or changed; get it again") from error
    for entry in entries:
        said = printable(entry.filename[:60])
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise CheckpointError(f"{name}: refused, it names a file outside itself: {said!r}")
        if entry.flag_bits & 0x1:
            raise CheckpointError(f"{name}: refused, {said!r} in it is encrypted")
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise CheckpointError(f"{name}: refused, two of its entries have one name")
    if sum(entry.file_size for entry in entries) > ratio * path.stat().st_size:
        raise CheckpointError(f"{name}: refused, it would unpack to more than {ratio} times its own size")
    return entries


def _refuse_long_table(path: Path, name: str) -> None:
    """CheckpointError for a table of contents that alone would fill the memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        tail = file.read()
    long, short = tail.rfind(b"PK\x06\x06"), tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[short + 12 : short + 16], "little") if short >= 0 else 0
    if long >= 0:
        size = max(size % 0xFFFFFFFF, int.from_bytes(tail[long + 40 : long + 48], "little"))
    if size > DIRECTORY_LIMIT:
        raise CheckpointError(f"{name}: refused, its table of contents claims {size} bytes")
