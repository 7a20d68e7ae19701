"""Heat on a picture: one colour scale for every map that vitreous draws.

Its lightness grows evenly (from 0.16 to 0.97 in Oklab), from night blue over magenta to yellow, so equal
steps of heat look like equal steps, in print and to colour-blind readers too.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# fmt: off
COLOURS = (  # red, green and blue in hex, evenly spaced
    "00092c", "15034c", "2e055b", "480765", "640a6a", "800e69", "9c1364", "b71d5b", "cd324e",
    "e0483d", "f06025", "f67e21", "fb9926", "fcb442", "fccd5d", "fde576", "fefc85",
)
# fmt: on
_TABLE = np.array([list(bytes.fromhex(colour)) for colour in COLOURS], dtype=np.float32)


def colourise(strength: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Strengths in 0 .. 1 of any shape (...) -> colours (..., 3)."""
    place = np.clip(np.asarray(strength, dtype=np.float32), 0, 1) * (len(_TABLE) - 1)
    below = np.minimum(place.astype(np.intp), len(_TABLE) - 2)
    part = (place - below)[..., None]
    return np.rint(_TABLE[below] * (1 - part) + _TABLE[below + 1] * part).astype(np.uint8)


def strength_of(heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """Heat in any unit (H, W) -> 0 .. 1, from the least to the most that was seen.

    Exact zeros take no part in finding the least: they are where a crop saw nothing, and would wash out a
    map whose values lie close together.
    """
    heat = np.asarray(heat, dtype=np.float32)
    seen = heat[heat != 0]
    if seen.size == 0:
        return np.zeros_like(heat)
    least, most = float(seen.min()), float(seen.max())
    if most - least <= 1e-6 * abs(most):  # the same everywhere
        return np.where(heat != 0, np.float32(0.5), np.float32(0))
    return np.clip((heat - least) / (most - least), 0, 1)


def overlay(picture: Image.Image, heat: NDArray[np.floating], *, opacity: float = 0.85) -> Image.Image:
    """A picture and heat (H, W) in its pixels -> the picture as RGB, coloured where it is hot.

    The hotter a pixel the less of the picture shows through, down to 1 - ``opacity``; a cold pixel shows
    the picture itself, greyed and darkened so that the colours speak.
    """
    if heat.shape != (picture.height, picture.width):
        raise ValueError(f"heat is {heat.shape}, the picture (H, W) = {(picture.height, picture.width)}")
    strength = strength_of(heat)[..., None]  # (H, W, 1)
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)  # (H, W, 3)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    base = 0.75 * (0.5 * pixels + 0.5 * grey)
    alpha = opacity * np.sqrt(strength)
    mixed = base * (1 - alpha) + colourise(strength[..., 0]) * alpha
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
