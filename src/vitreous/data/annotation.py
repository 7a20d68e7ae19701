"""What is marked on a picture, as plain values without torch: objects with boxes and masks, and maps of
classes.

Run lengths are those of COCO (cocodataset.org, "format-data"): columns first, the first run is of what does
not belong to the object. Polygons are filled as its tools fill them, so that areas and overlaps agree with
theirs.

Shapes: n objects; H x W source pixels. Boxes are left, top, right, bottom in pixels; pixel i covers [i, i +
1).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitreous.errors import DataError

IGNORED = 255  # a pixel that takes no part, in a map of up to 255 classes
IGNORED_WIDE = 65535  # the same where there are more
_FINER = 5  # polygons are followed on a grid as many times finer than the pixels

Regions = NDArray[np.uint8] | NDArray[np.uint16]


def ignored_of(classes: int) -> int:
    """The number of a pixel that takes no part, in a map of so many classes."""
    return IGNORED if classes <= IGNORED else IGNORED_WIDE


@dataclass(frozen=True)
class Rle:
    """A mask as the lengths of its runs: ``size`` is (H, W), ``counts`` are the runs or COCO's text for
    them."""

    size: tuple[int, int]
    counts: bytes | tuple[int, ...]

    @staticmethod
    def of(mask: NDArray[np.bool_]) -> "Rle":
        """(H, W) bool -> its runs."""
        flat = np.asarray(mask, dtype=bool).ravel(order="F")
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist() if flat.size else []
        height, width = mask.shape
        return Rle((height, width), (0, *runs) if flat.size and flat[0] else tuple(runs))

    def runs(self) -> tuple[int, ...]:
        """The lengths, the first of what does not belong. DataError where they do not fill the size."""
        runs = _read_runs(self.counts) if isinstance(self.counts, bytes) else self.counts
        height, width = self.size
        if any(run < 0 for run in runs) or sum(runs) != height * width:
            raise DataError(f"run lengths for {sum(runs)} pixels, but the mask is {width} x {height}")
        return runs

    def compressed(self) -> bytes:
        """The runs as COCO's text."""
        return self.counts if isinstance(self.counts, bytes) else _write_runs(self.counts)

    def decode(self) -> NDArray[np.bool_]:
        """The mask, (H, W) bool. DataError where the runs do not fill it."""
        runs = self.runs()
        height, width = self.size
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return np.ascontiguousarray(flat.reshape(width, height).T)

    def area(self) -> int:
        """Pixels that belong to the object."""
        return sum(self.runs()[1::2])


@dataclass(frozen=True, eq=False)
class Polygons:
    """A mask as outlines, each (k, 2) of x, y in pixels; filled when it is asked for. Where outlines of one
    object overlap, the pixels belong to it once; where an outline crosses itself, even and odd decide."""

    size: tuple[int, int]
    rings: tuple[NDArray[np.float64], ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """The lengths of the runs, as an ``Rle`` has them."""
        counts = Rle.of(self.decode()).counts
        return counts if isinstance(counts, tuple) else ()

    def runs(self) -> tuple[int, ...]:
        """The lengths of the runs."""
        return self.counts

    def compressed(self) -> bytes:
        """The runs as COCO's text."""
        return _write_runs(self.counts)

    def decode(self) -> NDArray[np.bool_]:
        """The mask, (H, W) bool."""
        found = np.zeros(self.size, dtype=bool)
        for ring in self.rings:
            found |= _filled(ring, self.size)
        return found

    def area(self) -> int:
        """Pixels that belong to the object."""
        return sum(self.counts[1::2])


Mask = Rle | Polygons


@dataclass(frozen=True, eq=False)
class Objects:
    """The n objects of a picture.

    boxes   (n, 4) float32: left, top, right, bottom in source pixels
    labels  (n,) int64: indices into the classes of the collection
    crowd   (n,) bool: a group, or one that is hard to tell; it is not learnt, and finding it is no mistake
    areas   (n,) float32: pixels
    masks   one for each, or None
    """

    boxes: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_] = field(repr=False)
    masks: tuple[Mask, ...] | None = field(default=None, repr=False)
    areas: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)

    def __post_init__(self) -> None:
        if len(self.areas) != len(self.boxes):
            object.__setattr__(self, "areas", _areas(self.boxes, self.masks))

    @staticmethod
    def of(
        boxes: ArrayLike,
        labels: ArrayLike,
        *,
        crowd: ArrayLike | None = None,
        masks: Sequence[Mask] | None = None,
        areas: ArrayLike | None = None,
    ) -> "Objects":
        """Objects from anything that numpy takes; without ``areas`` those of the masks, or of the boxes."""
        corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        told = None if masks is None else tuple(masks)
        return Objects(
            corners,
            np.asarray(labels, dtype=np.int64).reshape(-1),
            np.zeros(len(corners), bool) if crowd is None else np.asarray(crowd, dtype=bool).reshape(-1),
            told,
            _areas(corners, told) if areas is None else np.asarray(areas, dtype=np.float32).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: NDArray[np.bool_] | Sequence[int]) -> "Objects":
        """Some of them, by their places or by a bool for each."""
        places = np.arange(len(self))[np.asarray(keep) if len(keep) else []]
        masks = None if self.masks is None else tuple(self.masks[place] for place in places)
        return Objects(self.boxes[places], self.labels[places], self.crowd[places], masks, self.areas[places])

    def digest(self) -> bytes:
        """SHA-256 of all that is told of them."""
        found = hashlib.sha256()
        for values in (self.boxes, self.labels, self.crowd, self.areas):
            found.update(np.ascontiguousarray(values).tobytes() + b";")
        for mask in self.masks or ():
            if isinstance(mask, Rle):
                told = mask.counts if isinstance(mask.counts, bytes) else repr(mask.counts).encode()
            else:
                told = b"/".join(ring.tobytes() for ring in mask.rings)
            found.update(repr(mask.size).encode() + told + b";")
        return found.digest()


class DrawnObjects(ABC):
    """Objects that are made when they are asked for, from what can be sent to another process."""

    @abstractmethod
    def objects(self) -> Objects:
        """The objects, the same each time."""

    @abstractmethod
    def digest(self) -> bytes:
        """What decides them, as bytes."""


class DrawnRegion(ABC):
    """A map of classes that is read or made when it is asked for."""

    @abstractmethod
    def region(self) -> Regions:
        """(H, W) indices of classes, ``ignored_of(classes)`` where a pixel takes no part; the same each
        time."""

    @abstractmethod
    def digest(self) -> bytes:
        """What decides it, as bytes."""


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(H, W) bool -> left, top, right, bottom of what belongs, all 0 where nothing does."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def _areas(boxes: NDArray[np.float32], masks: tuple[Mask, ...] | None) -> NDArray[np.float32]:
    if masks is not None:
        return np.array([mask.area() for mask in masks], dtype=np.float32)
    found: NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found


def _filled(ring: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(k, 2) outline -> (H, W) bool. An outline is followed point by point on the finer grid; where it steps
    from one of its columns to the next, and the step is in the middle of a pixel's column, that column
    changes from outside to inside or back, from the pixel below on."""
    height, width = size
    corners = (_FINER * ring + 0.5).astype(np.int64)
    steps = [_line(start, stop) for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    path = np.concatenate(steps)
    across, down = path[:, 0], path[:, 1]
    turns = np.flatnonzero(across[1:] != across[:-1])
    ahead, behind = across[turns + 1], across[turns]
    columns = (np.where(ahead < behind, ahead, ahead - 1) + 0.5) / _FINER - 0.5
    rows = (np.minimum(down[turns + 1], down[turns]) + 0.5) / _FINER - 0.5
    middle = (columns == np.floor(columns)) & (columns >= 0) & (columns <= width - 1)
    places = columns[middle].astype(np.int64) * height
    places += np.ceil(np.clip(rows[middle], 0, height)).astype(np.int64)
    changes = np.bincount(places, minlength=height * width + 1)[: height * width]
    inside = np.cumsum(changes) % 2 == 1
    return inside.reshape(width, height).T


def _line(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """All points of the grid on the way, (m, 2): one for each step along the longer side."""
    wide, tall = abs(int(stop[0] - start[0])), abs(int(stop[1] - start[1]))
    long = 0 if wide >= tall else 1
    turned = start[long] > stop[long]
    first, last = (stop, start) if turned else (start, stop)
    count = max(wide, tall)
    along = np.arange(count + 1)
    slope = (last[1 - long] - first[1 - long]) / count if count else 0.0
    points = np.empty((count + 1, 2), dtype=np.int64)
    points[:, long] = first[long] + along
    points[:, 1 - long] = (first[1 - long] + slope * along + 0.5).astype(np.int64)
    return points[::-1] if turned else points


def _write_runs(runs: tuple[int, ...]) -> bytes:
    """Five bits a character, the lowest first, each run from the third on as what it differs by from the one
    two before."""
    found = bytearray()
    for place, run in enumerate(runs):
        left = run - runs[place - 2] if place > 2 else run
        while True:
            bits, left = left & 31, left >> 5
            more = left != (-1 if bits & 16 else 0)
            found.append(48 + bits + 32 * more)
            if not more:
                break
    return bytes(found)


def _read_runs(text: bytes) -> tuple[int, ...]:
    runs: list[int] = []
    value, shift = 0, 0
    for mark in text:
        bits = mark - 48
        if not 0 <= bits < 64:
            raise DataError(f"run lengths with the character {chr(mark)!r}, which they cannot have")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    if shift:
        raise DataError("run lengths that end in the middle of a number")
    return tuple(runs)
