"""Tensors as a file or a directory holds them: names and shapes at once, numbers when asked for.

Which format a file has is told by its first bytes, never by its name.
"""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from vitreous.checkpoints.directory import read_json
from vitreous.checkpoints.weights import (
    Described,
    listed,
    read_header,
    read_pickle,
    read_safetensors,
    refuse_bomb,
    tensors_of,
)
from vitreous.errors import CheckpointError

# What other libraries call the weights inside a directory, best first.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
SHARD_LIMIT = 1000
NPZ_RATIO = 100  # savez_compressed of trained weights saves a few per cent, of zeros about 1000 times


class Stored(NamedTuple):
    """Weights on disk. ``files`` hold them; ``load`` reads the numbers, under the names of ``shapes``."""

    name: str
    container: str
    files: tuple[Path, ...]
    described: Mapping[str, Described]
    load: Callable[[], dict[str, Tensor]]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {key: value.shape for key, value in self.described.items()}


def open_file(path: Path, name: str) -> Stored:
    """Weights in one file: safetensors, what ``torch.save`` wrote, or numpy's ``.npz``.

    Raises:
        CheckpointError: another kind of file, a damaged one, or one that needs code to be run.
    """
    if not path.is_file():  # a pipe would be waited for without end
        raise CheckpointError(f"{name}: no such file of weights")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error
    if start.startswith(b"PK"):
        if _has_arrays(path, name):
            return _npz(path, name)
        return _pickle(path, name)
    if start[8:9] == b"{":
        described = read_header(path, name)
        return Stored(name, "safetensors", (path,), described, lambda: read_safetensors(path, name))
    if start[:1] == b"\x80":  # how every pickle of protocol 2 and later begins
        return _pickle(path, name)
    raise CheckpointError(
        f"{name}: not a file of weights; wanted safetensors, a .pth state dict, or an .npz of arrays"
    )


def open_directory(directory: Path, name: str) -> Stored:
    """Weights in a directory of another library: one file, or shards with an index.

    Raises:
        CheckpointError: no weights are there, several that could be meant, or an index that points
            outside.
    """
    for file in WEIGHT_FILES:
        if (directory / file).is_file():
            return open_file(directory / file, f"{name}/{file}")
        if (directory / f"{file}.index.json").is_file():
            return _shards(directory, f"{file}.index.json", name)
    found = [path for path in sorted(directory.iterdir()) if path.suffix in (".safetensors", ".bin", ".pth")]
    if len(found) == 1:
        return open_file(found[0], f"{name}/{found[0].name}")
    if found:
        names = listed(path.name for path in found)
        raise CheckpointError(f"{name}: several files of weights; name the one that is meant: {names}")
    raise CheckpointError(f"{name}: no weights are there; wanted {' or '.join(WEIGHT_FILES)}")


def _pickle(path: Path, name: str) -> Stored:
    tensors = tensors_of(read_pickle(path, name), name)
    described = {
        key: Described(str(value.dtype).removeprefix("torch."), tuple(value.shape))
        for key, value in tensors.items()
    }
    return Stored(name, "torch", (path,), described, lambda: tensors)


def _shards(directory: Path, index: str, name: str) -> Stored:
    table = read_json(directory / index, f"{name}/{index}").get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
        raise CheckpointError(f"{name}/{index}: damaged, it has no weight_map")
    files = sorted(set(table.values()))
    if len(files) > SHARD_LIMIT:
        raise CheckpointError(f"{name}/{index}: {len(files)} shards, more than {SHARD_LIMIT} are refused")
    for file in files:
        if Path(file).name != file or file in ("", ".", ".."):
            raise CheckpointError(f"{name}/{index}: refused, it names a file outside: {file[:60]!r}")
    shards = [open_file(directory / file, f"{name}/{file}") for file in files]
    described = {key: value for shard in shards for key, value in shard.described.items()}
    if set(described) != set(table):
        strange = listed(sorted(set(described) ^ set(table)))
        raise CheckpointError(f"{name}/{index}: the shards do not hold what it lists: {strange}")

    def load() -> dict[str, Tensor]:
        return {key: value for shard in shards for key, value in shard.load().items()}

    paths = tuple(path for shard in shards for path in shard.files)
    return Stored(name, f"{shards[0].container}, {len(shards)} shards", paths, described, load)


def _has_arrays(path: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(entry.endswith(".npy") for entry in archive.namelist())
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{name}: damaged zip file") from error


def _npz(path: Path, name: str) -> Stored:
    refuse_bomb(path, name, ratio=NPZ_RATIO)
    described = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                key = entry.filename.removesuffix(".npy")
                described[key] = _describe_array(archive, entry, f"{name}: {key}")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"{name}: damaged, not an .npz of arrays") from error

    def load() -> dict[str, Tensor]:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: torch.from_numpy(arrays[key]) for key in described}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise CheckpointError(f"{name}: damaged, not an .npz of arrays") from error

    return Stored(name, "npz", (path,), described, load)


def _describe_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Described:
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = reader(file)
        start = file.tell()
    if dtype.hasobject:
        raise CheckpointError(f"{name}: refused, an array of objects runs code when it is read")
    if dtype.kind not in "fiu":
        raise CheckpointError(f"{name}: wanted an array of numbers, found {dtype.name}")
    if start + dtype.itemsize * int(np.prod(shape, dtype=object)) != entry.file_size:
        raise CheckpointError(f"{name}: damaged, it claims another number of values than it holds")
    return Described(dtype.name, tuple(int(side) for side in shape))
