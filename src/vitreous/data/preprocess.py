"""Picture -> tensor, and the one way back: boxes, masks and heat return to source pixels.

Resizing and cropping follow torchvision's and timm's rounding, and squashing follows transformers,
so that weights trained there see the same pixels here (tests/parity measures it).

Shapes: C channels; H x W source pixels; h x w view pixels.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitreous.data.colours import as_rgb
from vitreous.errors import ConfigError, nearest

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# Beyond this many pixels before the crop, only the crop is computed. Such pictures are hundreds of
# times longer than wide; their values then differ by a few levels from the libraries named above,
# which would ask for gigabytes.
_LARGEST_RESIZED = 16_000_000

Boxes = TypeVar("Boxes", NDArray[Any], Tensor)


@dataclass(frozen=True)
class Placement:
    """Where a view lies on its source picture. Every field is (vertical, horizontal) in pixels.

    The ``source`` (H, W) was resized to ``resized``, of which the view (h, w) is the part whose
    first pixel is ``corner``; a negative corner says that the view has a border outside the picture.
    Coordinates are continuous: pixel i covers [i, i + 1).
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    corner: tuple[int, int]
    view: tuple[int, int]

    def forth_boxes(self, boxes: Boxes) -> Boxes:
        """(..., 4) boxes x1 y1 x2 y2 in source pixels -> the same boxes in view pixels, unclipped."""
        scale, shift = self._scale(), self._shift()
        return boxes * _like(boxes, scale) - _like(boxes, shift)

    def onto_boxes(self, boxes: Boxes) -> Boxes:
        """(..., 4) boxes x1 y1 x2 y2 in source pixels -> what the view has of them, in its own pixels."""
        return _within(self.forth_boxes(boxes), self.view)

    def back_boxes(self, boxes: Boxes, *, clip: bool = True) -> Boxes:
        """(..., 4) boxes x1 y1 x2 y2 in view pixels -> the same boxes in source pixels; unless ``clip`` is
        False, what the source has of them."""
        scale, shift = self._scale(), self._shift()
        found = (boxes + _like(boxes, shift)) / _like(boxes, scale)
        return _within(found, self.source) if clip else found

    def back(self, heat: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """(rows, cols) heat that covers the whole view -> (H, W) float32 in source pixels.

        Bilinear between the centres of the cells, constant beyond the outermost ones, averaged where
        the source is coarser than the heat. Zero where the view saw nothing of the source; cells
        that are not finite count as zero.
        """
        values = np.nan_to_num(_array(heat).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        down = self._weights(0, values.shape[0])  # (H, rows)
        across = self._weights(1, values.shape[1])  # (W, cols)
        return np.asarray((down @ values) @ across.T, dtype=np.float32)

    def onto_mask(self, mask: NDArray[Any] | Tensor, fill: int = 0) -> NDArray[Any]:
        """(..., H, W) masks or maps of the source -> (..., h, w) of the same type: what the source has in the
        middle of each pixel of the view, ``fill`` where the view shows nothing of the source."""
        values = _array(mask)
        found = values[..., self._sources(0)[:, None], self._sources(1)[None, :]]  # (..., h, w)
        outside = [(places < 0) | (places >= side) for places, side in self._seen_places()]
        found[..., outside[0], :] = fill
        found[..., outside[1]] = fill
        return found

    def back_mask(self, mask: NDArray[Any] | Tensor, fill: int = 0) -> NDArray[Any]:
        """(rows, cols) mask that covers the whole view -> (H, W) of the same type, nearest cell.

        ``fill`` (zero, False) where the view saw nothing of the source.
        """
        values = _array(mask)
        down, seen_down = self._cells(0, values.shape[0])
        across, seen_across = self._cells(1, values.shape[1])
        rows = np.clip(np.floor(down), 0, values.shape[0] - 1).astype(np.intp)
        cols = np.clip(np.floor(across), 0, values.shape[1] - 1).astype(np.intp)
        found = values[rows[:, None], cols[None, :]]  # (H, W)
        found[~seen_down, :] = fill
        found[:, ~seen_across] = fill
        return found

    def _sources(self, axis: int) -> NDArray[np.intp]:
        """The source pixel in the middle of each view pixel of one axis, the nearest where there is none."""
        places, side = self._seen_places()[axis]
        return np.clip(np.floor(places), 0, side - 1).astype(np.intp)

    def _seen_places(self) -> list[tuple[NDArray[np.floating[Any]], int]]:
        """For each axis where the middles of the view's pixels lie on the source, and its side."""
        return [
            ((np.arange(self.view[axis]) + 0.5 + self.corner[axis]) * side / self.resized[axis], side)
            for axis, side in enumerate(self.source)
        ]

    def _scale(self) -> list[float]:
        down, across = (new / old for new, old in zip(self.resized, self.source, strict=True))
        return [across, down, across, down]

    def _shift(self) -> list[float]:
        top, left = self.corner
        return [left, top, left, top]

    def _cells(self, axis: int, cells: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
        """Where each source pixel's centre falls among the cells of one axis, and if in the view."""
        centres = np.arange(self.source[axis]) + 0.5
        viewed = centres * self.resized[axis] / self.source[axis] - self.corner[axis]
        seen = (viewed >= 0) & (viewed < self.view[axis])
        return viewed * (cells / self.view[axis]), seen

    def _weights(self, axis: int, cells: int) -> NDArray[np.float32]:
        places, seen = self._cells(axis, cells)
        step = cells / self.view[axis] * self.resized[axis] / self.source[axis]
        reach = max(1.0, step)  # a source pixel that spans several cells takes their average
        centres = np.arange(cells) + 0.5
        inside = np.clip(places, 0.5, cells - 0.5)  # beyond the outermost centres nothing changes
        weights = np.maximum(0.0, 1.0 - np.abs(inside[:, None] - centres) / reach)
        weights /= weights.sum(axis=1, keepdims=True)
        weights[~seen] = 0.0
        return weights.astype(np.float32)


class View(NamedTuple):
    """What the model sees, (C, h, w) float32 and normalised, and where it lies on the source."""

    image: Tensor
    where: Placement


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a picture becomes a model's input. It travels with the weights.

    size           (height, width) of the view in pixels
    shorter        the shorter side is resized to this many pixels, the aspect ratio kept, and the
                   centre of ``size`` cut out, with a black border where that is larger;
                   None squashes the whole picture to ``size``
    longest        with ``shorter``: the whole picture is kept, its longer side at most this many pixels, and
                   views have different sizes; ``size`` is then only what the model was made for
    multiple       with ``longest``: both sides are then rounded down to multiples of so many pixels
    squashed       without ``shorter``: the whole picture is squashed to this (height, width) first, and
                   the centre of ``size`` cut out of that
    crop_rounding  where half a pixel is left over, the crop starts at the even neighbour ("even", as
                   torchvision and timm do) or at the lower one ("down", as transformers does)
    interpolation  "nearest", "bilinear", "bicubic" or "lanczos", as in PIL (antialiased)
    mean, std      per channel, of pixels in 0..1; one channel means that pictures turn grey first

    ConfigError where a value is not of these kinds.
    """

    size: tuple[int, int] = (224, 224)
    shorter: int | None = 256
    longest: int | None = None
    multiple: int = 1
    squashed: tuple[int, int] | None = None
    crop_rounding: Literal["even", "down"] = "even"
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.size, tuple)
            or len(self.size) != 2
            or not all(_is_pixels(side) for side in self.size)
        ):
            raise ConfigError(f"size is {self.size!r}; wanted (height, width) in pixels")
        if self.shorter is not None and not _is_pixels(self.shorter):
            raise ConfigError(f"shorter is {self.shorter!r}; wanted pixels, or None to squash")
        if self.longest is not None and (
            self.shorter is None or not _is_pixels(self.longest) or self.longest < self.shorter
        ):
            raise ConfigError(
                f"longest is {self.longest!r} beside shorter {self.shorter!r}; wanted pixels, as many as"
                " shorter or more, or None to cut out size"
            )
        if not _is_pixels(self.multiple) or (self.longest is None and self.multiple > 1):
            raise ConfigError(
                f"multiple is {self.multiple!r} beside longest {self.longest!r}; wanted pixels, and 1 without"
                " longest"
            )
        if self.squashed is not None and (
            self.shorter is not None
            or len(self.squashed) != 2
            or not all(_is_pixels(side) for side in self.squashed)
        ):
            raise ConfigError(
                f"squashed is {self.squashed!r} beside shorter {self.shorter!r};"
                " wanted (height, width) in pixels and no shorter, or None"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(
                f"unknown interpolation {self.interpolation!r};"
                f" wanted one of {', '.join(INTERPOLATIONS)}"
                + nearest(str(self.interpolation), INTERPOLATIONS)
            )
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            raise ConfigError(
                f"mean has {len(self.mean)} and std {len(self.std)} values;"
                " wanted 3 each for colour or 1 each for grey"
            )
        if not all(isfinite(value) for value in self.mean):
            raise ConfigError(f"mean is {self.mean!r}; wanted finite values")
        if not all(isfinite(value) and value > 0 for value in self.std):
            raise ConfigError(f"std is {self.std!r}; wanted finite values above zero")

    @property
    def channels(self) -> int:
        """3 for colour, 1 for grey."""
        return len(self.mean)

    def __call__(self, picture: Image.Image) -> View:
        """PIL picture -> View(image (C, h, w), where). PictureError for colours it cannot convert."""
        cut, where = self._cut(self._coloured(picture))
        return View(self.normalised(cut), where)

    def cut(self, picture: Image.Image) -> Image.Image:
        """PIL picture -> the picture of its view, in the colours that the model sees."""
        return self._cut(self._coloured(picture))[0]

    def normalised(self, cut: Image.Image) -> Tensor:
        """The picture of a view -> (C, h, w) float32."""
        coloured = self._coloured(cut)
        pixels = np.array(coloured, dtype=np.uint8).reshape(cut.height, cut.width, self.channels)  # (h, w, C)
        image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (C, h, w)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        # In this order and precision the result has the bits of torchvision's Normalize.
        scaled = image.to(torch.float32).div_(255)
        return scaled.sub_(mean[:, None, None]).div_(std[:, None, None])

    def placement(self, source: tuple[int, int]) -> Placement:
        """Where the view of a picture of (H, W) pixels lies on it."""
        if self.shorter is not None and self.longest is not None:
            sides = _keep_within(source, self.shorter, self.longest, self.multiple)
            return Placement(source, sides, (0, 0), sides)
        kept = None if self.shorter is None else _keep_ratio(source, self.shorter)
        sides = kept or self.squashed or self.size
        lower = self.crop_rounding == "down"
        top, left = (_corner(side, wanted, lower) for side, wanted in zip(sides, self.size, strict=True))
        return Placement(source, sides, (top, left), self.size)

    def restore(self, image: Tensor) -> Image.Image:
        """(C, h, w) normalised -> the PIL picture of the view, for people to look at."""
        mean = torch.tensor(self.mean, device=image.device)[:, None, None]
        std = torch.tensor(self.std, device=image.device)[:, None, None]
        pixels = (image.detach() * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8)
        array = pixels.permute(1, 2, 0).cpu().numpy()  # (h, w, C)
        return Image.fromarray(array if self.channels == 3 else array[:, :, 0])

    def _coloured(self, picture: Image.Image) -> Image.Image:
        if self.channels == 1:
            plain = picture.mode == "L" and "transparency" not in picture.info
            return picture if plain else as_rgb(picture).convert("L")
        return as_rgb(picture)

    def _cut(self, picture: Image.Image) -> tuple[Image.Image, Placement]:
        method = INTERPOLATIONS[self.interpolation]
        where = self.placement((picture.height, picture.width))
        source, sides, (top, left) = where.source, where.resized, where.corner
        bottom, right = top + where.view[0], left + where.view[1]
        if sides[0] * sides[1] <= _LARGEST_RESIZED:
            resized = picture.resize((sides[1], sides[0]), method)
            return resized.crop((left, top, right, bottom)), where  # PIL fills the border black
        inner = (max(0, left), max(0, top), min(sides[1], right), min(sides[0], bottom))
        across, down = source[1] / sides[1], source[0] / sides[0]
        box = (inner[0] * across, inner[1] * down, inner[2] * across, inner[3] * down)
        part = picture.resize((inner[2] - inner[0], inner[3] - inner[1]), method, box=box)
        canvas = Image.new(picture.mode, (where.view[1], where.view[0]))
        canvas.paste(part, (inner[0] - left, inner[1] - top))
        return canvas, where


def _keep_ratio(source: tuple[int, int], shorter: int) -> tuple[int, int]:
    # The longer side is rounded down, as torchvision and timm do.
    height, width = source
    if width <= height:
        return int(shorter * height / width), shorter
    return shorter, int(shorter * width / height)


def _keep_within(source: tuple[int, int], shorter: int, longest: int, multiple: int) -> tuple[int, int]:
    # As transformers' processors of DETR do: the shorter side is rounded, the longer one then cut down. Those
    # of YOLOS take multiples of 16 of both.
    height, width = source
    short, long = min(source), max(source)
    wanted = min(float(shorter), longest * short / long)
    exact = round(wanted), int(wanted * long / short)
    side, other = (max(multiple, pixels - pixels % multiple) for pixels in exact)
    return (other, side) if width <= height else (side, other)


def _corner(side: int, wanted: int, down: bool) -> int:
    # torchvision rounds half a pixel to the even neighbour when it cuts, and down when it pads.
    if wanted > side:
        return -((wanted - side) // 2)
    return (side - wanted) // 2 if down else round((side - wanted) / 2)


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _within(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    height, width = size
    most = _like(boxes, [width, height, width, height])
    if isinstance(boxes, Tensor):
        return boxes.clamp(torch.zeros_like(most), most)
    return np.clip(boxes, 0, most)


def _array(values: NDArray[Any] | Tensor) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _like(boxes: Boxes, values: list[float]) -> Boxes:
    if isinstance(boxes, Tensor):
        return boxes.new_tensor(values)
    return np.asarray(values)
