"""Labelled pictures as plain values: a Sample, a Collection of them, and the Splits of a data set."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitreous.data.colours import as_rgb
from vitreous.data.images import PIXEL_LIMIT, open_picture
from vitreous.errors import DataError


@dataclass(frozen=True)
class Sample:
    """One picture: its ``name`` as people see it, where its pixels are, and its class or None.

    ``source`` is a file, the bytes of one, or pixels as (H, W) or (H, W, 3) uint8. It takes no part
    in comparisons: two samples are the same when name and label are.
    """

    name: str
    source: Path | bytes | NDArray[np.uint8] = field(compare=False, repr=False)
    label: int | None = None

    def open(self, *, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
        """The picture as RGB. PictureError, with this sample's name, where it cannot be read."""
        if isinstance(self.source, np.ndarray):
            return as_rgb(Image.fromarray(self.source))
        return open_picture(self.source, name=self.name, pixel_limit=pixel_limit)

    @property
    def number(self) -> int:
        """The label, -1 where there is none."""
        return -1 if self.label is None else self.label

    def size(self) -> int:
        """Bytes of the file or of the pixels; -1 where there is no such file."""
        if isinstance(self.source, np.ndarray):
            return self.source.nbytes
        if isinstance(self.source, bytes):
            return len(self.source)
        try:
            return self.source.stat().st_size
        except (OSError, ValueError):
            return -1


@dataclass(frozen=True)
class Collection:
    """Samples in a fixed order; a label is an index into ``classes``."""

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of every sample. DataError where a sample has none."""
        labels = tuple(sample.label for sample in self.samples if sample.label is not None)
        if len(labels) < len(self.samples):
            raise DataError(
                f"{self.name}: {len(self) - len(labels)} of {len(self)} pictures have no label;"
                " put each picture into the folder of its class"
            )
        return labels

    def open(self, index: int) -> Image.Image:
        """Picture ``index`` as RGB. PictureError where it cannot be read."""
        return self.samples[index].open()

    def select(self, indices: Iterable[int]) -> "Collection":
        """The samples at ``indices``, in that order, under the same name and classes."""
        samples = tuple(self.samples[index] for index in indices)
        return Collection(self.name, self.classes, samples)

    def counts(self) -> dict[str, int]:
        """Samples of every class, the empty ones included; samples without a label are not counted."""
        totals = dict.fromkeys(self.classes, 0)
        for sample in self.samples:
            if sample.label is not None:
                totals[self.classes[sample.label]] += 1
        return totals

    def fingerprint(self) -> str:
        """SHA-256 over classes and every sample's name, size in bytes and label: 64 hex digits.

        The same on every machine. It reads no picture, so it does not see a change of the pixels
        that keeps the size of the file.
        """
        digest = hashlib.sha256()
        for class_name in self.classes:
            digest.update(_framed(class_name))
        for sample in self.samples:
            digest.update(_framed(sample.name))
            digest.update(f"{sample.size()},{sample.label};".encode())
        return digest.hexdigest()


class Splits(NamedTuple):
    """The parts of a data set, None where it has none, and one sentence on how they came about.

    ``seeded``: the test part was drawn by a seed, not set apart by whoever made the data.
    """

    train: Collection | None
    validation: Collection | None
    test: Collection | None
    how: str
    seeded: bool = False


def _framed(text: str) -> bytes:
    # With its length in front, no two lists of names run together into the same bytes.
    encoded = text.encode("utf-8", "backslashreplace")
    return f"{len(encoded)}:".encode() + encoded
