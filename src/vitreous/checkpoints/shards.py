"""Weights in several files: which shard holds which tensors, and which of them are missing."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from vitreous.checkpoints.directory import read_json
from vitreous.checkpoints.formats import UNFINISHED
from vitreous.checkpoints.weights import Described, listed
from vitreous.errors import CheckpointError, printable

SHARD_LIMIT = 1000
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)")
INDEX = ".index.json"


class Shard(NamedTuple):
    """A file's place among its siblings: model-00002-of-00003.safetensors is the second of three."""

    stem: str
    place: int
    of: int
    suffix: str

    @property
    def listing(self) -> str:
        """The file that lists all tensors."""
        return f"{self.stem}{self.suffix}{INDEX}"

    @property
    def siblings(self) -> list[str]:
        """The names of all shards, in their order."""
        every = range(1, self.of + 1)
        return [f"{self.stem}-{place:05}-of-{self.of:05}{self.suffix}" for place in every]


def shard_of(file: str) -> Shard | None:
    """What a file's name says of its place among shards; None where it says nothing."""
    found = SHARD.fullmatch(file)
    if found is None or not 0 < int(found["number"]) <= int(found["count"]) <= SHARD_LIMIT:
        return None
    return Shard(found["stem"], int(found["number"]), int(found["count"]), found["suffix"])


def read_index(path: Path, name: str) -> dict[str, str]:
    """Which file holds each tensor, as an index says it.

    Raises:
        CheckpointError: it is damaged, or names files outside its directory.
    """
    table = read_json(path, name).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(file, str) for file in table.values()):
        raise CheckpointError(f"{name}: damaged, it has no weight_map")
    files = set(table.values())
    if len(files) > SHARD_LIMIT:
        raise CheckpointError(f"{name}: {len(files)} shards, more than {SHARD_LIMIT} are refused")
    for file in sorted(files):
        if file in ("", ".", "..") or not file.isprintable() or set(file) & set("/\\:") or len(file) > 255:
            raise CheckpointError(
                f"{name}: refused, it names a file outside its directory: {printable(file[:60])!r}"
            )
    return table


def refuse_missing(directory: Path, table: Mapping[str, str], name: str) -> None:
    """CheckpointError where a shard of an index is not there: which, what it holds, what to do."""
    files = sorted(set(table.values()))
    missing = [file for file in files if not (directory / file).is_file()]
    if not missing:
        return
    if len(missing) == len(files):
        raise CheckpointError(
            f"{name}: an index and none of its {len(files)} shards; download {listed(files)}"
        )
    held, tensors = Counter(table.values()), len(table)
    said = [
        f"shard {files.index(file) + 1} of {len(files)}, {printable(file)}, is {_absence(directory, file)};"
        f" it holds {held[file]} of {tensors} tensors"
        for file in missing[:3]
    ]
    more = f"; and {len(missing) - 3} more shards are missing" if len(missing) > 3 else ""
    raise CheckpointError(
        f"{name}: {'; '.join(said)}{more}; download {'it' if len(missing) == 1 else 'them'} again"
    )


def refuse_incomplete(directory: Path, shard: Shard, name: str) -> None:
    """The same for shards without an index, of which only names tell."""
    missing = [file for file in shard.siblings if not (directory / file).is_file()]
    if missing:
        states = {_absence(directory, file) for file in missing}
        state = states.pop() if len(states) == 1 else "missing or unfinished"
        raise CheckpointError(
            f"{name}: of {shard.of} shards {len(missing)} {'is' if len(missing) == 1 else 'are'} {state}:"
            f" {listed(missing)}; download {'it' if len(missing) == 1 else 'them'} again"
        )


def refuse_strange(table: Mapping[str, str] | None, held: Mapping[str, Iterable[str]], name: str) -> None:
    """CheckpointError unless every tensor stands in one shard, and in the one that the index says.
    ``held`` are the names of the tensors of each file."""
    found: dict[str, str] = {}
    for file, tensors in held.items():
        for tensor in tensors:
            if tensor in found:
                raise CheckpointError(
                    f"{name}: {printable(tensor)} stands in two shards, {found[tensor]} and {file}"
                )
            found[tensor] = file
    if table is None:
        return
    wrong = [tensor for tensor in sorted({*found, *table}) if found.get(tensor) != table.get(tensor)]
    if wrong:
        raise CheckpointError(
            f"{name}: the shards do not hold what it lists: {listed(map(printable, wrong))}"
        )


def joined(parts: Iterable[Mapping[str, Described]]) -> dict[str, Described]:
    """What several shards hold together."""
    return {key: value for part in parts for key, value in part.items()}


def _absence(directory: Path, file: str) -> str:
    begun = any((directory / (file + ending)).exists() for ending in UNFINISHED)
    return "an unfinished download" if begun else "missing"
