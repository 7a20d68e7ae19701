"""What ``torch.save`` wrote, in its zip format or in the one before: names and shapes without a number,
and the numbers through torch's weights-only reader.

The pickle inside is first read as data (``pickles``), which names whatever is neither a tensor nor a
plain value and holds every size against the file. torch is only given what has passed. A whole model
(``whole``) it is not given at all: its tensors are taken from their places.
"""

import sys
import threading
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitreous.checkpoints.archives import BROKEN, entries_of
from vitreous.checkpoints.pickles import (
    PROGRAM_LIMIT,
    SETTINGS,
    SIZES,
    STEP_LIMIT,
    NeedsCode,
    Numbers,
    Storage,
    read_pickle,
)
from vitreous.checkpoints.whole import Module, state_of
from vitreous.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C  # the first value of the format before zip
VERSION = 1001
ADVICE = "save a plain state dict instead"


class Saved(NamedTuple):
    """``values`` are what was saved, with ``Numbers`` in the places of tensors; ``load`` reads the same
    with the tensors, of which those given are held against their checksums."""

    container: str
    values: Any
    load: Callable[[Iterable[Numbers]], Any]


def open_torch(path: Path, name: str) -> Saved:
    """A file of ``torch.save``.

    Raises:
        CheckpointError: it needs more than weights (what it needs is named), is damaged, or lies.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        return _zipped(path, name) if zipped else _streamed(path, name)
    except NeedsCode as error:
        raise CheckpointError(f"{name}: refused, it needs {_said(error)}; {ADVICE}") from error
    except ValueError as error:
        raise CheckpointError(f"{name}: damaged, not what torch.save writes; get it again") from error
    except BROKEN as error:
        raise CheckpointError(f"{name}: damaged, it cannot be read; get it again") from error


def _zipped(path: Path, name: str) -> Saved:
    entries = {entry.filename: entry for entry in entries_of(path, name, ratio=1)}
    if any(entry.endswith("/constants.pkl") for entry in entries):
        raise CheckpointError(
            f"{name}: refused, a TorchScript archive is code; torch.save(torch.jit.load(FILE).state_dict(),"
            " ...) where it can be trusted makes a plain state dict of it"
        )
    programs = [entry for entry in entries if entry.endswith("/data.pkl")]
    if len(programs) != 1 or programs[0].count("/") != 1:
        inside = ", ".join(sorted(entries)[:3]) or "nothing"
        raise CheckpointError(f"{name}: a zip archive that is no file of weights; it holds {inside}"[:300])
    root = programs[0].removesuffix("data.pkl")
    if entries[programs[0]].file_size > PROGRAM_LIMIT:
        raise CheckpointError(f"{name}: refused, a pickle of more than {PROGRAM_LIMIT >> 20} MB")
    values = _read(BytesIO(_record(path, entries[programs[0]], name)), name, [STEP_LIMIT])
    whole, values = isinstance(values, Module), _opened(values, name)
    order = _record(path, entries[f"{root}byteorder"], name) if f"{root}byteorder" in entries else b"little"
    for storage in _storages(values):
        entry = entries.get(f"{root}data/{storage.key}")
        if entry is None or entry.file_size != storage.length * SIZES[storage.dtype]:
            raise CheckpointError(f"{name}: damaged, a tensor claims other numbers than the file holds")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{name}: refused, {entry.filename} is compressed, as torch never does")

    def load(wanted: Iterable[Numbers]) -> Any:
        needed = dict.fromkeys(f"{root}data/{tensor.storage.key}" for tensor in wanted)
        _check_sums(path, [entries[entry] for entry in needed], name)
        if whole:
            if order.decode("ascii", "replace") != sys.byteorder:
                raise CheckpointError(
                    f"{name}: its numbers are in another machine's order of bytes; {ADVICE}"
                )
            held = {storage.key: entries[f"{root}data/{storage.key}"] for storage in _storages(values)}
            return _taken(path, values, {key: _start(path, entry) for key, entry in held.items()}, name)
        # Mapped by path; but torch takes that ending to mean another format.
        mapped = order.decode("ascii", "replace") == sys.byteorder and path.suffix != ".safetensors"
        return _torch_load(path, name, mapped)

    return Saved("torch", values, load)


def _streamed(path: Path, name: str) -> Saved:
    """The format before zip: five pickles, and after them each storage with its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        program, budget = BytesIO(file.read(PROGRAM_LIMIT)), [STEP_LIMIT]
        magic = _read(program, name, budget)
        if magic != MAGIC:
            raise CheckpointError(
                f"{name}: a pickle of a {kind_of(magic)}, not what torch.save writes;"
                " torch.save a plain state dict of it"
            )
        if _read(program, name, budget) != VERSION:
            raise ValueError("another version")
        system, values, keys = (_read(program, name, budget) for _ in range(3))
        whole, values = isinstance(values, Module), _opened(values, name)
        storages = {storage.key: storage for storage in _storages(values)}
        if (
            not isinstance(system, dict)
            or not isinstance(keys, list)
            or not system.get("little_endian", True)
        ):
            raise ValueError("another machine")
        if sorted(map(str, keys)) != sorted(storages):
            raise ValueError("other storages")
        place, starts = program.tell(), {}
        for key in keys:
            file.seek(place)
            starts[str(key)] = place + 8
            storage = storages[str(key)]
            if int.from_bytes(file.read(8), "little") != storage.length:
                raise ValueError("a storage of another length")
            place += 8 + storage.length * SIZES[storage.dtype]
        if place != size:
            raise ValueError("cut short")

    def load(_: Iterable[Numbers]) -> Any:
        return _taken(path, values, starts, name) if whole else _torch_load(path, name, mapped=False)

    return Saved("torch, the format before zip", values, load)


def _read(program: BytesIO, name: str, budget: list[int]) -> Any:
    try:
        return read_pickle(program, budget)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _opened(values: Any, name: str) -> Any:
    """The parameters of a whole model; other values as they are."""
    try:
        return state_of(values) if isinstance(values, Module) else values
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _storages(values: Any) -> list[Storage]:
    """Every storage that a value speaks of, once. Each container is entered once, however often it is
    referred to."""
    found: dict[str, Storage] = {}
    seen: set[int] = set()
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Numbers):
            known = found.setdefault(value.storage.key, value.storage)
            if known != value.storage:
                raise ValueError("a storage of two types")
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return list(found.values())


def _record(path: Path, entry: zipfile.ZipInfo, name: str) -> bytes:
    """A small entry of the archive."""
    return b"".join(bytes(part) for part in _parts(path, [entry], name))


def _check_sums(path: Path, entries: list[zipfile.ZipInfo], name: str) -> None:
    """Hold the numbers against the checksums of the archive, where it has any."""
    for _ in _parts(path, entries, name):
        pass


def _parts(path: Path, entries: list[zipfile.ZipInfo], name: str) -> Iterator[memoryview]:
    """The bytes of entries in pieces, each valid until the next. CheckpointError after the last piece of an
    entry that is not what its checksum says; torch writes 0 where it was told not to compute them."""
    room = memoryview(bytearray(2**20))
    with path.open("rb") as file, zipfile.ZipFile(path) as archive:
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"{name}: refused, {entry.filename} is compressed, as torch never does")
            archive.open(entry).close()  # holds the entry's own header against the table of contents
            file.seek(entry.header_offset)
            header = file.read(30)
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            left, found = entry.file_size, 0
            while left > 0 and (count := file.readinto(room[: min(left, len(room))])):
                found = zlib.crc32(room[:count], found)
                left -= count
                yield room[:count]
            if left or (entry.CRC and found != entry.CRC):
                raise CheckpointError(
                    f"{name}: damaged, {entry.filename} is not what its checksum says; get it again"
                )


def _start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry that is not compressed begin."""
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        header = file.read(4)
    return (
        entry.header_offset + 30 + int.from_bytes(header[:2], "little") + int.from_bytes(header[2:], "little")
    )


def _taken(path: Path, values: Any, starts: Mapping[str, int], name: str) -> dict[str, Tensor]:
    """Tensors by name, each read from where its storage begins."""
    storages: dict[str, Tensor] = {}
    with path.open("rb") as file:
        for storage in _storages(values):
            file.seek(starts[storage.key])
            numbers = bytearray(file.read(storage.length * SIZES[storage.dtype]))
            made = (
                torch.frombuffer(numbers, dtype=torch.uint8) if numbers else torch.empty(0, dtype=torch.uint8)
            )
            storages[storage.key] = made
    return {
        key: storages[tensor.storage.key]
        .view(getattr(torch, tensor.dtype))
        .as_strided(tensor.shape, tensor.strides, tensor.offset)
        for key, tensor in values.items()
    }


class _Inert:
    """Stands where a file speaks of settings; takes everything and keeps nothing."""

    def __new__(cls, *_: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


_INERT = [(OrderedDict if "CfgNode" in name else _Inert, name) for name in sorted(SETTINGS)]
_LOADING = threading.Lock()  # the names that torch lets through are one list for all threads


def _torch_load(path: Path, name: str, mapped: bool) -> Any:
    try:
        with _LOADING, torch.serialization.safe_globals(_INERT), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # what matters comes as an error
            if mapped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parsers meet: KeyError, EOFError, ...
        raise CheckpointError(f"{name}: damaged, torch cannot read it; get it again, or {ADVICE}") from error


def tensors_at(loaded: Any, key: str | None, name: str) -> Mapping[str, Tensor]:
    """The state dict in what torch gave back: at the top, or under ``key``."""
    state = loaded if key is None else loaded[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{name}: damaged, its tensors are not where it says")
    return state


def kind_of(value: Any) -> str:
    """What a value is, in a word."""
    if isinstance(value, Numbers):
        return "tensor"
    return value.kind if hasattr(value, "kind") else type(value).__name__


def _said(error: NeedsCode) -> str:
    what = str(error)
    return what if what.startswith(("the ", "a ")) else f"{what}, which is code and not weights"
