"""Checkpoints that are made to do harm, or are damaged: how each is made, and what is said of it."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tests.checkpoints.make import random_checkpoint
from tests.checkpoints.watch import watched
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

LONGEST = 700  # letters of a refusal beyond what the user has said
Build = Callable[[Path], Path]


class Case(NamedTuple):
    """``build`` makes it in an empty folder and returns what a user would give; ``says`` is a regular
    expression for the refusal. ``only_loading`` where no header can tell: inspecting reads no numbers."""

    name: str
    build: Build
    says: str
    only_loading: bool = False


def file_case(name: str, content: Callable[[Path], bytes], says: str, file: str = "weights.pth") -> Case:
    """A case that is one file; ``content`` is given the folder, where a payload leaves its mark."""

    def build(folder: Path) -> Path:
        (folder / file).write_bytes(content(folder))
        return folder / file

    return Case(name, build, says)


def zipped(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    """What ``torch.save`` makes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    """What ``numpy.save`` makes of it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def header(entries: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header; ``length`` is what it claims of the header."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, stop: int, shape: Any, dtype: Any = "F32") -> dict[str, Any]:
    """What a safetensors header says of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def timm_directory(folder: Path) -> Path:
    """A sound directory in timm's layout, without our manifest, so that it can be spoilt."""
    folder.mkdir(exist_ok=True)
    write_any(folder / "model", random_checkpoint(), "timm")
    (folder / "model/manifest.json").unlink()
    return folder / "model"


def transformers_directory(folder: Path) -> Path:
    """The same in transformers' layout."""
    write_any(folder / "model", random_checkpoint(), "transformers")
    (folder / "model/manifest.json").unlink()
    return folder / "model"


def edited_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file in place."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def every_case() -> tuple[Case, ...]:
    """All of them."""
    from tests.checkpoints import (
        hostile_containers,
        hostile_directories,
        hostile_pickles,
        hostile_shards,
        hostile_whole,
    )

    files = (*hostile_pickles.CASES, *hostile_whole.CASES, *hostile_containers.CASES)
    return (*files, *hostile_directories.CASES, *hostile_shards.CASES)


def judge(case: Case, folder: Path) -> tuple[list[str], float, float]:
    """What is wrong with the answer to a case, by loading and by inspecting: nothing, where it is a refusal
    on one line, and nothing happened on the way. With it the longest time in seconds, and the most
    memory in megabytes."""
    source = case.build(folder)
    wrong: list[str] = []
    verbs = {"load": read_any} if case.only_loading else {"load": read_any, "inspect": _inspected}
    seen = {verb: watched(partial(work, source), folder) for verb, work in verbs.items()}
    for verb, what in seen.items():
        wrong += [f"{verb}: {offence}" for offence in what.offences]
        if not isinstance(what.error, CheckpointError):
            wrong.append(f"{verb}: {type(what.error).__name__} {what.error or 'not refused'}"[:200])
        else:
            wrong += [f"{verb}: {fault}" for fault in _faults(str(what.error), case, str(source))]
    return wrong, max(what.seconds for what in seen.values()), max(what.megabytes for what in seen.values())


def _inspected(source: Path) -> None:
    """A passport with a problem is a refusal."""
    passport = inspect(source)
    if passport.problem is not None:
        raise CheckpointError(f"{passport.name}: {passport.problem}")


def _faults(message: str, case: Case, source: str) -> Iterator[str]:
    rest = message.replace(source, "").replace(str(Path(source).parent), "")
    if "\n" in message or not message.isprintable():
        yield f"not one line: {message!r}"
    if not re.search(case.says, message):
        yield f"says something else: {message}"
    if "/tmp" in rest or "site-packages" in rest or "Traceback" in rest:
        yield f"says where it is: {message}"
    if len(message) > LONGEST:
        yield f"{len(message)} letters"
