"""A directory of files that is there whole or not at all, and says when a byte of it has changed.

A save writes a temporary sibling, flushes every file and the directory to the disk, and renames it
into place. ``manifest.json`` holds the size and the SHA-256 of each file. What stood there before is
set aside as ``NAME.previous`` until the new one is in place and verified, so a kill at any moment
leaves a whole one: readers take ``NAME``, and ``NAME.previous`` where a kill fell between the renames.
One writer at a time; any number of readers.
"""

import codecs
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vitreous.errors import CheckpointError, InputError, StorageError

MANIFEST = "manifest.json"
JSON_LIMIT = 4 * 2**20  # bytes; the largest real ones, with 21,843 class names, are below 2 MB
CONTAINER_LIMIT = 250_000  # lists and objects in one JSON text; 10,000 tensors of a header have 30,000

FileContent = bytes | Callable[[Path], None]
Prove = Callable[[Path], Mapping[str, bytes]]


def write_directory(
    path: str | os.PathLike[str], files: Mapping[str, FileContent], *, prove: Prove | None = None
) -> None:
    """Write ``files`` and their manifest as the directory ``path``, in the place of what it held.

    A file is its bytes, or a function that is given a path and writes it there. ``prove`` is shown the
    whole directory before it takes its place, and returns what to add to it; if it raises, nothing is
    written.

    Raises:
        StorageError: the disk is full, a permission is missing, or something that vitreous has not
            written stands at ``path``. What stood there is intact, and nothing else is left behind.
    """
    name = os.fspath(path)
    target = Path(os.path.realpath(path))
    for file in files:
        if not _is_plain(file) or file == MANIFEST:
            raise ValueError(f"not a plain file name: {file!r}")
    try:
        _refuse_foreign(target, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        temporary = target.parent / f".{target.name}.writing-{secrets.token_hex(4)}"
        try:
            _fill(temporary, files, prove)
            _move_into_place(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{name}: {_reason(error)}; nothing was changed there") from error


def refuse_overlap(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """InputError where writing the directory ``path`` would touch the file or directory ``source``."""
    start, end = Path(os.path.realpath(source)), Path(os.path.realpath(path))
    if not (start.exists() or _previous(start).exists()):
        return  # a Hub id
    below = any(end.is_relative_to(place) for place in (start, _previous(start)))
    if below or any(start.is_relative_to(place) for place in (end, _previous(end))):
        raise InputError(
            f"{os.fspath(path)}: overlaps {os.fspath(source)}, which would be overwritten; give another place"
        )


def verify_directory(path: str | os.PathLike[str], *, name: str | None = None) -> Path:
    """Check every file of the manifest, and return the directory that holds them.

    That is ``path`` itself, or ``path.previous`` where a kill left only that one. Files which the
    manifest does not name are not looked at, and nothing of ours reads them. ``name`` is what errors
    call the directory, where that is not its path.

    Raises:
        CheckpointError: there is no such directory, or a file is missing, cut short or changed.
    """
    name = os.fspath(path) if name is None else name
    found = locate(path)
    if found is None:
        raise CheckpointError(f"{name}: no directory of vitreous is there (it has no {MANIFEST})")
    entries = read_json(found / MANIFEST, f"{name}/{MANIFEST}").get("files")
    if not isinstance(entries, dict) or not entries:
        raise CheckpointError(f"{name}/{MANIFEST}: damaged, it lists no files; restore it from a copy")
    for file, entry in entries.items():
        _verify_file(found, file, entry, f"{name}/{file}")
    return found


def locate(path: str | os.PathLike[str]) -> Path | None:
    """The directory of ours that a reader of ``path`` should take, unverified; None where none is."""
    target = Path(os.path.realpath(path))
    for candidate in (target, _previous(target)):
        if (candidate / MANIFEST).is_file():
            return candidate
        if candidate.exists():
            return None
    return None


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object from a file that may be hostile. CheckpointError, naming it ``name``, otherwise."""
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise CheckpointError(f"{name}: larger than the {JSON_LIMIT >> 20} MB that such a file may have")
        values = parse_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: damaged, not JSON") from error
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{name}: damaged, wanted a JSON object")
    return values


def parse_json(data: bytes) -> Any:
    """JSON that may be hostile. ValueError or RecursionError where it is none, says one name twice, or is
    made to take long."""
    if data.count(b"[") + data.count(b"{") > CONTAINER_LIMIT:
        raise ValueError(f"more than {CONTAINER_LIMIT} lists and objects")
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogatepass")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def to_json(values: Mapping[str, Any]) -> bytes:
    """A JSON object as the bytes of a file that people can read. ValueError for NaN and infinities."""
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )


def sha256(path: Path) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(temporary: Path, files: Mapping[str, FileContent], prove: Prove | None) -> None:
    temporary.mkdir()
    entries = _write(temporary, files)
    if prove is not None:
        (temporary / MANIFEST).write_bytes(to_json({"files": entries}))
        entries |= _write(temporary, prove(temporary))
    (temporary / MANIFEST).write_bytes(to_json({"files": entries}))
    _flush(temporary / MANIFEST)
    _flush(temporary)


def _write(temporary: Path, files: Mapping[str, FileContent]) -> dict[str, Any]:
    """Files on the disk, and their entries in the manifest."""
    entries = {}
    for file, content in files.items():
        place = temporary / file
        if isinstance(content, bytes):
            place.write_bytes(content)
        else:
            content(place)
        _flush(place)
        entries[file] = {"size": place.stat().st_size, "sha256": sha256(place)}
    return entries


def _move_into_place(temporary: Path, target: Path) -> None:
    previous = _previous(target)
    if (target / MANIFEST).is_file():
        # A previous one beside a whole target is left over from a kill just before its removal.
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    elif target.exists():
        target.rmdir()
    try:
        temporary.rename(target)
        _flush(target.parent)
        verify_directory(target)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if previous.exists():
            previous.rename(target)
        if isinstance(error, CheckpointError):
            raise OSError(errno.EIO, "the disk did not give back what was written") from error
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _refuse_foreign(target: Path, name: str) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise StorageError(f"{name}: a file stands there; give the name of a directory")
    if not (target / MANIFEST).is_file() and any(target.iterdir()):
        raise StorageError(
            f"{name}: not written by vitreous and not empty, so it is not overwritten; give another name"
        )


def _remove_stale(target: Path) -> None:
    for leftover in target.parent.glob(f".{_escaped(target.name)}.writing-????????"):
        shutil.rmtree(leftover, ignore_errors=True)


def _verify_file(directory: Path, file: str, entry: Any, name: str) -> None:
    if not _is_plain(file) or not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        raise CheckpointError(f"{name}: {MANIFEST} is damaged; restore the directory from a copy")
    place = directory / file
    try:
        if not place.is_file():
            raise CheckpointError(f"{name}: missing; restore the directory from a copy")
        size = place.stat().st_size
        if size != entry["size"]:
            raise CheckpointError(
                f"{name}: damaged, {size} bytes instead of {entry['size']}; restore it from a copy"
            )
        if sha256(place) != entry["sha256"]:
            raise CheckpointError(
                f"{name}: damaged, its SHA-256 is not the one in {MANIFEST}; restore it from a copy"
            )
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows does not open directories; its renames are flushed by themselves
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _previous(target: Path) -> Path:
    return target.with_name(target.name + ".previous")


def _is_plain(file: str) -> bool:
    return file not in ("", ".", "..") and not set(file) & set("/\\:\0")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("one name twice")
    return values


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _reason(error: OSError | SafetensorError) -> str:
    """What the system says, without the address that it says it of."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = str(error)
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EIO):
        if f"os error {code}" in text:
            return os.strerror(code)
    return "the weights could not be written"
