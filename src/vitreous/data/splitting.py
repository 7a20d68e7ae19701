"""From named pictures to train, validation and test.

The split, where the user made none: within each class, pictures are put in the order of
SHA-256("<seed>:<name>"), so that it depends on the seed and the names alone and is the same on every
machine. Of a class of n pictures a tenth (rounded, at least one) goes to validation and as many to
test, the rest to train; a class of two gives one to train and one to validation; a class of one
goes to train. Where the user set test pictures apart, only validation is taken, in the same way.

A picture with several labels is divided with those whose rarest label is the same, as rare ones are the
hardest to spread (after Sechidis et al., "On the stratification of multi-label data", ECML PKDD 2011); those
without any are divided among themselves. If that leaves train without a label, one picture of it goes back.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    """A picture before it has a place: its class, and its part where the user named one; ``tags`` in the
    place of a class where it may have several, in their order."""

    name: str
    path: Path
    class_name: str
    part: str | None = None
    tags: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that it shows."""
        return (self.class_name,) if self.tags is None else self.tags


def make_splits(name: str, entries: Sequence[Entry], *, seed: int, origin: str) -> Splits:
    """Parts as the entries name them; what they leave open by the seeded split of this file's head.

    ``origin`` opens the sentence on how the splits came about. DataError where a later part has
    classes that train does not know.
    """
    groups, how, seeded = divide(entries, seed=seed, origin=origin)
    classes = _classes(name, groups)
    sizes = ", ".join(
        f"{len(groups[part])} {part}" for part in ("train", "validation", "test") if groups.get(part)
    )
    train, validation, test = (
        collect(name, classes, groups[part]) if groups.get(part) else None
        for part in ("train", "validation", "test")
    )
    return Splits(train, validation, test, f"{how}: {sizes}", seeded)


def divide(entries: Sequence[Entry], *, seed: int, origin: str) -> tuple[dict[str, list[Entry]], str, bool]:
    """Entries by their part, a sentence on how they came there, and whether the seed drew the test part."""
    parts: dict[str | None, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.part, []).append(entry)
    seeded = parts.keys() <= {None, "train"}
    kind = "class" if entries[0].tags is None else "rarest label"
    if seeded:
        everything = [*parts.get("train", ()), *parts.get(None, ())]
        groups = _held_out(everything, seed, ("validation", "test"))
        how = f"{origin}, split 80/10/10 within each {kind} by seed {seed}"
    elif "train" in parts and "validation" not in parts:
        groups = _held_out(parts["train"], seed, ("validation",)) | {"test": parts["test"]}
        how = f"{origin}, a tenth of train held out for validation by seed {seed}"
    else:
        groups = {part: members for part, members in parts.items() if part is not None}
        how = f"{origin}, parts as given"
    return groups, how, seeded


def collect(name: str, classes: tuple[str, ...], entries: Iterable[Entry]) -> Collection:
    """Entries as a Collection, sorted by name."""
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    ordered = sorted(entries, key=lambda entry: normal(entry.name))
    return Collection(name, classes, tuple(_sample(entry, numbers) for entry in ordered))


def _sample(entry: Entry, numbers: Mapping[str, int]) -> Sample:
    if entry.tags is None:
        return Sample(entry.name, entry.path, numbers[entry.class_name])
    return Sample(entry.name, entry.path, tags=tuple(sorted(numbers[tag] for tag in entry.tags)))


def normal(text: str) -> str:
    """Unicode in its composed form: file systems differ in how they spell the same accent."""
    return unicodedata.normalize("NFC", text)


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names for an error message, quoted, at most ``limit`` of them."""
    quoted = [repr(name) for name in names]
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more


def many(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: "1 file", "2 files"; "2 boxes" with its ``plural``."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def held_out(names: Sequence[str], seed: int, most: int) -> set[int]:
    """The places of a tenth of these names, at least one and at most ``most``, in this file's order."""
    order = sorted(range(len(names)), key=lambda index: _rank(seed, names[index]))
    return set(order[: min(most, max(1, (len(names) + 5) // 10))])


def _held_out(entries: Sequence[Entry], seed: int, parts: tuple[str, ...]) -> dict[str, list[Entry]]:
    members: dict[str, list[Entry]] = {}
    pictures = Counter(name for entry in entries for name in entry.names)
    for entry in entries:
        rarest = min(entry.names, key=lambda name: (pictures[name], name), default="")
        members.setdefault(rarest, []).append(entry)
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
    _give_back(groups, seed, parts)
    return groups


def _give_back(groups: dict[str, list[Entry]], seed: int, parts: tuple[str, ...]) -> None:
    """A picture to train of every class that was left without one, which happens among several labels."""
    learnt = {name for entry in groups["train"] for name in entry.names}
    held = [(part, entry) for part in parts for entry in groups[part]]
    for missing in sorted({name for _, entry in held for name in entry.names} - learnt):
        if missing not in learnt:
            candidates = [pair for pair in held if missing in pair[1].names]
            part, entry = min(candidates, key=lambda pair: _rank(seed, pair[1].name))
            groups[part].remove(entry)
            groups["train"].append(entry)
            learnt.update(entry.names)


def _rank(seed: int, name: str) -> bytes:
    text = f"{seed}:{normal(name)}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()


def _classes(name: str, groups: dict[str, list[Entry]]) -> tuple[str, ...]:
    seen = {part: {name for entry in members for name in entry.names} for part, members in groups.items()}
    known = seen.get("train") or set().union(*seen.values())
    for part, classes in seen.items():
        if classes - known:
            raise DataError(
                f"{name}: {part} has classes that train has not: {listed(sorted(classes - known))};"
                f" train has {listed(sorted(known))}"
            )
    return tuple(sorted(known))
