"""What is wrong with a data set, found in one pass over its pictures.

Each picture is read, decoded and hashed once, by a few threads; what is kept of it is small, so the
size of a data set is bounded by patience and not by memory. The order of findings does not depend
on which thread was done first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from statistics import median
from typing import Any

from vitreous.data.collection import Collection, Splits
from vitreous.data.images import TRUNCATED
from vitreous.data.likeness import SMALLEST_SIDE, near_pairs
from vitreous.data.marks import SMALLEST_OBJECT, Marks, marks_of
from vitreous.data.problems import KINDS, Problem
from vitreous.data.survey import Seen, survey

TINY_CLASS = 10  # pictures
LONG_SIDE_RATIO = 4
EXAMPLES = 5

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jfif"},
    "PNG": {".png"},
    "WebP": {".webp"},
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
}
_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: how bad ("error", "warning", "note"), what, and every case of it.

    ``text`` is a sentence for people, ``examples`` the first five of ``cases``.
    """

    severity: str
    kind: str
    text: str
    examples: tuple[str, ...]
    cases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What ``examine`` found out. Findings come worst first; counts are of readable pictures.

    parts    {part: {class: pictures}}, unreadable ones included; class "" for those without label; where
             objects or pixels are marked, the pictures that show each class
    marked   {part: {class: objects or pixels}}, where such are marked
    formats  {"JPEG": ...}, "pixels" for embedded data     modes  {"RGB": ...}, as PIL names them
    sizes    smallest, median and largest width and height in pixels, empty without pictures
    rotated  pictures that their EXIF orientation turns
    """

    name: str
    how: str
    pictures: int
    readable: int
    parts: dict[str, dict[str, int]]
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, float]
    rotated: int
    marked: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        plain["findings"] = [
            finding | {"examples": list(finding["examples"]), "cases": list(finding["cases"])}
            for finding in plain["findings"]
        ]
        return plain | {"ok": self.ok}


def examine(
    data: Splits | Collection,
    *,
    progress: Callable[[int, int], None] | None = None,
    problems: Sequence[Problem] = (),
) -> Examination:
    """Read every picture of ``data`` once and say what is wrong.

    ``progress`` is called with (pictures done, pictures in all), from the calling thread. ``problems`` are
    those of its annotations, which were found, and left out, when it was read.
    A bad picture is a finding and never an error.
    """
    parts, how = _parts(data)
    seen = list(survey(parts, progress))
    readable = [one for one in seen if not one.reason]
    marks = {part: marks_of(found) for part, found in parts.items() if found.detects or found.segments}
    counts = {
        part: marks[part].pictures if part in marks else _counts(found) for part, found in parts.items()
    }
    findings = [
        *_annotations(problems, marks),
        *_unreadable(seen),
        *_doubles(readable),
        *_contradictions(readable, marks),
        *_classes(counts),
        *_oddities(readable),
    ]
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return Examination(
        name=next(iter(parts.values())).name if parts else "",
        how=how,
        pictures=len(seen),
        readable=len(readable),
        parts=counts,
        formats=_tally(one.format for one in readable),
        modes=_tally(one.mode for one in readable),
        sizes=_sizes(readable),
        rotated=sum(one.rotated for one in readable),
        marked={part: found.amounts for part, found in marks.items()},
        findings=tuple(findings),
    )


def _parts(data: Splits | Collection) -> tuple[dict[str, Collection], str]:
    if isinstance(data, Collection):
        return {"all": data}, "one collection"
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    return {part: found for part, found in named.items() if found is not None}, data.how


def _finding(severity: str, kind: str, text: str, cases: Iterable[str]) -> Iterator[Finding]:
    """A finding where there are cases; ``text`` follows their number."""
    every = tuple(cases)
    if every:
        yield Finding(severity, kind, _many(len(every), text), every[:EXAMPLES], every)


def _annotations(problems: Sequence[Problem], marks: dict[str, Marks]) -> Iterator[Finding]:
    for kind, text in KINDS.items():
        yield from _finding("error", kind, text, (one.text for one in problems if one.kind == kind))
    for severity, kind, text, cases in (
        ("error", "broken_mask", "mask beyond reading", [m.broken for m in marks.values()]),
        ("warning", "repeated_object", "object marked twice", [m.repeated for m in marks.values()]),
        (
            "warning",
            "tiny_object",
            f"object narrower than {SMALLEST_OBJECT:g} pixels",
            [m.tiny for m in marks.values()],
        ),
        ("note", "nothing_marked", "picture on which nothing is marked", [m.empty for m in marks.values()]),
    ):
        yield from _finding(severity, kind, text, (case for part in cases for case in part))


def _many(number: int, text: str) -> str:
    """The number before a text that opens with its noun in the singular."""
    noun, rest = text.split(" ", 1)
    plural = "" if number == 1 else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number} {noun}{plural} {rest}"


def _unreadable(seen: list[Seen]) -> Iterator[Finding]:
    bad = [(f"{one.name}: {one.reason}", one.reason) for one in seen if one.reason]
    cut = (case for case, reason in bad if reason.startswith(TRUNCATED))
    yield from _finding("error", "truncated", "picture cut short: fetch again", cut)
    other = (case for case, reason in bad if not reason.startswith(TRUNCATED))
    yield from _finding("error", "unreadable", "picture beyond reading: replace or remove", other)


def _doubles(seen: list[Seen]) -> Iterator[Finding]:
    by_file = _groups(seen, [one.file_hash for one in seen])
    by_pixels = _groups(seen, [one.pixel_hash for one in seen])
    near, small, skipped = _near(seen)
    for severity, kind, text, groups, told in (
        (
            "error",
            "leak",
            "picture in more than one part: scores on them mean nothing",
            [group for group in by_pixels if len({one.part for one in group}) > 1],
            _with_part,
        ),
        (
            "error",
            "conflict",
            "picture with more than one label: keep one",
            [group for group in by_pixels if len({one.label for one in group}) > 1],
            _with_label,
        ),
        (
            "warning",
            "near_leak",
            "group of near-same pictures across parts",
            [group for group in near if len({one.part for one in group}) > 1],
            _with_part,
        ),
        ("warning", "same_bytes", "group of identical files", by_file, _bare),
        (
            "warning",
            "same_pixels",
            "group of different files with the same pixels",
            [group for group in by_pixels if len({one.file_hash for one in group}) > 1],
            _bare,
        ),
        ("warning", "near_same", "group of near-same pictures", near, _bare),
    ):
        cases = (" = ".join(told(one) for one in group) for group in groups)
        yield from _finding(severity, kind, text, cases)
    if small:
        text = f"picture under {SMALLEST_SIDE} pixels a side or flat: not searched for near-same"
        yield Finding("note", "near_same_skipped", _many(small, text), (), ())
    if skipped:
        text = "picture with too many neighbours: not all near-same ones were tried"
        yield Finding("note", "near_same_incomplete", _many(skipped, text), (), ())


def _contradictions(seen: list[Seen], marks: dict[str, Marks]) -> Iterator[Finding]:
    """Copies of a picture on which something else is marked."""
    groups = _groups(seen, [one.pixel_hash for one in seen]) if marks else []
    cases = (
        " = ".join(_with_part(one) for one in group)
        for group in groups
        if len({marks[one.part].told.get(one.name) for one in group if one.part in marks}) > 1
    )
    text = "picture marked in more than one way: keep one"
    yield from _finding("error", "contradiction", text, cases)


def _near(seen: list[Seen]) -> tuple[list[list[Seen]], int, int]:
    """Groups of near-same pictures, and how many were too small or had too many neighbours.

    Of pictures with equal pixels one stands for each part, so that copies are not told twice.
    """
    distinct = list({(one.pixel_hash, one.part): one for one in reversed(seen)}.values())[::-1]
    compared = [one for one in distinct if one.likeness is not None]
    pairs, skipped = near_pairs([one.likeness for one in compared if one.likeness is not None])
    root = list(range(len(compared)))

    def find(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for first, second in pairs:
        if compared[first].pixel_hash != compared[second].pixel_hash:
            one, other = sorted((find(first), find(second)))
            root[other] = one
    keys = [find(place).to_bytes(8, "big") for place in range(len(compared))]
    small = sum(one.likeness is None for one in seen)
    return _groups(compared, keys), small, skipped


def _groups(seen: list[Seen], keys: list[bytes]) -> list[list[Seen]]:
    """Those with equal keys together, where there are several, in order of their first."""
    groups: dict[bytes, list[Seen]] = {}
    for one, key in zip(seen, keys, strict=True):
        groups.setdefault(key, []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _bare(one: Seen) -> str:
    return one.name


def _with_part(one: Seen) -> str:
    return f"{one.name} ({one.part})"


def _with_label(one: Seen) -> str:
    return f"{one.name} ({one.label or 'no label'})"


def _counts(collection: Collection) -> dict[str, int]:
    counts = collection.counts()
    unlabelled = sum(sample.label is None and not sample.tags for sample in collection.samples)
    return counts | {"": unlabelled} if unlabelled else counts


def _classes(parts: dict[str, dict[str, int]]) -> Iterator[Finding]:
    main = "train" if "train" in parts else next(iter(parts), "")
    counts = {name: count for name, count in parts[main].items() if name} if main else {}
    tiny = (f"{name}: {count}" for name, count in counts.items() if count < TINY_CLASS)
    text = f"class with fewer than {TINY_CLASS} pictures in {main}"
    yield from _finding("warning", "tiny_class", text, tiny)
    largest = max(counts.values(), default=0)
    small = (f"{name}: {count}" for name, count in counts.items() if 10 * count < largest)
    text = f"class with less than a tenth of the largest one's {largest} pictures"
    yield from _finding("note", "imbalance", text, small)


def _oddities(seen: list[Seen]) -> Iterator[Finding]:
    if not seen:
        return
    usual = next(iter(_tally(one.mode for one in seen)))
    modes = (f"{one.name}: {one.mode}" for one in seen if one.mode != usual)
    text = f"picture in another colour mode than the usual {usual}: all are read as RGB"
    yield from _finding("note", "odd_mode", text, modes)
    long = (_with_size(one) for one in seen if max(one.size) > LONG_SIDE_RATIO * min(one.size))
    text = f"picture with one side over {LONG_SIDE_RATIO} times the other"
    yield from _finding("note", "odd_shape", text, long)
    middle = median(min(one.size) for one in seen)
    small = (_with_size(one) for one in seen if 4 * min(one.size) < middle)
    text = f"picture with a shorter side under a quarter of the usual {middle:g} pixels"
    yield from _finding("note", "odd_size", text, small)
    turned = (one.name for one in seen if one.rotated)
    yield from _finding("note", "rotated", "picture turned upright by EXIF orientation", turned)
    misnamed = (f"{one.name}: {one.format}" for one in seen if _is_misnamed(one))
    text = "picture of another format than the name says"
    yield from _finding("note", "misnamed", text, misnamed)


def _with_size(one: Seen) -> str:
    return f"{one.name}: {one.size[0]} x {one.size[1]}"


def _is_misnamed(one: Seen) -> bool:
    suffix = PurePath(one.name).suffix.lower()
    known = _SUFFIXES.get(one.format, set())
    return bool(known) and suffix not in known and suffix in set().union(*_SUFFIXES.values())


def _sizes(seen: list[Seen]) -> dict[str, float]:
    told: dict[str, float] = {}
    for place, what in enumerate(("width", "height") if seen else ()):
        values = [one.size[place] for one in seen]
        told[f"smallest_{what}"] = min(values)
        told[f"median_{what}"] = median(values)
        told[f"largest_{what}"] = max(values)
    return told


def _tally(values: Iterable[str]) -> dict[str, int]:
    """How often each value comes, most frequent first, then by name."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
