"""Labelled pictures as plain values: a Sample, a Collection of them, and the Splits of a data set."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitreous.data.annotation import DrawnObjects, DrawnRegion, Objects, Regions
from vitreous.data.colours import as_rgb
from vitreous.data.images import PIXEL_LIMIT, open_picture
from vitreous.errors import DataError


class Drawn(ABC):
    """A picture that is made when it is asked for, from what can be sent to another process."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of its pixels, known before they are made."""

    @abstractmethod
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3), the same each time."""


@dataclass(frozen=True)
class Sample:
    """One picture: its ``name`` as people see it, where its pixels are, and its class or None.

    ``source`` is a file, the bytes of one, pixels as (H, W) or (H, W, 3) uint8, or what draws them. It takes
    no part in comparisons: two samples are the same when name and label are. ``tags`` are the classes of a
    picture that may show several, or none of them, in order; such a picture has no ``label``.
    ``objects`` are marked on it, or ``region`` says for each pixel what is there, as values or as what makes
    them; they take no part in comparisons either, but in the fingerprint of a collection.
    """

    name: str
    source: Path | bytes | NDArray[np.uint8] | Drawn = field(compare=False, repr=False)
    label: int | None = None
    tags: tuple[int, ...] | None = None
    objects: Objects | DrawnObjects | None = field(default=None, compare=False, repr=False)
    region: Regions | DrawnRegion | None = field(default=None, compare=False, repr=False)

    def open(self, *, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
        """The picture as RGB. PictureError, with this sample's name, where it cannot be read."""
        source = self.held()
        if isinstance(source, np.ndarray):
            return as_rgb(Image.fromarray(source))
        return open_picture(source, name=self.name, pixel_limit=pixel_limit)

    def held(self) -> Path | bytes | NDArray[np.uint8]:
        """The source, as pixels where it draws them."""
        return self.source.pixels() if isinstance(self.source, Drawn) else self.source

    def held_objects(self) -> Objects | None:
        """The objects, made where they are not there yet; None where nothing is told of any."""
        return self.objects.objects() if isinstance(self.objects, DrawnObjects) else self.objects

    def held_region(self) -> Regions | None:
        """(H, W) indices of classes, read where they are in a file; None where nothing is told of any.
        DataError where the file cannot be read."""
        return self.region.region() if isinstance(self.region, DrawnRegion) else self.region

    def told(self) -> bytes:
        """What decides the objects and the region, as bytes; empty where there are none."""
        found = b""
        if self.objects is not None:
            found += b"objects" + self.objects.digest()
        if isinstance(self.region, DrawnRegion):
            found += b"region" + self.region.digest()
        elif self.region is not None:
            found += b"region" + hashlib.sha256(np.ascontiguousarray(self.region).data).digest()
        return found

    def digest(self) -> bytes | None:
        """The SHA-256 of the file's bytes or of the pixels; None where they cannot be read."""
        source = self.held()
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        if isinstance(source, np.ndarray):
            found = hashlib.sha256(f"{source.dtype},{source.shape};".encode())
            found.update(np.ascontiguousarray(source).data)
            return found.digest()
        try:
            with source.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except (OSError, ValueError):
            return None

    @property
    def number(self) -> int:
        """The label, -1 where there is none."""
        return -1 if self.label is None else self.label

    @property
    def truth(self) -> int | tuple[int, ...]:
        """The tags where it has some or none of them, else the number."""
        return self.number if self.tags is None else self.tags

    def size(self) -> int:
        """Bytes of the file or of the pixels; -1 where there is no such file."""
        if isinstance(self.source, np.ndarray | Drawn):
            return self.source.nbytes
        if isinstance(self.source, bytes):
            return len(self.source)
        try:
            return self.source.stat().st_size
        except (OSError, ValueError):
            return -1


@dataclass(frozen=True)
class Collection:
    """Samples in a fixed order; labels and tags, and the labels of objects and regions, are indices into
    ``classes``. Either all samples have tags, or none; so with objects, and with regions."""

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of every sample. DataError where a sample has none, or may have several."""
        self.refuse_tags("what was asked for")
        labels = tuple(sample.label for sample in self.samples if sample.label is not None)
        if len(labels) < len(self.samples):
            raise DataError(
                f"{self.name}: {len(self) - len(labels)} of {len(self)} pictures have no label;"
                " put each picture into the folder of its class"
            )
        return labels

    @property
    def tagged(self) -> bool:
        """Whether a picture may show several of the classes, or none."""
        return bool(self.samples) and self.samples[0].tags is not None

    @property
    def detects(self) -> bool:
        """Whether the objects of each picture are marked."""
        return bool(self.samples) and self.samples[0].objects is not None

    @property
    def segments(self) -> bool:
        """Whether each pixel of each picture has a class."""
        return bool(self.samples) and self.samples[0].region is not None

    def tags(self) -> NDArray[np.uint8]:
        """(n, K): 1 where a picture shows a class, else 0. DataError where pictures have no tags."""
        if not self.tagged:
            raise DataError(f"{self.name}: its pictures have one label each, not several")
        return several_hot([sample.tags or () for sample in self.samples], len(self.classes))

    def refuse_tags(self, what: str) -> None:
        """DataError where pictures may have several labels, and ``what``, which has need of one."""
        if self.tagged:
            raise DataError(
                f"{self.name}: its pictures may have several labels, and {what} needs exactly one for each"
            )

    def open(self, index: int) -> Image.Image:
        """Picture ``index`` as RGB. PictureError where it cannot be read."""
        return self.samples[index].open()

    def select(self, indices: Iterable[int]) -> "Collection":
        """The samples at ``indices``, in that order, under the same name and classes."""
        samples = tuple(self.samples[index] for index in indices)
        return Collection(self.name, self.classes, samples)

    def counts(self) -> dict[str, int]:
        """Samples of every class, the empty ones included; samples without a label are not counted, and one
        with several tags, or objects of several classes, is for each of them. Regions are not looked at."""
        totals = dict.fromkeys(self.classes, 0)
        for sample in self.samples:
            own = sample.tags if sample.tags is not None else () if sample.label is None else (sample.label,)
            found = sample.held_objects()
            if found is not None:
                own = tuple(sorted(set(found.labels.tolist())))
            for number in own:
                totals[self.classes[number]] += 1
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
            told = sample.label if sample.tags is None else "|".join(map(str, sample.tags))
            digest.update(f"{sample.size()},{told};".encode())
            digest.update(sample.told())
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


def several_hot(tags: Iterable[tuple[int, ...]], classes: int) -> NDArray[np.uint8]:
    """The tags of n pictures -> (n, K), 1 for each tag, else 0."""
    rows = list(tags)
    found = np.zeros((len(rows), classes), dtype=np.uint8)
    for row, own in zip(found, rows, strict=True):
        row[list(own)] = 1
    return found


def _framed(text: str) -> bytes:
    # With its length in front, no two lists of names run together into the same bytes.
    encoded = text.encode("utf-8", "backslashreplace")
    return f"{len(encoded)}:".encode() + encoded
