"""A small set of real pictures, built without a network: from which photograph is a piece of 32 pixels?

scikit-image and scikit-learn bring photographs, scans and close-ups of textures along. Each is made grey
and cut into cells of 64 x 64 pixels, and each cell belongs to train, validation or test as a whole: so no
pixel is in two parts. Pieces are drawn from anywhere inside a cell and all brought to the same mean and
deviation, so that neither colour nor light tells a photograph, but only what is to be seen; a piece of plain
sky tells nothing, and is left out.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

SIDE, CELL = 32, 64
LARGEST = 640  # pixels of the longer side; a larger photograph is made smaller first
PLAIN = 8.0  # deviation of grey values, of 255, below which a piece is plain
MEAN, DEVIATION = 128.0, 48.0
PARTS = {"train": 0.5, "val": 0.15, "test": 0.35}  # shares of the cells
PIECES = {"train": 40, "val": 25, "test": 50}  # of each photograph

PHOTOGRAPHS: Mapping[str, Callable[[], NDArray[np.uint8]]] = {
    "astronaut": skimage.data.astronaut,
    "brick": skimage.data.brick,
    "camera": skimage.data.camera,
    "cat": skimage.data.chelsea,
    "cells": skimage.data.immunohistochemistry,
    "china": lambda: load_sample_image("china.jpg"),
    "clock": skimage.data.clock,
    "coffee": skimage.data.coffee,
    "coins": skimage.data.coins,
    "flower": lambda: load_sample_image("flower.jpg"),
    "galaxies": skimage.data.hubble_deep_field,
    "grass": skimage.data.grass,
    "gravel": skimage.data.gravel,
    "moon": skimage.data.moon,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "page": skimage.data.page,
    "retina": skimage.data.retina,
    "rocket": skimage.data.rocket,
    "text": skimage.data.text,
}


def build(root: Path) -> Path:
    """Write ``root/{train,val,test}/PHOTOGRAPH/*.png``, the same files each time; returns ``root``."""
    for number, (name, load) in enumerate(PHOTOGRAPHS.items()):
        random = np.random.RandomState(number)
        grey = _grey(load())
        for part, cells in _cells(grey.shape, random).items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for count, piece in enumerate(_pieces(grey, cells, PIECES[part], random)):
                Image.fromarray(piece).save(folder / f"{count:03d}.png")
    return root


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    picture = Image.fromarray(pixels).convert("L")
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(picture, dtype=np.float64)


def _cells(shape: tuple[int, ...], random: np.random.RandomState) -> dict[str, list[tuple[int, int]]]:
    """The top left corners of the cells of each part."""
    corners = [
        (top, left)
        for top in range(0, shape[0] - CELL + 1, CELL)
        for left in range(0, shape[1] - CELL + 1, CELL)
    ]
    shuffled = [corners[place] for place in random.permutation(len(corners))]
    found: dict[str, list[tuple[int, int]]] = {}
    begun = 0.0
    for part, share in PARTS.items():
        first, last = round(begun * len(shuffled)), round((begun + share) * len(shuffled))
        found[part] = shuffled[first:last]
        begun += share
    return found


def _pieces(
    grey: NDArray[np.float64], cells: list[tuple[int, int]], count: int, random: np.random.RandomState
) -> list[NDArray[np.uint8]]:
    found: list[NDArray[np.uint8]] = []
    for _ in range(1000 * count):
        top, left = cells[random.randint(len(cells))]
        down, across = random.randint(CELL - SIDE + 1, size=2)
        piece = grey[top + down : top + down + SIDE, left + across : left + across + SIDE]
        if piece.std() >= PLAIN:
            levelled = MEAN + DEVIATION * (piece - piece.mean()) / piece.std()
            found.append(np.clip(np.rint(levelled), 0, 255).astype(np.uint8))
        if len(found) == count:
            return found
    raise RuntimeError(f"a photograph has too few pieces that are not plain: {len(found)} of {count}")
