"""Weights in several files of which some are missing, elsewhere, or something else."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.checkpoints.hostile import Case, timm_directory
from tests.checkpoints.hostile_containers import LFS

INDEX = "model.safetensors.index.json"


def sharded(folder: Path, count: int = 3) -> Path:
    """A timm directory in shards, with their index."""
    directory = timm_directory(folder)
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = [f"model-{place:05}-of-{count:05}.safetensors" for place in range(1, count + 1)]
    table = {}
    for place, name in enumerate(names):
        part = dict(list(state.items())[place::count])
        save_file(part, directory / name)
        table |= dict.fromkeys(part, name)
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return directory


def shards(name: str, change: Callable[[Path], Path | None], says: str) -> Case:
    """Such a directory, spoilt; ``change`` may return what the user gives instead of it."""

    def build(folder: Path) -> Path:
        directory = sharded(folder)
        return change(directory) or directory

    return Case(f"shards: {name}", build, says)


def renamed(target: str) -> Callable[[Path], None]:
    """An index that names another file for its first shard."""

    def change(directory: Path) -> None:
        text = (directory / INDEX).read_text()
        (directory / INDEX).write_text(
            text.replace("model-00001-of-00003.safetensors", json.dumps(target)[1:-1])
        )

    return change


def linked(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """The first shard replaced by something else of its name."""

    def change(directory: Path) -> None:
        place = directory / "model-00001-of-00003.safetensors"
        place.unlink()
        make(place)

    return change


def without(*places: int, alone: bool = False, given: int | None = None) -> Callable[[Path], Path | None]:
    """Shards that are missing; with ``alone`` the index, too. ``given`` is the shard that the user names."""

    def change(directory: Path) -> Path | None:
        for place in places:
            (directory / f"model-{place:05}-of-00003.safetensors").unlink()
        if alone:
            (directory / INDEX).unlink()
        return directory / f"model-{given:05}-of-00003.safetensors" if given else None

    return change


def unfinished(directory: Path) -> None:
    """A shard of which only the beginning came."""
    place = directory / "model-00002-of-00003.safetensors"
    place.rename(place.with_name(place.name + ".incomplete"))


def duplicated(directory: Path) -> None:
    """A tensor in two shards."""
    first, second = (directory / f"model-{place:05}-of-00003.safetensors" for place in (1, 2))
    state, other = load_file(first), load_file(second)
    save_file(other | dict(list(state.items())[:1]), second)


def swapped(directory: Path) -> None:
    """Two shards under one another's names."""
    first, second = (directory / f"model-{place:05}-of-00003.safetensors" for place in (1, 2))
    other = directory / "other"
    first.rename(other)
    second.rename(first)
    other.rename(second)


SHARDS = [
    shards(
        "one of three is missing",
        without(2),
        r"shard 2 of 3, model-00002-of-00003\.safetensors, is missing; it holds 11 of 32 tensors",
    ),
    shards(
        "two of three are missing", without(1, 2), r"shard 1 of 3, .*; shard 2 of 3, .*download them again"
    ),
    shards("all are missing", without(1, 2, 3), "an index and none of its 3 shards"),
    shards("one is an unfinished download", unfinished, "shard 2 of 3, .* is an unfinished download"),
    shards("one given, another missing", without(2, given=1), "shard 2 of 3"),
    shards(
        "one given, no index, another missing",
        without(2, alone=True, given=1),
        r"of 3 shards 1 is missing: model-00002-of-00003\.safetensors",
    ),
    shards(
        "no index, two missing",
        without(1, 2, alone=True),
        r"of 3 shards 2 are missing: model-00001-of-00003\.safetensors, model-00002",
    ),
    shards("a tensor in two of them", duplicated, "stands in two shards"),
    shards("two under one another's names", swapped, "the shards do not hold what it lists"),
    shards("upwards", renamed("../outside.safetensors"), "names a file outside"),
    shards("to the root", renamed("/etc/passwd"), "names a file outside"),
    shards("to a device", renamed("/dev/zero"), "names a file outside"),
    shards("to a folder inside", renamed("a/b.safetensors"), "names a file outside"),
    shards("to a drive", renamed("C:\\evil.safetensors"), "names a file outside"),
    shards("to a name with a zero byte", renamed("a\x00b"), "names a file outside"),
    shards("to a name of 5000 letters", renamed("a" * 5000), "names a file outside"),
    shards("to itself", renamed(INDEX), "JSON text"),
    shards(
        "a link to /etc/passwd",
        linked(lambda place: place.symlink_to("/etc/passwd")),
        "text, not a file of weights",
    ),
    shards("a link to /dev/zero", linked(lambda place: place.symlink_to("/dev/zero")), "is missing"),
    shards("a link to itself", linked(lambda place: place.symlink_to(place.name)), "is missing"),
    shards("a pipe", linked(lambda place: os.mkfifo(place)), "is missing"),
    shards("a folder", linked(lambda place: place.mkdir()), "is missing"),
    shards("a Git LFS pointer", linked(lambda place: place.write_bytes(LFS) and None), "Git LFS pointer"),
    shards(
        "an index of 2000 files",
        lambda directory: (
            (directory / INDEX).write_text(
                json.dumps({"weight_map": {f"t{i}": f"f{i}" for i in range(2000)}})
            )
            and None
        ),
        "more than 1000 are refused",
    ),
    shards(
        "an index of a list",
        lambda directory: (directory / INDEX).write_text('{"weight_map": [1]}') and None,
        "it has no weight_map",
    ),
    shards(
        "an index of numbers",
        lambda directory: (directory / INDEX).write_text('{"weight_map": {"a": 1}}') and None,
        "it has no weight_map",
    ),
    shards(
        "an index of nothing",
        lambda directory: (directory / INDEX).write_text('{"weight_map": {}}') and None,
        "it has no weight_map",
    ),
]

CASES = tuple(SHARDS)
