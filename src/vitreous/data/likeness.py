"""Near-same pictures: the same scene re-encoded, resized or slightly brightened.

Each picture becomes a difference hash (N. Krawetz, "Kind of like that", 2013) of 128 bits, which of
two neighbours on a 9 x 9 grid is brighter, across and down, and a 16 x 16 grey thumbnail. Two
pictures are near-same where the hashes differ in at most 14 bits and the thumbnails, each brought
to mean 0 and deviation 1, by at most 0.15 on average. Pairs are looked for only among hashes that share one
of eight bands of 16 bits: all pairs of up to 7 differing bits do.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALLEST_SIDE = 32  # pixels; smaller pictures look alike without being copies

_MOST_BITS = 14
_MOST_APART = 0.15
_FLATTEST = 2.0  # a thumbnail with less contrast says nothing
_LARGEST_BUCKET = 4096
_SET_BITS = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


class Likeness(NamedTuple):
    """What is compared: hash (16 bytes) and thumbnail (16 x 16 bytes)."""

    hash: bytes
    thumbnail: bytes


class NearPairs(NamedTuple):
    """Pairs of places (smaller first, sorted), and how many hashes had too many neighbours to try."""

    pairs: list[tuple[int, int]]
    skipped: int


def likeness(picture: Image.Image) -> Likeness | None:
    """An RGB picture's Likeness; None where it is too small or too flat to be told from others."""
    if min(picture.size) < SMALLEST_SIDE:
        return None
    small = picture.resize((16, 16), Image.Resampling.BILINEAR, reducing_gap=3.0).convert("L")
    if np.asarray(small).std() < _FLATTEST:
        return None
    grid = picture.resize((9, 9), Image.Resampling.BILINEAR, reducing_gap=3.0).convert("L")
    levels = np.asarray(grid)
    across = levels[:8, 1:] > levels[:8, :-1]
    down = levels[1:, :8] > levels[:-1, :8]
    return Likeness(np.packbits([across, down]).tobytes(), small.tobytes())


def near_pairs(pictures: list[Likeness]) -> NearPairs:
    """Near-same pairs among ``pictures``, as this file's head defines them.

    Of pictures with one hash only the first is paired with others, so that a crowd of copies is a
    star and not a square: pairs connect what is near-same, they do not list every two.
    """
    if len(pictures) < 2:
        return NearPairs([], 0)
    thumbnails = np.array([list(picture.thumbnail) for picture in pictures], dtype=np.float32)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.maximum(thumbnails.std(axis=1, keepdims=True), 1e-6)
    alike: dict[bytes, list[int]] = {}
    for place, picture in enumerate(pictures):
        alike.setdefault(picture.hash, []).append(place)
    pairs: set[tuple[int, int]] = set()
    for first, *others in alike.values():
        pairs.update((first, other) for other in _close(thumbnails, first, others))
    firsts = [places[0] for places in alike.values()]
    hashes = np.array([list(key) for key in alike], dtype=np.uint8)  # (unique, 16)
    skipped: set[int] = set()
    for band in range(8):
        for bucket in _buckets(hashes[:, 2 * band : 2 * band + 2]):
            if len(bucket) > _LARGEST_BUCKET:
                skipped.update(bucket.tolist())
                continue
            for row, one in enumerate(bucket[:-1]):
                rest = bucket[row + 1 :]
                differing = _SET_BITS[hashes[rest] ^ hashes[one]].sum(axis=1)
                others = [firsts[other] for other in rest[differing <= _MOST_BITS]]
                first = firsts[one]
                for other in _close(thumbnails, first, others):
                    pairs.add((min(first, other), max(first, other)))
    return NearPairs(sorted(pairs), len(skipped))


def _close(thumbnails: NDArray[np.float32], one: int, others: list[int]) -> list[int]:
    if not others:
        return []
    differences = np.abs(thumbnails[others] - thumbnails[one]).mean(axis=1)
    return [other for other, far in zip(others, differences, strict=True) if far <= _MOST_APART]


def _buckets(band: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """Places that share the two bytes of a band, where more than one does."""
    keys = band[:, 0].astype(np.int32) << 8 | band[:, 1]
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    return [bucket for bucket in np.split(order, edges) if len(bucket) > 1]
