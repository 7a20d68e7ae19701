"""What ``training/choice.py`` wants to know of a data set and of the machine."""

import os
from math import ceil
from statistics import median
from time import perf_counter
from typing import Literal

import numpy as np
from PIL import Image

from vitreous.data.collection import Collection, Splits
from vitreous.data.layouts import Wanted
from vitreous.data.parts import learning_parts
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.judged import told_of
from vitreous.training.choice import Facts

LOOKED_AT = 24  # pictures
SECONDS = 1.5  # after which enough were looked at
FEWEST = 5
TINT = 2.0  # mean difference of two channels, of 255, up to which a picture is grey


def facts_of(splits: Splits, *, seed: int = 0, device: str = "cpu") -> Facts:
    """The facts; some pictures are decoded. Where several processes learn together, none of it depends on
    which of them asks.

    Raises:
        DataError: nothing can be learnt from this data.
    """
    places = _places(splits)
    labelled = has_labels(splits)
    wanted: Wanted | None = None if places is None else "detection" if places == "objects" else "segmentation"
    train = learning_parts(splits, seed=seed, labelled=labelled and places is None, wanted=wanted).train
    if train is None:
        raise DataError("the data has no pictures to train on")
    counts = [count for count in train.counts().values() if count]
    side, grey = look(train)
    return Facts(
        pictures=len(train),
        classes=len(train.classes) if labelled else 0,
        fewest=min(counts, default=0),
        most=max(counts, default=0),
        side=side,
        grey=grey,
        several=labelled and train.tagged,
        places=places,
        cores=cores(),
        device=device,
    )


def _places(splits: Splits) -> Literal["objects", "regions"] | None:
    """What is told of the pictures beside labels."""
    some = next((part for part in splits[:3] if part is not None), None)
    told = "classes" if some is None else told_of(some)
    return None if told == "classes" else told


def has_labels(splits: Splits) -> bool:
    """Whether the pictures belong to classes, so that these are what is to be learnt."""
    return any(part is not None and part.classes for part in splits[:3])


def cores() -> int:
    """How many cores a run has; two where there are several processes, whose machines may differ."""
    return 2 if int(os.environ.get("WORLD_SIZE", "1")) > 1 else usable_cores()


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def look(pictures: Collection) -> tuple[int, bool]:
    """The longer side of the middle one of some pictures, spread over the collection, in pixels; and whether
    all of them are grey.

    Raises:
        DataError: none of them can be read.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    begun = perf_counter()
    sides: list[int] = []
    grey = True
    for index in range(0, len(pictures), ceil(len(pictures) / LOOKED_AT)):
        try:
            picture = pictures.open(index)
        except PictureError:  # which training names
            continue
        sides.append(max(picture.size))
        grey = grey and is_grey(picture)
        if alone and len(sides) >= FEWEST and perf_counter() - begun > SECONDS:
            break
    if not sides:
        raise DataError(f"{pictures.name}: none of the pictures that were tried can be read")
    return round(median(sides)), grey


def is_grey(picture: Image.Image) -> bool:
    """Whether an RGB picture has no colours, small tints aside."""
    pixels = np.asarray(picture.resize((32, 32)), dtype=np.float32)  # (32, 32, 3)
    return float(np.abs(pixels - pixels.mean(2, keepdims=True)).mean()) < TINT
