"""One row of the ledger of preprocessing: what a library does to pictures, and what we read of it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vitreous.checkpoints.source import read_any
from vitreous.data.photographs import photographs

LEVELS = 1.0  # of 255, before normalisation: the bound
Transform = Callable[[Image.Image], NDArray[np.float32]]


class Way(NamedTuple):
    """One of a library's own ways from a PIL picture to (C, h, w); ``exact`` where it resizes with Pillow, as
    we do, and is held to the bound."""

    name: str
    apply: Transform
    exact: bool = True


class PreprocessCase(NamedTuple):
    """``build`` saves a model with its preprocessing at a path (which it may change), and returns the path
    and the library's own ways; ``title`` says whose values they are."""

    library: str
    family: str
    title: str
    build: Callable[[Path], tuple[Path, tuple[Way, ...]]]

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.library} {self.family} {self.title}".replace(" ", "-")


class Apart(NamedTuple):
    """How far apart a library's pixels and ours are, over all photographs, in levels of 255."""

    way: str
    exact: bool
    most: float
    mean: float
    pictures: int


def measure(case: PreprocessCase, folder: Path) -> list[Apart]:
    """Every way of a library beside what we read of its file, on photographs of odd sizes."""
    path, ways = case.build(folder)
    preprocess = read_any(path).preprocess
    levels = np.array(preprocess.std, np.float32)[:, None, None] * 255
    found = []
    for way in ways:
        gaps = []
        for photograph in photographs():
            mine, theirs = preprocess(photograph.picture).image.numpy(), way.apply(photograph.picture)
            assert mine.shape == theirs.shape, (way.name, photograph.name, mine.shape, theirs.shape)
            gaps.append(np.abs(mine - theirs) * levels)
        most = max(float(gap.max()) for gap in gaps)
        mean = float(np.mean([gap.mean() for gap in gaps]))
        found.append(Apart(way.name, way.exact, most, mean, len(gaps)))
    return found


def transformers_ways(directory: Path) -> tuple[Way, ...]:
    """What ``AutoImageProcessor`` makes of a directory, by both of its backends."""
    from transformers import AutoImageProcessor

    ways = {}
    for backend in ("pil", "torchvision"):
        processor = AutoImageProcessor.from_pretrained(directory, backend=backend)
        # What resizes tensors, the only backend of DINOv3's processor, rounds otherwise than Pillow.
        pillow = type(processor).__name__.endswith("Pil")
        name = "pil" if pillow else "torchvision"
        ways[name] = Way(name, partial(_processed, processor), exact=pillow)
    return tuple(ways.values())


def _processed(processor: Any, picture: Image.Image) -> NDArray[np.float32]:
    if type(processor).__name__.startswith("Flava"):  # which prepares pictures for its tokenizer beside
        made = processor(picture, return_tensors="np", return_codebook_pixels=True)
        return np.asarray(made["codebook_pixel_values"][0])
    return np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def timm_ways(directory: Path) -> tuple[Way, ...]:
    """What timm's evaluation transform of a directory does."""
    import timm

    model = timm.create_model(f"local-dir:{directory}", pretrained=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    return (Way("create_transform", lambda picture: transform(picture).numpy()),)


def torchvision_ways(transform: Callable[[Image.Image], torch.Tensor]) -> tuple[Way, ...]:
    """What torchvision keeps in code for its published weights."""
    return (Way("transforms()", lambda picture: transform(picture).numpy()),)
