"""Boxes, names, masks and maps of classes, drawn on a picture with Pillow alone.

The colour of a class follows from its number and from nothing else, so it is the same in every picture,
report and run. Hue and lightness step on by the powers of 1 / 1.3247, one over the plastic number, which fill
a square evenly however far one counts (M. Roberts, "The unreasonable effectiveness of quasirandom sequences",
2018), in Oklab (bottosson.github.io/posts/oklab), where equal steps look equal.

Shapes: n objects; H x W pixels. Boxes are left, top, right, bottom in pixels of the picture.
"""

from collections.abc import Sequence
from functools import cache
from math import ceil, cos, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from vitreous.data.annotation import Mask
from vitreous.errors import printable

Colour = tuple[int, int, int]

_PLASTIC = 1.324717957244746  # the real root of x^3 = x + 1
_FIRST = (0.05, 0.7)  # hue, of a whole turn, and lightness, of its range, of class 0
_LIGHTNESS = (0.40, 0.90)  # in Oklab; names must be read on it, and it must differ from black and white
_CHROMA = 0.19  # about as far as sRGB reaches; what lies outside is brought in towards grey
_VEIL = 0.5  # of a mask's colour over its pixels
_LETTERS = 12  # pixels, the least height of a line of text


class Marks(NamedTuple):
    """What is drawn: boxes (n, 4), labels (n,), and scores (n,) and masks where there are any."""

    boxes: ArrayLike
    labels: Sequence[int]
    scores: Sequence[float] | None = None
    masks: Sequence[Mask] | None = None


@cache
def colour_of(number: int) -> Colour:
    """The red, green and blue of class ``number``, 0 to 255 each."""
    hue = 2 * pi * ((_FIRST[0] + number / _PLASTIC) % 1)
    darkest, lightest = _LIGHTNESS
    lightness = darkest + (lightest - darkest) * ((_FIRST[1] + number / _PLASTIC**2) % 1)
    for step in range(20):
        chroma = _CHROMA * (1 - step / 20)
        linear = _linear(lightness, chroma * cos(hue), chroma * sin(hue))
        if all(-1e-4 <= part <= 1 + 1e-4 for part in linear):
            break
    red, green, blue = (round(255 * _encoded(min(max(part, 0.0), 1.0))) for part in linear)
    return red, green, blue


def palette(classes: int, ignored: int | None = None) -> list[int]:
    """The colours of so many classes as Pillow's palettes want them, 3 numbers for each of 256; ``ignored``
    is white."""
    found = [0] * 768
    for number in range(min(classes, 256)):
        found[3 * number : 3 * number + 3] = colour_of(number)
    if ignored is not None and ignored < 256:
        found[3 * ignored : 3 * ignored + 3] = 255, 255, 255
    return found


def draw_objects(
    picture: Image.Image, marks: Marks, classes: Sequence[str], *, least: int = 0
) -> Image.Image:
    """The picture as RGB with a box, a name and a score for each object, and its mask where there is one.

    The largest are drawn first, so that small ones lie on top. A picture whose longer side is below ``least``
    pixels is enlarged by a whole number first, so that names can be read.
    """
    boxes = np.asarray(marks.boxes, dtype=np.float64).reshape(-1, 4)
    factor = _factor(picture, least)
    canvas = _enlarged(picture, factor)
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-sizes, kind="stable").tolist()
    if marks.masks is not None:
        pixels = np.asarray(canvas).copy()
        for place in order:
            _veil(pixels, marks.masks[place].decode(), colour_of(marks.labels[place]), factor)
        canvas = Image.fromarray(pixels)
    pen = ImageDraw.Draw(canvas)
    thick = max(1, round(min(canvas.size) / 200))
    font = _font(canvas)
    for place in order:
        colour = colour_of(marks.labels[place])
        left, top, right, bottom = (boxes[place] * factor).tolist()
        right, bottom = max(right - 1, left), max(bottom - 1, top)  # the edge belongs to the box
        pen.rectangle((left, top, right, bottom), outline=colour, width=thick)
        name = printable(classes[marks.labels[place]])
        told = name if marks.scores is None else f"{name} {marks.scores[place]:.2f}"
        _label(pen, told, (left, top), colour, font)
    return canvas


def draw_region(
    picture: Image.Image,
    region: NDArray[np.integer],
    classes: Sequence[str],
    *,
    opacity: float = 0.6,
    least: int = 0,
) -> Image.Image:
    """The picture as RGB under the colours of a map of classes (H, W), each class with its name at the middle
    of its largest share of rows; what is no class shows the picture. ``least`` as in ``draw_objects``.

    Raises:
        ValueError: the map has another size than the picture.
    """
    if region.shape != (picture.height, picture.width):
        raise ValueError(f"the map is {region.shape}, the picture (H, W) = {(picture.height, picture.width)}")
    factor = _factor(picture, least)
    canvas = _enlarged(picture, factor)
    shown = [int(number) for number in np.unique(region) if 0 <= number < len(classes)]
    table = np.zeros((max([len(classes), int(region.max(initial=0)) + 1]), 3), dtype=np.float32)
    for number in shown:
        table[number] = colour_of(number)
    large = np.kron(region, np.ones((factor, factor), dtype=region.dtype)) if factor > 1 else region
    seen = np.isin(large, shown)[..., None]
    pixels = np.asarray(canvas, dtype=np.float32)
    mixed = np.where(seen, pixels * (1 - opacity) + table[np.where(seen[..., 0], large, 0)] * opacity, pixels)
    canvas = Image.fromarray(np.rint(mixed).astype(np.uint8))
    pen, font = ImageDraw.Draw(canvas), _font(canvas)
    for number in shown:
        row, column = _middle(region == number)
        place = ((column + 0.5) * factor, (row + 0.5) * factor)
        _label(pen, printable(classes[number]), place, colour_of(number), font, centred=True)
    return canvas


def _factor(picture: Image.Image, least: int) -> int:
    return max(1, ceil(least / max(picture.size)))


def _enlarged(picture: Image.Image, factor: int) -> Image.Image:
    """The picture as RGB, each pixel ``factor`` times as wide and high; always a copy."""
    size = (picture.width * factor, picture.height * factor)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _veil(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour, factor: int) -> None:
    """Colours the pixels of a mask (H, W) in place, its outline more than the rest."""
    inner = mask.copy()
    inner[1:], inner[:-1] = inner[1:] & mask[:-1], inner[:-1] & mask[1:]
    inner[:, 1:], inner[:, :-1] = inner[:, 1:] & mask[:, :-1], inner[:, :-1] & mask[:, 1:]
    for where, strength in ((inner, _VEIL), (mask & ~inner, 0.9)):
        large = where.repeat(factor, axis=0).repeat(factor, axis=1)
        mixed = pixels[large] * (1 - strength) + np.array(colour) * strength
        pixels[large] = np.rint(mixed).astype(np.uint8)


def _middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """A pixel (row, column) that belongs to the mask: the middle of the longest run of a row that is about as
    full as any, of such rows the middle one."""
    full = mask.sum(axis=1)
    rows = np.flatnonzero(full >= 0.95 * full.max())
    row = int(rows[len(rows) // 2])
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask[row].astype(np.int8), [0]))))
    starts, stops = edges[::2], edges[1::2]
    longest = int((stops - starts).argmax())
    return row, int((starts[longest] + stops[longest] - 1) // 2)


def _font(canvas: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(_LETTERS, min(canvas.size) // 32))


def _label(
    pen: ImageDraw.ImageDraw,
    text: str,
    place: tuple[float, float],
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    centred: bool = False,
) -> None:
    """Text on a plate of its class's colour: above ``place``, or where there is no room below it, or about
    it; wholly in the picture where it fits."""
    if isinstance(font, ImageFont.ImageFont):  # Pillow without FreeType, which knows Latin letters alone
        text = text.encode("latin-1", "replace").decode("latin-1")
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    across, down = place
    if centred:
        across, down = across - width / 2, down - height / 2
    elif down >= height:
        down -= height
    limit_across, limit_down = pen.im.size
    across = max(0.0, min(across, limit_across - width))
    down = max(0.0, min(down, limit_down - height))
    pen.rectangle((across, down, across + width - 1, down + height - 1), fill=colour)
    red, green, blue = colour
    dark = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    pen.text((across + 2 - left, down + 2 - top), text, fill="black" if dark else "white", font=font)


def _linear(lightness: float, green_red: float, blue_yellow: float) -> tuple[float, float, float]:
    """Oklab -> linear red, green and blue, which may lie outside 0 to 1."""
    long = (lightness + 0.3963377774 * green_red + 0.2158037573 * blue_yellow) ** 3
    medium = (lightness - 0.1055613458 * green_red - 0.0638541728 * blue_yellow) ** 3
    short = (lightness - 0.0894841775 * green_red - 1.2914855480 * blue_yellow) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _encoded(linear: float) -> float:
    """Linear light -> sRGB, both 0 to 1."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
