"""What took long to compute and can be computed again, kept on the disk.

It stands below ``VITREOUS_CACHE``, or ``~/.cache/vitreous``; whoever deletes it loses nothing but time. A
file is there whole or not at all, and carries the SHA-256 of what is in it: a damaged one is as good as none.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vitreous.errors import StorageError

LIMIT = 4 * 2**30  # bytes below one directory; what was not used for longest goes first
Arrays = dict[str, NDArray[np.generic]]


def cache_directory(what: str) -> Path:
    """Where things of a kind are kept. The directory need not be there yet."""
    chosen = os.environ.get("VITREOUS_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "vitreous") / what


def read_cached(path: Path) -> Arrays | None:
    """The arrays of a file that ``write_cached`` wrote; None where it is missing or damaged."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            said = (file.metadata() or {}).get("sha256")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    if said != _digest(arrays):
        return None
    with suppress(OSError):
        os.utime(path)
    return arrays


def write_cached(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays as a file, in the place of the one that was there.

    Raises:
        StorageError: the disk is full or cannot be written. What was there is intact.
    """
    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(ready, str(temporary), metadata={"sha256": _digest(ready)})
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise StorageError(
            f"{path.parent}: cannot be written ({reason or 'the disk may be full'})"
        ) from error
    _prune(path)


def _prune(newest: Path) -> None:
    """Delete what was not used for longest until the directory is below its limit."""
    found = []
    for file in newest.parent.glob("*.safetensors"):
        with suppress(OSError):  # another process may have deleted it
            status = file.stat()
            found.append((file == newest, status.st_mtime_ns, status.st_size, file))
    total = sum(size for _, _, size, _ in found)
    for is_newest, _, size, file in sorted(found):
        if total <= LIMIT or is_newest:
            return
        file.unlink(missing_ok=True)
        total -= size


def _digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name},{array.dtype},{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
