"""What scenes are drawn with: outlines, textures, colours and backgrounds, as sums and products of numpy.

No sines, no logarithms and no library's own drawing: additions, products, quotients and comparisons are
the same to the last bit on every machine, so the pixels are too.

Shapes: H, W pixels; S = ``SAMPLES`` points along each side of a pixel.
"""

import hashlib
from collections.abc import Callable
from math import cos, pi, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAMPLES = 3  # along each side of a pixel: how finely an edge is drawn


class Dice:
    """Draws named by what they are for: the same on every machine and for every version of numpy, whose
    ``RandomState`` is frozen."""

    def __init__(self, *name: int | str) -> None:
        digest = hashlib.blake2b(repr(name).encode(), digest_size=16).digest()
        self._random = np.random.RandomState(np.frombuffer(digest, dtype="<u4"))

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` to below ``high``."""
        return low + (high - low) * float(self._random.random_sample())

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1."""
        return int(self._random.random_sample() * count)

    def table(self, *shape: int) -> Floats:
        """Numbers from 0 to below 1."""
        return self._random.random_sample(shape)


class Place(NamedTuple):
    """Where something lies: centre and radius as shares of the side, and its turn as (cosine, sine)."""

    x: float
    y: float
    radius: float
    turn: tuple[float, float]


class Window(NamedTuple):
    """The pixels that an object may cover, and which share of each it does."""

    rows: slice
    cols: slice
    cover: Floats  # (h, w), 0 to 1


def direction(degrees: float) -> tuple[float, float]:
    """(cosine, sine), rounded: the last bits of a sine differ between machines."""
    return round(cos(degrees * pi / 180), 6), round(sin(degrees * pi / 180), 6)


def _planes(count: int, first: float) -> tuple[tuple[float, float], ...]:
    return tuple(direction(first + 360 * number / count) for number in range(count))


_TIPS, _SIDES, _EDGES = _planes(5, -90), _planes(3, 90), _planes(6, 0)


def _within(u: Floats, v: Floats, planes: tuple[tuple[float, float], ...], distance: float) -> NDArray[Any]:
    """How many of the half-planes a point is in."""
    count: NDArray[Any] = sum((a * u + b * v <= distance).astype(np.int8) for a, b in planes)  # type: ignore[assignment]
    return count


def _circle(u: Floats, v: Floats) -> Mask:
    return u * u + v * v <= 1


def _square(u: Floats, v: Floats) -> Mask:
    return np.maximum(abs(u), abs(v)) <= 0.78


def _triangle(u: Floats, v: Floats) -> Mask:
    return _within(u, v, _SIDES, 0.5) == 3


def _star(u: Floats, v: Floats) -> Mask:
    return _within(u, v, _TIPS, 0.36) >= 4  # each tip is beyond one of five lines; 0.309 is the pentagram's


def _cross(u: Floats, v: Floats) -> Mask:
    return (np.minimum(abs(u), abs(v)) <= 0.3) & (np.maximum(abs(u), abs(v)) <= 0.95)


def _ring(u: Floats, v: Floats) -> Mask:
    squared = u * u + v * v
    return (squared <= 1) & (squared >= 0.3)


def _heart(u: Floats, v: Floats) -> Mask:
    x, y = 1.2 * u, 0.15 - 1.2 * v
    round_part = x * x + y * y - 1
    return round_part * round_part * round_part <= x * x * y * y * y


def _crescent(u: Floats, v: Floats) -> Mask:
    return (u * u + v * v <= 1) & ((u - 0.5) * (u - 0.5) + v * v >= 0.64)


def _arrow(u: Floats, v: Floats) -> Mask:
    head = (v <= 0) & (abs(u) <= 0.85 * (v + 1))
    return head | ((v >= 0) & (v <= 0.95) & (abs(u) <= 0.28))


def _hexagon(u: Floats, v: Floats) -> Mask:
    return _within(u, v, _EDGES, 0.82) == 6


def _stroke(u: Floats, v: Floats) -> Mask:
    return (abs(u) <= 1) & (abs(v) <= 0.25)


# All lie within the circle of radius 1; v points down.
OUTLINES: dict[str, Callable[[Floats, Floats], Mask]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "hexagon": _hexagon,
}

HUES = {  # degrees; no two nearer than 25
    "red": 0.0,
    "orange": 28.0,
    "yellow": 55.0,
    "green": 120.0,
    "cyan": 180.0,
    "blue": 225.0,
    "purple": 275.0,
    "pink": 320.0,
}

TEXTURES = ("plain", "striped", "dotted", "checked")
SPECKS: tuple[Callable[[Floats, Floats], Mask], ...] = (_stroke, _circle)  # clutter, which has no name


def window(outline: Callable[[Floats, Floats], Mask], place: Place, size: int) -> Window:
    """The pixels of a picture of ``size`` x ``size`` that an outline covers there."""
    left, right = _span(place.x, place.radius, size)
    top, bottom = _span(place.y, place.radius, size)
    steps: Floats = np.arange(max(right, bottom) * SAMPLES, dtype=np.float64) + 0.5
    u, v = _local(
        steps[left * SAMPLES : right * SAMPLES], steps[top * SAMPLES : bottom * SAMPLES], place, size
    )
    inside = outline(u, v).reshape(bottom - top, SAMPLES, right - left, SAMPLES)
    cover = inside.sum(axis=(1, 3), dtype=np.int64) / SAMPLES**2  # (h, w)
    return Window(slice(top, bottom), slice(left, right), cover)


def pattern(texture: str, place: Place, where: Window, size: int) -> Floats:
    """How light each pixel of a texture is, (h, w): 1, or less where the pattern darkens it."""
    steps: Floats = (np.arange(size, dtype=np.float64) + 0.5) * SAMPLES
    u, v = _local(steps[where.cols], steps[where.rows], place, size)
    across, down = np.floor(2.5 * u + 20), np.floor(2.5 * v + 20)
    if texture == "striped":
        dark = across % 2 == 0
    elif texture == "checked":
        dark = (across + down) % 2 == 0
    elif texture == "dotted":
        x, y = 2.5 * u + 20 - across - 0.5, 2.5 * v + 20 - down - 0.5
        dark = x * x + y * y <= 0.09
    else:
        dark = np.zeros_like(u, dtype=np.bool_)
    return np.where(dark, 0.55, 1.0)


def colour(hue: float, saturation: float, value: float) -> Floats:
    """(3,) from 0 to 255: a colour of the wheel, its hue in degrees, the rest from 0 to 1."""
    sector = hue % 360 / 60
    parts = []
    for offset in (5, 3, 1):  # red, green, blue
        turn = (offset + sector) % 6
        parts.append(value - value * saturation * max(0.0, min(turn, 4 - turn, 1.0)))
    return np.array(parts) * 255


def background(dice: Dice, size: int, contrast: float) -> Floats:
    """(size, size, 3) from 0 to 255: a dull colour, clouds of two sizes, and sometimes stripes."""
    base = colour(dice.between(0, 360), dice.between(0, 0.3), dice.between(0.3, 0.75))
    light = 0.6 * _clouds(dice, 4, size) + 0.4 * _clouds(dice, 11, size) - 0.5  # (H, W)
    if dice.below(2):
        x, y = direction(dice.between(0, 180))
        steps = (np.arange(size) + 0.5) / size * dice.between(4, 10)
        wave = (steps[None] * x + steps[:, None] * y + 100) % 1  # (H, W)
        light = light + 0.6 * (abs(wave - 0.5) - 0.25) * 2
    tint = 1 + 0.4 * (dice.table(3) - 0.5)  # so that clouds change the hue a little
    return base + 255 * contrast * light[..., None] * tint


def _clouds(dice: Dice, cells: int, size: int) -> Floats:
    """(size, size) from 0 to 1: random values on a coarse grid, joined by straight lines."""
    grid = dice.table(cells + 1, cells + 1)
    steps = (np.arange(size) + 0.5) / size * cells
    first = steps.astype(np.int64)
    share = steps - first
    rows = grid[first] * (1 - share)[:, None] + grid[first + 1] * share[:, None]
    return rows[:, first] * (1 - share) + rows[:, first + 1] * share


def _span(centre: float, radius: float, size: int) -> tuple[int, int]:
    low, high = int((centre - radius) * size), int((centre + radius) * size) + 2
    return max(0, min(low, size - 1)), max(1, min(high, size))


def _local(across: Floats, down: Floats, place: Place, size: int) -> tuple[Floats, Floats]:
    """Points in steps of a sample -> (u, v) in the object's own axes, where its radius is 1."""
    x = (across / (SAMPLES * size) - place.x)[None] / place.radius
    y = (down / (SAMPLES * size) - place.y)[:, None] / place.radius
    cosine, sine = place.turn
    return x * cosine + y * sine, y * cosine - x * sine
