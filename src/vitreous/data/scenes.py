"""Procedural scenes: a picture is a function of (seed, index), with everything that is true of it.

One to four objects (a shape, a colour, a size, a texture) lie on a textured background, among specks that
mean nothing. With the picture come boxes, points, masks of instances and of shapes, and captions, so that one
source feeds classification, detection, segmentation, retrieval and generation, and its masks are the truth
that explanations can be held against. The same pixels come out on every machine, in every process, for every
order of asking.

Shapes: n objects; H = W = ``size`` pixels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.scene_shapes import (
    HUES,
    OUTLINES,
    SPECKS,
    TEXTURES,
    Dice,
    Floats,
    Place,
    background,
    colour,
    direction,
    pattern,
    window,
)
from vitreous.data.scene_words import SIZES, Thing, caption, phrase
from vitreous.errors import ConfigError

SHAPES = tuple(OUTLINES)
COLOURS = tuple(HUES)
FEWEST_PIXELS = 4  # an object of which less is seen is clutter: it is in no answer
SMALLEST_SIDE, LARGEST_SIDE = 16, 1024
TRIES = 30  # for a place that does not hide another object
_MAIN = 0.6  # the largest radius beside a main object, as a share of its own
_LEAST_MAIN = 0.65  # the smallest radius of a main object, as a share of the largest of all


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard scenes are to read. Lengths are shares of the picture's side.

    clutter     specks, half of them behind the objects and half before
    contrast    of the background's texture, 0 to 1
    noise       largest change of a pixel, of 255
    occlusion   how far two circles around objects may overlap, 0 (not) to below 1
    radius      of objects, (smallest, largest)
    turn        up to this many degrees either way from upright
    hue_jitter  up to this many degrees either way; names stay true up to 10
    shade       colours may be darker by this share
    """

    clutter: int = 4
    contrast: float = 0.25
    noise: float = 10.0
    occlusion: float = 0.1
    radius: tuple[float, float] = (0.1, 0.32)
    turn: float = 30.0
    hue_jitter: float = 6.0
    shade: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.clutter <= 1000:
            raise ConfigError(f"clutter must be from 0 to 1000 specks, got {self.clutter}")
        for name, most in (("contrast", 1.0), ("noise", 255.0), ("turn", 180.0), ("hue_jitter", 10.0)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be from 0 to {most:g}, got {getattr(self, name)}")
        for name in ("occlusion", "shade"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"{name} must be from 0 to 0.5, got {getattr(self, name)}")
        if not 0.05 <= self.radius[0] <= self.radius[1] <= 0.45:
            raise ConfigError(f"radius wants 0.05 <= smallest <= largest <= 0.45, got {self.radius}")


LEVELS = {
    "easy": Difficulty(
        clutter=0, contrast=0.1, noise=4, occlusion=0, radius=(0.12, 0.3), turn=15, hue_jitter=0, shade=0.1
    ),
    "normal": Difficulty(),
    "hard": Difficulty(
        clutter=8,
        contrast=0.4,
        noise=20,
        occlusion=0.2,
        radius=(0.08, 0.36),
        turn=45,
        hue_jitter=10,
        shade=0.3,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """Which scenes: ``scene(config, index)`` is one of endlessly many.

    size        side in pixels; the same scene is laid out at every size
    objects     (fewest, most)
    pairs       (shape, colour) names that may occur; None: all. What is left out of training can be asked
                for afterwards: has a model learnt shapes and colours, or pairs?
    """

    size: int = 64
    seed: int = 0
    objects: tuple[int, int] = (1, 4)
    difficulty: Difficulty = LEVELS["normal"]
    pairs: tuple[tuple[str, str], ...] | None = None

    def __post_init__(self) -> None:
        if not SMALLEST_SIDE <= self.size <= LARGEST_SIDE:
            raise ConfigError(f"size must be from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, got {self.size}")
        if not 1 <= self.objects[0] <= self.objects[1] <= 8:
            raise ConfigError(f"objects wants 1 <= fewest <= most <= 8, got {self.objects}")
        if self.pairs is not None and not self.pairs:
            raise ConfigError("pairs is empty; wanted (shape, colour) names, or None for all")
        for shape, hue in self.pairs or ():
            if shape not in SHAPES or hue not in COLOURS:
                raise ConfigError(
                    f"no such pair: {shape}, {hue}; shapes are {', '.join(SHAPES)}; colours are"
                    f" {', '.join(COLOURS)}"
                )


class Scene(NamedTuple):
    """A picture and all that is true of it. Objects are in the order in which they were painted, the
    hindmost first.

    picture    (H, W, 3) uint8
    boxes      (n, 4) float32: left, top, right, bottom in pixels, the extent of the visible mask; right and
               bottom are one past the last pixel
    points     (n, 2) float32: x, y of the centre of a pixel that belongs to the object
    shapes, colours, textures, sizes
               (n,) int64: indices into SHAPES, COLOURS, TEXTURES and SIZES
    instances  (H, W) uint8: 0, or 1 + the object that is seen there
    semantic   (H, W) uint8: 0, or 1 + the shape that is seen there
    phrases    n texts: "a small red striped circle"
    caption    one true sentence
    """

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    shapes: NDArray[np.int64]
    colours: NDArray[np.int64]
    textures: NDArray[np.int64]
    sizes: NDArray[np.int64]
    instances: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    phrases: tuple[str, ...]
    caption: str


class _Object(NamedTuple):
    place: Place
    shape: str
    colour: str
    texture: str
    size: str


def scene(config: ScenesConfig, index: int, *, shape: str | None = None, hue: str | None = None) -> Scene:
    """Scene number ``index``, from 0. With ``shape`` or ``hue`` (a name of COLOURS) the first object is the
    main one: it is so, and everything else is clearly smaller."""
    dice = Dice("scene", config.seed, index)
    objects = _layout(config, dice, shape, hue)
    level = config.difficulty
    pixels = background(dice, config.size, level.contrast)
    specks = [_speck(dice) for _ in range(level.clutter)]
    instances = np.zeros((config.size, config.size), dtype=np.uint8)
    for speck in specks[: level.clutter // 2]:
        _paint_speck(pixels, instances, *speck)
    for number, thing in enumerate(objects, start=1):
        _paint(pixels, instances, number, thing, dice, level)
    for speck in specks[level.clutter // 2 :]:
        _paint_speck(pixels, instances, *speck)
    if level.noise:
        table = Dice("noise", config.seed, index).table(config.size, config.size, 3)
        pixels += level.noise * (2 * table - 1)
    picture = np.clip(np.floor(pixels + 0.5), 0, 255).astype(np.uint8)
    return _answers(picture, instances, objects, dice)


def _layout(config: ScenesConfig, dice: Dice, shape: str | None, hue: str | None) -> list[_Object]:
    level = config.difficulty
    fewest, most = config.objects
    count = fewest + dice.below(most - fewest + 1)
    smallest, largest = level.radius
    places: list[Place] = []
    main = shape is not None or hue is not None
    if main:
        places.append(_place(dice, dice.between(max(smallest, _LEAST_MAIN * largest), largest), level))
        largest = max(smallest, _MAIN * places[0].radius)
    for _ in range(count - len(places)):
        radius = dice.between(smallest, largest)
        for _ in range(TRIES):
            place = _place(dice, radius, level)
            if all(_apart(place, other, level.occlusion) for other in places):
                places.append(place)
                break
    # The large ones behind: a small object is never lost.
    places.sort(key=lambda place: -place.radius)
    objects = []
    for number, place in enumerate(places):
        given = (shape, hue) if main and number == 0 else (None, None)
        shape_name, colour_name = _pair(config, dice, *given)
        texture = TEXTURES[dice.below(len(TEXTURES))]
        size = SIZES[(place.radius >= 0.13) + (place.radius >= 0.2)]
        objects.append(_Object(place, shape_name, colour_name, texture, size))
    return objects


def _pair(config: ScenesConfig, dice: Dice, shape: str | None, hue: str | None) -> tuple[str, str]:
    allowed = config.pairs or tuple((a, b) for a in SHAPES for b in COLOURS)
    fitting = [pair for pair in allowed if shape in (None, pair[0]) and hue in (None, pair[1])]
    if not fitting:
        raise ConfigError(f"none of the pairs is of shape {shape or 'any'} and colour {hue or 'any'}")
    return fitting[dice.below(len(fitting))]


def _place(dice: Dice, radius: float, level: Difficulty) -> Place:
    x, y = (dice.between(radius, 1 - radius) for _ in range(2))
    return Place(x, y, radius, direction(dice.between(-level.turn, level.turn)))


def _apart(one: Place, other: Place, occlusion: float) -> bool:
    x, y = one.x - other.x, one.y - other.y
    nearest = (one.radius + other.radius) * (1 - occlusion)
    return x * x + y * y >= nearest * nearest


def _speck(dice: Dice) -> tuple[Any, Place, Floats]:
    outline = SPECKS[dice.below(len(SPECKS))]
    radius = dice.between(0.015, 0.05)
    place = Place(dice.between(0, 1), dice.between(0, 1), radius, direction(dice.between(0, 180)))
    return outline, place, colour(dice.between(0, 360), dice.between(0.2, 0.9), dice.between(0.3, 1))


def _paint_speck(
    pixels: Floats, instances: NDArray[np.uint8], outline: Any, place: Place, tint: Floats
) -> None:
    rows, cols, cover = window(outline, place, len(instances))
    _lay(pixels[rows, cols], cover, tint)
    instances[rows, cols][cover >= 0.5] = 0


def _paint(
    pixels: Floats, instances: NDArray[np.uint8], number: int, thing: _Object, dice: Dice, level: Difficulty
) -> None:
    hue = HUES[thing.colour] + dice.between(-level.hue_jitter, level.hue_jitter)
    tint = colour(hue, dice.between(0.95 - level.shade, 0.95), dice.between(0.95 - level.shade, 0.95))
    where = window(OUTLINES[thing.shape], thing.place, len(instances))
    light = pattern(thing.texture, thing.place, where, len(instances))
    _lay(pixels[where.rows, where.cols], where.cover, light[..., None] * tint)
    instances[where.rows, where.cols][where.cover >= 0.5] = number


def _lay(pixels: Floats, cover: Floats, tint: Floats) -> None:
    """Paint over a part of the picture (h, w, 3), by the share of each pixel that is covered."""
    share = cover[..., None]
    pixels *= 1 - share
    pixels += share * tint


def _answers(
    picture: NDArray[np.uint8], instances: NDArray[np.uint8], objects: list[_Object], dice: Dice
) -> Scene:
    boxes, points, seen = [], [], []
    numbers = np.zeros(len(objects) + 1, dtype=np.uint8)
    shapes = np.zeros(len(objects) + 1, dtype=np.uint8)
    for number, thing in enumerate(objects, start=1):
        rows, cols = np.nonzero(instances == number)
        if len(rows) < FEWEST_PIXELS:
            continue
        boxes.append((cols.min(), rows.min(), cols.max() + 1, rows.max() + 1))
        # Whole numbers throughout: n times the squared distance from the middle, without a quotient.
        away = (len(rows) * rows - rows.sum()) ** 2 + (len(cols) * cols - cols.sum()) ** 2
        middle = int(away.argmin())
        points.append((cols[middle] + 0.5, rows[middle] + 0.5))
        seen.append(thing)
        numbers[number], shapes[number] = len(seen), 1 + SHAPES.index(thing.shape)
    things = [Thing(o.size, o.colour, o.texture, o.shape, o.place.x, o.place.y) for o in seen]
    return Scene(
        picture,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(points, dtype=np.float32).reshape(-1, 2),
        np.array([SHAPES.index(thing.shape) for thing in seen], dtype=np.int64),
        np.array([COLOURS.index(thing.colour) for thing in seen], dtype=np.int64),
        np.array([TEXTURES.index(thing.texture) for thing in seen], dtype=np.int64),
        np.array([SIZES.index(thing.size) for thing in seen], dtype=np.int64),
        numbers[instances],
        shapes[instances],
        tuple(map(phrase, things)),
        caption(things, dice) if things else "nothing",
    )
