"""Real photographs to compare two libraries on: scikit-learn's two, cut to odd sizes.

A resize that rounds otherwise, or a crop that starts one pixel off, shows at odd sizes and hides at round
ones.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image

from vitreous.data.collection import Sample
from vitreous.errors import InputError

MOST = 32  # pictures that are looked at; a comparison gains nothing from more

# (left, top, right, bottom) in pixels; each photograph has 640 x 427.
BOXES = {
    "china.jpg": ((0, 0, 640, 427), (3, 5, 254, 284), (401, 0, 498, 299), (271, 133, 614, 369)),
    "flower.jpg": ((0, 0, 640, 427), (10, 120, 591, 203), (240, 110, 305, 208), (90, 2, 507, 419)),
}


class Photograph(NamedTuple):
    """A picture in RGB, what people call it, and the SHA-256 of its pixels row by row."""

    name: str
    picture: Image.Image
    sha256: str


def photographs(samples: Iterable[Sample] | None = None) -> tuple[Photograph, ...]:
    """The pictures of these samples, at most ``MOST`` spread over all of them; the built-in ones for None.

    Raises:
        InputError: there are none.
        PictureError: the first that cannot be read.
    """
    if samples is None:
        return _built_in()
    every = tuple(samples)
    if not every:
        raise InputError("no pictures are there; wanted one or more to compare with")
    if len(every) > MOST:
        every = tuple(every[index * len(every) // MOST] for index in range(MOST))
    return tuple(_photograph(sample.name, sample.open()) for sample in every)


def _built_in() -> tuple[Photograph, ...]:
    from sklearn.datasets import load_sample_image

    found = []
    for name, boxes in BOXES.items():
        whole = Image.fromarray(load_sample_image(name))
        for left, top, right, bottom in boxes:
            cut = whole.crop((left, top, right, bottom))
            found.append(_photograph(f"{name} {bottom - top}x{right - left}", cut))
    return tuple(found)


def _photograph(name: str, picture: Image.Image) -> Photograph:
    return Photograph(name, picture, hashlib.sha256(picture.tobytes()).hexdigest())
