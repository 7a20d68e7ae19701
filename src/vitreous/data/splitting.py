"""From named pictures to train, validation and test.

The split, where the user made none: within each class, pictures are put in the order of
SHA-256("<seed>:<name>"), so that it depends on the seed and the names alone and is the same on every
machine. Of a class of n pictures a tenth (rounded, at least one) goes to validation and as many to
test, the rest to train; a class of two gives one to train and one to validation; a class of one
goes to train. Where the user set test pictures apart, only validation is taken, in the same way.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.errors import DataError

# What users call the parts, and what they are called here.
PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Entry(NamedTuple):
    """A picture before it has a place: its class, and its part where the user named one."""

    name: str
    path: Path
    class_name: str
    part: str | None = None


def make_splits(name: str, entries: Sequence[Entry], *, seed: int, origin: str) -> Splits:
    """Parts as the entries name them; what they leave open by the seeded split of this file's head.

    ``origin`` opens the sentence on how the splits came about. DataError where a later part has
    classes that train does not know.
    """
    parts: dict[str | None, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.part, []).append(entry)
    seeded = parts.keys() <= {None, "train"}
    if seeded:
        everything = [*parts.get("train", ()), *parts.get(None, ())]
        groups = _held_out(everything, seed, ("validation", "test"))
        how = f"{origin}, split 80/10/10 within each class by seed {seed}"
    elif "train" in parts and "validation" not in parts:
        groups = _held_out(parts["train"], seed, ("validation",)) | {"test": parts["test"]}
        how = f"{origin}, a tenth of train held out for validation by seed {seed}"
    else:
        groups = {part: members for part, members in parts.items() if part is not None}
        how = f"{origin}, parts as given"
    classes = _classes(name, groups)
    sizes = ", ".join(
        f"{len(groups[part])} {part}" for part in ("train", "validation", "test") if groups.get(part)
    )
    train, validation, test = (
        collect(name, classes, groups[part]) if groups.get(part) else None
        for part in ("train", "validation", "test")
    )
    return Splits(train, validation, test, f"{how}: {sizes}", seeded)


def collect(name: str, classes: tuple[str, ...], entries: Iterable[Entry]) -> Collection:
    """Entries as a Collection, sorted by name."""
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    ordered = sorted(entries, key=lambda entry: normal(entry.name))
    return Collection(
        name,
        classes,
        tuple(Sample(entry.name, entry.path, numbers[entry.class_name]) for entry in ordered),
    )


def normal(text: str) -> str:
    """Unicode in its composed form: file systems differ in how they spell the same accent."""
    return unicodedata.normalize("NFC", text)


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names for an error message, quoted, at most ``limit`` of them."""
    quoted = [repr(name) for name in names]
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more


def many(number: int, noun: str) -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def held_out(names: Sequence[str], seed: int, most: int) -> set[int]:
    """The places of a tenth of these names, at least one and at most ``most``, in this file's order."""
    order = sorted(range(len(names)), key=lambda index: _rank(seed, names[index]))
    return set(order[: min(most, max(1, (len(names) + 5) // 10))])


def _held_out(entries: Sequence[Entry], seed: int, parts: tuple[str, ...]) -> dict[str, list[Entry]]:
    members: dict[str, list[Entry]] = {}
    for entry in entries:
        members.setdefault(entry.class_name, []).append(entry)
    groups: dict[str, list[Entry]] = {part: [] for part in ("train", *parts)}
    for class_name in sorted(members):
        pool = sorted(members[class_name], key=lambda entry: _rank(seed, entry.name))
        share = max(1, (len(pool) + 5) // 10)
        for part in parts:
            # At least one stays in train; with two pictures, validation comes before test.
            taken = min(share, len(pool) - 1)
            groups[part] += pool[:taken]
            pool = pool[taken:]
        groups["train"] += pool
    return groups


def _rank(seed: int, name: str) -> bytes:
    text = f"{seed}:{normal(name)}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()


def _classes(name: str, groups: dict[str, list[Entry]]) -> tuple[str, ...]:
    seen = {part: {entry.class_name for entry in members} for part, members in groups.items()}
    known = seen.get("train") or set().union(*seen.values())
    for part, classes in seen.items():
        if classes - known:
            raise DataError(
                f"{name}: {part} has classes that train has not: {listed(sorted(classes - known))};"
                f" train has {listed(sorted(known))}"
            )
    return tuple(sorted(known))
