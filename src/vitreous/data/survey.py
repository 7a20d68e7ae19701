"""One look at every picture: what it is, and hashes small enough to keep for all of a data set."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from vitreous.data.collection import Collection, Sample
from vitreous.data.images import decode
from vitreous.data.likeness import Likeness, likeness
from vitreous.errors import PictureError

_BATCH = 256  # pictures handed to the threads at a time


class Seen(NamedTuple):
    """What is kept of one picture; where it could not be read, ``reason`` says why.

    size is (width, height) in pixels, label the class's name or "", of several with | between them, format
    "pixels" for arrays.
    """

    name: str
    part: str
    label: str
    reason: str = ""
    file_hash: bytes = b""
    pixel_hash: bytes = b""
    size: tuple[int, int] = (0, 0)
    format: str = ""
    mode: str = ""
    rotated: bool = False
    likeness: Likeness | None = None


def survey(
    parts: Mapping[str, Collection], progress: Callable[[int, int], None] | None = None
) -> Iterator[Seen]:
    """Every picture of every part, in order, looked at by a few threads.

    ``progress`` is called with (pictures done, pictures in all), from the calling thread.
    """
    work = [
        (sample, part, _labelled(sample, collection.classes))
        for part, collection in parts.items()
        for sample in collection.samples
    ]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        done = 0
        for start in range(0, len(work), _BATCH):
            for one in threads.map(_look_at, work[start : start + _BATCH]):
                done += 1
                if progress is not None:
                    progress(done, len(work))
                yield one


def _labelled(sample: Sample, classes: tuple[str, ...]) -> str:
    if sample.tags is not None:
        return "|".join(classes[tag] for tag in sample.tags)
    return "" if sample.label is None else classes[sample.label]


def _look_at(work: tuple[Sample, str, str]) -> Seen:
    sample, part, label = work
    try:
        return _read(sample, part, label)
    except PictureError as error:
        return Seen(sample.name, part, label, reason=error.reason)


def _read(sample: Sample, part: str, label: str) -> Seen:
    source = sample.held()
    if isinstance(source, np.ndarray):
        picture, kind, rotated = sample.open(), "pixels", False
        mode = "L" if source.ndim == 2 else "RGB"
        contents = source.tobytes()
    else:
        if not isinstance(source, bytes):
            if not source.is_file():
                decode(source, name=sample.name)  # says what it is instead
            try:
                source = source.read_bytes()
            except OSError as error:
                raise PictureError(sample.name, f"cannot be read ({error.strerror})") from error
        picture, kind, mode, orientation = decode(source, name=sample.name)
        contents, rotated = source, orientation != 1
    return Seen(
        sample.name,
        part,
        label,
        file_hash=_digest(contents),
        pixel_hash=_digest(b"%d %d " % picture.size + picture.tobytes()),
        size=picture.size,
        format=kind,
        mode=mode,
        rotated=rotated,
        likeness=likeness(picture),
    )


def _digest(contents: bytes) -> bytes:
    return hashlib.blake2b(contents, digest_size=16).digest()
