"""Which picture format a file is, by its first bytes and never by its suffix."""

import os
import struct
from typing import IO

from vitreous.errors import PictureError

HEADER = 64  # bytes that are enough to know a file by
WANTED = "JPEG, PNG, WebP, BMP, GIF or TIFF"

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)

_STRANGERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"version https://git-lfs", "a Git LFS pointer (the picture itself was not fetched)"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
)

_TIFF_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of one value, by its type


def kind_of(head: bytes, name: str) -> str:
    """The format of a file by its first bytes. PictureError where it is none that is read."""
    if not head:
        raise PictureError(name, "an empty file (0 bytes)")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    stranger = "not a picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what in _STRANGERS:
        if head.startswith(start) or text.startswith(start):
            stranger = what
    if head[4:8] == b"ftyp":
        stranger = "an AVIF or HEIC picture, or a film"
    raise PictureError(name, f"{stranger}; wanted {WANTED}")


def ends_early(file: IO[bytes], kind: str, head: bytes) -> bool:
    """Whether a file that could not be decoded is shorter than its own format says."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 16))
    tail = file.read()
    if kind == "JPEG":
        return b"\xff\xd9" not in tail
    if kind == "PNG":
        return b"IEND" not in tail
    if kind == "GIF":
        return not tail.rstrip(b"\0").endswith(b";")
    if kind == "WebP":
        return size < int.from_bytes(head[4:8], "little") + 8
    if kind == "BMP":
        return size < int.from_bytes(head[2:6], "little")
    return _tiff_ends_early(file, size, "<" if head[:2] == b"II" else ">")


def _tiff_ends_early(file: IO[bytes], size: int, order: str) -> bool:
    """Whether the table of a TIFF, or what the table points to, lies beyond the end of the file."""
    file.seek(4)
    try:
        (table,) = struct.unpack(f"{order}I", file.read(4))
        file.seek(table)
        (count,) = struct.unpack(f"{order}H", file.read(2))
        for _ in range(count):
            _, kind, values, place = struct.unpack(f"{order}HHII", file.read(12))
            length = values * _TIFF_BYTES.get(kind, 1)
            if length > 4 and place + length > size:
                return True
    except struct.error:
        return True
    return False
