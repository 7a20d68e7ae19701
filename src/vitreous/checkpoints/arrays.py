"""numpy's ``.npz``: shapes from the headers of its arrays, and one array at a time when asked for."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from vitreous.checkpoints.archives import BROKEN, entries_of
from vitreous.checkpoints.weights import Described
from vitreous.errors import CheckpointError, printable

NPZ_RATIO = 100  # savez_compressed of trained weights saves a few per cent, of zeros about 1000 times
SUFFIX = ".npy"


class Arrays(Mapping[str, Tensor]):
    """The arrays of an ``.npz`` as tensors. Each is read, and held against its checksum, when it is asked
    for, so that nobody holds more of them than they need."""

    def __init__(self, path: Path, name: str, described: Mapping[str, Described]) -> None:
        self.archive = zipfile.ZipFile(path)
        self.name = name
        self.described = described

    def __getitem__(self, key: str) -> Tensor:
        if key not in self.described:
            raise KeyError(key)
        try:
            with self.archive.open(key + SUFFIX) as file:
                array = npy.read_array(file, allow_pickle=False)
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        except (*BROKEN, TypeError) as error:
            said = printable(key)
            raise CheckpointError(f"{self.name}: {said}: damaged, its numbers cannot be read") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.described)

    def __len__(self) -> int:
        return len(self.described)

    def __contains__(self, key: object) -> bool:
        return key in self.described


def describe_arrays(path: Path, name: str) -> dict[str, Described] | None:
    """Type and shape of every array of an ``.npz``; None for a zip file without arrays.

    Raises:
        CheckpointError: it is damaged, unpacks to too much, or has arrays of something else than numbers.
    """
    entries = entries_of(path, name, ratio=NPZ_RATIO)
    if not any(entry.filename.endswith(SUFFIX) for entry in entries):
        return None
    described = {}
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            key = entry.filename.removesuffix(SUFFIX)
            said = f"{name}: {printable(key)}"
            if not entry.filename.endswith(SUFFIX):
                raise CheckpointError(f"{said}: not an array; damaged, or not an .npz of arrays")
            try:
                described[key] = _describe(archive, entry, said)
            except CheckpointError:
                raise
            except Exception as error:  # numpy raises whatever its parsers meet: TokenError, SyntaxError, ...
                raise CheckpointError(f"{said}: damaged, not an array of numpy") from error
    return described


def _describe(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Described:
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError("another version")
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = reader(file)
        start = file.tell()
    if dtype.hasobject:
        raise CheckpointError(f"{name}: refused, an array of objects runs code when it is read")
    if dtype.kind not in "fiu":
        raise CheckpointError(f"{name}: wanted an array of numbers, found {dtype.name}")
    if any(side < 0 for side in shape):
        raise ValueError("a negative side")
    if start + dtype.itemsize * int(np.prod(shape, dtype=object)) != entry.file_size:
        raise CheckpointError(f"{name}: damaged, it claims another number of values than it holds")
    return Described(dtype.name, tuple(int(side) for side in shape))
