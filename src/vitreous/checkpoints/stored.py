"""Tensors as a file or a directory holds them: names and shapes at once, numbers when asked for.

Which format a file has is told by its first bytes, never by its name.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from vitreous.checkpoints import shards
from vitreous.checkpoints.arrays import Arrays, describe_arrays
from vitreous.checkpoints.formats import UNFINISHED, unfinished, what_it_is
from vitreous.checkpoints.pickles import Numbers
from vitreous.checkpoints.torch_file import kind_of, open_torch, tensors_at
from vitreous.checkpoints.weights import Described, listed, read_header, read_safetensors
from vitreous.checkpoints.wrapping import Wrapping, choose_entry, peel
from vitreous.errors import CheckpointError, printable

# What other libraries call the weights inside a directory, best first.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pth")
# Of a discrete VAE, whose two halves its makers keep in two files; and how those may end, best first.
HALVES = ("encoder", "decoder")
HALVES_END = (".safetensors", ".pth", ".pt", ".bin", ".pkl")
ELSEWHERE = (".h5", ".keras", ".msgpack", ".onnx", ".gguf", ".pb", ".tflite", ".index", ".ot")


class Stored(NamedTuple):
    """Weights on disk. ``files`` hold them; ``load`` reads the numbers, under the names of ``described``.
    ``wrapping`` is how they lay in what a training script saved."""

    name: str
    container: str
    files: tuple[Path, ...]
    described: Mapping[str, Described]
    load: Callable[[], Mapping[str, Tensor]]
    wrapping: Wrapping = Wrapping()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {key: value.shape for key, value in self.described.items()}


def open_file(path: Path, name: str) -> Stored:
    """Weights in one file: safetensors, what ``torch.save`` wrote, or numpy's ``.npz``.

    Raises:
        CheckpointError: another kind of file, a damaged one, or one that needs code to be run.
    """
    if not is_file(path):  # a pipe would be waited for without end
        raise CheckpointError(f"{name}: no such file of weights")
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if unfinished(path):
            raise what_it_is(path, name)
        if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
            arrays = describe_arrays(path, name)
            return _torch(path, name) if arrays is None else _npz(path, name, arrays)
        # The first eight bytes are the length of the header; as text they would be an absurd one.
        if start[8:9] == b"{" and not (start[:8].isascii() and start[:8].decode("ascii").isprintable()):
            described = read_header(path, name)
            return Stored(name, "safetensors", (path,), described, lambda: read_safetensors(path, name))
        if start[:1] == b"\x80":  # how every pickle of protocol 2 and later begins
            return _torch(path, name)
        raise what_it_is(path, name)
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or 'the system refuses'}") from error


def open_directory(directory: Path, name: str) -> Stored:
    """Weights in a directory of another library: one file, shards with or without their index, or an encoder
    and a decoder.

    Raises:
        CheckpointError: no weights are there, not all shards, several files that could be meant, or an
            index that points outside.
    """
    for file in WEIGHT_FILES:
        if is_file(directory / file):
            return open_file(directory / file, f"{name}/{file}")
        if is_file(directory / f"{file}{shards.INDEX}"):
            return open_index(directory, f"{file}{shards.INDEX}", name)
    try:
        inside = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or 'the system refuses'}") from error
    halves = {half: next((half + end for end in HALVES_END if half + end in inside), None) for half in HALVES}
    if any(halves.values()):
        return _join_halves(directory, {half: file for half, file in halves.items() if file}, name)
    found = [file for file in inside if file.endswith(SUFFIXES)]
    parts = {(part.stem, part.of, part.suffix): part for part in map(shards.shard_of, found) if part}
    if len(parts) == 1 and all(map(shards.shard_of, found)):
        return open_shard(directory, next(iter(parts.values())), name)
    if len(found) == 1:
        return open_file(directory / found[0], f"{name}/{found[0]}")
    if found:
        raise CheckpointError(
            f"{name}: several files of weights; name the one that is meant: {listed(map(printable, found))}"
        )
    others = [
        file for file in inside if file.endswith((*UNFINISHED, *ELSEWHERE)) and is_file(directory / file)
    ]
    if others:
        raise what_it_is(directory / others[0], f"{name}: no weights are there; {printable(others[0])}")
    held = f"it holds {listed(map(printable, inside))}" if inside else "it is empty"
    raise CheckpointError(f"{name}: no weights are there; {held}; wanted {' or '.join(WEIGHT_FILES)}")


def open_index(directory: Path, index: str, name: str) -> Stored:
    """Weights in shards that an index lists. CheckpointError as ``open_directory``."""
    said = f"{name}/{index}" if name else index
    table = shards.read_index(directory / index, said)
    shards.refuse_missing(directory, table, said)
    return _join(directory, sorted(set(table.values())), table, name, said)


def open_shard(directory: Path, shard: shards.Shard, name: str) -> Stored:
    """Weights in shards of which one is given: by their index, else by their names alone.
    CheckpointError as ``open_directory``."""
    if is_file(directory / shard.listing):
        return open_index(directory, shard.listing, name)
    shards.refuse_incomplete(directory, shard, name)
    return _join(directory, shard.siblings, None, name, name)


def peeled(stored: Stored) -> Stored:
    """The same under bare names, where wrappers of the model put a prefix ahead of all of them."""
    wrapping, names = peel(tuple(stored.described))
    if not wrapping.prefix:
        return stored
    described = {bare: stored.described[full] for bare, full in names.items()}
    before = stored.wrapping
    merged = before._replace(prefix=wrapping.prefix, dropped=before.dropped + wrapping.dropped)

    def load() -> dict[str, Tensor]:
        tensors = stored.load()
        return {bare: tensors[full] for bare, full in names.items()}

    return stored._replace(described=described, load=load, wrapping=merged)


def is_file(path: Path) -> bool:
    """Whether a plain file is there; False for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _join(directory: Path, files: list[str], table: Mapping[str, str] | None, name: str, said: str) -> Stored:
    held = [open_file(directory / file, f"{name}/{file}") for file in files]
    shards.refuse_strange(table, {file: part.described for file, part in zip(files, held, strict=True)}, said)

    def load() -> dict[str, Tensor]:
        return {key: value for part in held for key, value in part.load().items()}

    paths = tuple(path for part in held for path in part.files)
    container = f"{held[0].container}, {len(held)} shards"
    return Stored(name, container, paths, shards.joined(part.described for part in held), load)


def _join_halves(directory: Path, halves: Mapping[str, str], name: str) -> Stored:
    """An encoder, a decoder, or both, each with its file; its name stands ahead of its tensors'."""
    held = {half: peeled(open_file(directory / file, f"{name}/{file}")) for half, file in halves.items()}

    def load() -> dict[str, Tensor]:
        return {f"{half}.{key}": value for half, part in held.items() for key, value in part.load().items()}

    described = {
        f"{half}.{key}": value for half, part in held.items() for key, value in part.described.items()
    }
    kinds = dict.fromkeys(part.container for part in held.values())
    container = " and ".join(kinds) + (f", {len(held)} files" if len(held) > 1 else "")
    files = tuple(path for part in held.values() for path in part.files)
    return Stored(name, container, files, described, load)


def _torch(path: Path, name: str) -> Stored:
    saved = open_torch(path, name)
    wrapping = choose_entry(
        saved.values, name, lambda value: isinstance(value, Numbers), kind_of(saved.values)
    )
    held = saved.values if wrapping.taken is None else saved.values[wrapping.taken]
    described = {str(key): Described(value.dtype, value.shape) for key, value in held.items()}
    if len(described) != len(held):
        raise CheckpointError(f"{name}: damaged, two tensors have one name")

    def load() -> dict[str, Tensor]:
        tensors = tensors_at(saved.load(held.values()), wrapping.taken, name)
        return {str(key): value for key, value in tensors.items()}

    return Stored(name, saved.container, (path,), described, load, wrapping)


def _npz(path: Path, name: str, described: Mapping[str, Described]) -> Stored:
    return Stored(name, "npz", (path,), described, lambda: Arrays(path, name, described))
