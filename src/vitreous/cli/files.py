"""What the user names on the command line: sources that must be there, places to write results to.

All is looked at before torch is imported, so that a slip of the finger is answered at once.
"""

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from vitreous.errors import CheckpointError, InputError, StorageError, nearest

MARK = b"vitreous"  # near the start of each result, as its maker
LOOKED_AT = 4096  # bytes in which it must stand
NOTHING = 3  # bytes in which there is nothing to lose: an empty list of JSON and a line end
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_source(source: str) -> None:
    """CheckpointError unless something is there to load a model from, or it may be a Hub id."""
    path = Path(source)
    # A kill in the middle of a save leaves only the directory's previous state; readers find it.
    if path.exists() or path.with_name(f"{path.name}.previous").exists():
        return
    parent = path.parent
    if HUB_ID.fullmatch(source) and not parent.exists():
        return
    beside = [str(parent / item.name) for item in parent.iterdir()] if parent.is_dir() else []
    raise CheckpointError(
        f"{source}: no such file or directory; wanted a run, a model directory, a file of weights"
        f" or a Hub id (owner/name){nearest(str(path), beside)}"
    )


def check_output(path: Path, suffixes: Sequence[str], *, inputs: Sequence[Path] = ()) -> None:
    """Whether a result may be written there: only results of vitreous itself are ever replaced.

    Raises:
        InputError: a folder, another kind of file, or the input itself.
    """
    wanted = " or ".join(suffixes)
    if path.is_dir():
        raise InputError(f"{path}: a folder; wanted the name of a {wanted} file")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: wanted a name that ends in {wanted}")
    if path.exists() and any(item.exists() and path.samefile(item) for item in inputs):
        raise InputError(f"{path}: the picture itself would be overwritten; give another --output")
    refuse_strange(path)


def refuse_strange(path: Path) -> None:
    """InputError where a file is there that vitreous has not made: only its own results are replaced."""
    if path.is_file() and path.stat().st_size > NOTHING:
        with path.open("rb") as file:
            if MARK not in file.read(LOOKED_AT):
                raise InputError(f"{path}: vitreous did not make this file; remove it, or give another name")


def write_result(path: Path, content: str | bytes) -> None:
    """Write a file, or leave what was there as it was.

    Raises:
        InputError: a file is there that vitreous has not made.
        StorageError: it cannot be written.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    refuse_strange(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error
