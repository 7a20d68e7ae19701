"""What a file is that holds no weights we read, told by its first bytes, and what to do about it."""

import re
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

from vitreous.checkpoints.pickles import NeedsCode, read_pickle
from vitreous.errors import CheckpointError

LOOKED_AT = 4096  # bytes at the start of a file
UNFINISHED = (".incomplete", ".part", ".crdownload", ".download", ".partial", ".aria2")
WANTED = "wanted safetensors, a .pth state dict, or an .npz of arrays"
CONVERT = f"not read here; {WANTED}"

STARTS: Mapping[bytes, str] = {
    b"\x89PNG\r\n": "a picture (PNG), not weights",
    b"\xff\xd8\xff": "a picture (JPEG), not weights",
    b"GIF8": "a picture (GIF), not weights",
    b"BM": "a picture (BMP), not weights",
    b"%PDF": "a PDF, not weights",
    b"\x89HDF\r\n": f"HDF5, as Keras and TensorFlow write it; {CONVERT}",
    b"GGUF": f"GGUF, as llama.cpp reads it; {CONVERT}",
    b"ggml": f"GGML, as llama.cpp read it; {CONVERT}",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"BZh": "compressed by bzip2; unpack it first",
    b"\xfd7zXZ": "compressed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x7fELF": "a program, not weights",
    b"MZ": "a program, not weights",
    b"\x93NUMPY": "a single array of numpy; wanted an .npz, which has arrays by name",
    b"SQLite": "a database, not weights",
    b"model_checkpoint_path": f"the list of a TensorFlow checkpoint; {CONVERT}",
}
LFS = b"version https://git-lfs"
TABLE_END = bytes.fromhex("57fb808b247547db")  # of LevelDB, which TensorFlow's .index files are


def what_it_is(path: Path, name: str) -> CheckpointError:
    """The error for a file that is none of the formats that are read."""
    return CheckpointError(f"{name}: {_what(path)}")


def unfinished(path: Path) -> bool:
    """Whether a file's name says that its download has not ended."""
    return path.name.endswith(UNFINISHED)


def _what(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
        file.seek(max(0, size - 8))
        end = file.read(8)
    if unfinished(path):
        return f"an unfinished download of {size:,} bytes; download it again"
    if not start:
        return "empty, 0 bytes; download it again"
    if start.startswith(LFS):
        found = re.search(rb"^size (\d{1,15})$", start, re.MULTILINE)
        weight = f" of {int(found.group(1)):,} bytes" if found else ""
        return f"a Git LFS pointer, not the weights{weight}; run git lfs pull beside it, or download the file"
    for magic, what in STARTS.items():
        if start.startswith(magic):
            return what
    for test, what in _TESTS:
        if test(start):
            return what
    if end == TABLE_END:
        return f"the index of a TensorFlow checkpoint; {CONVERT}"
    if path.name.endswith(".msgpack"):
        return f"msgpack, as flax writes it; {CONVERT}"
    if re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        return f"the numbers of a TensorFlow checkpoint; {CONVERT}"
    return _pickled(start) or f"not a file of weights; {WANTED}"


def _is_page(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _is_json(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith((b"{", b"[")) and start.isascii() and b"\0" not in start


def _is_onnx(start: bytes) -> bool:
    """Its first field is the version of the format, its second the producer or the graph."""
    return len(start) > 3 and start[0] == 0x08 and 0 < start[1] < 64 and start[2] in (0x12, 0x1A, 0x3A)


def _is_text(start: bytes) -> bool:
    try:
        text = start[:-3].decode("utf-8") if len(start) == LOOKED_AT else start.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(mark.isprintable() or mark in "\r\n\t" for mark in text)


_TESTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda start: start[8:12] == b"WEBP", "a picture (WebP), not weights"),
    (lambda start: start[257:262] == b"ustar", "a tar archive; unpack it first"),
    (lambda start: start[4:8] == b"TFL3", f"a model of TensorFlow Lite; {CONVERT}"),
    (_is_page, "a web page, most likely an error or a login instead of the weights; download it again"),
    (_is_json, "JSON text, not weights; if it is an answer of a server, download the file again"),
    (_is_onnx, f"an ONNX graph; {CONVERT}"),
    (lambda start: not any(start), "nothing but zeros at its start, an unfinished download; get it again"),
)


def _pickled(start: bytes) -> str | None:
    """What a pickle of the first protocols asks for, or that it is text; those begin like text. None
    where it is neither."""
    if start[:1] in (b"(", b"c"):
        try:
            read_pickle(BytesIO(start))
        except NeedsCode as error:
            if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", str(error)):
                return f"not a file of weights but an old pickle, refused: it needs {error}; {WANTED}"
        except (ValueError, CheckpointError):
            pass
    return f"text, not a file of weights; {WANTED}" if _is_text(start) else None
