"""Masks in files: what their pixels say, as numbers of classes.

A mask is a picture as large as its own one: of indices (PNG with a palette or grey, 8 or 16 bits), of
colours that stand for classes, or of 0 and 255. What a value stands for is the ``Coding`` of the whole data
set.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitreous.data.annotation import DrawnRegion, Regions, ignored_of
from vitreous.data.formats import HEADER, kind_of
from vitreous.data.images import PIXEL_LIMIT
from vitreous.errors import DataError, PictureError, printable

MASK_SUFFIXES = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff"})
_KINDS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
}


class Looked(NamedTuple):
    """One mask, looked at: (H, W), whether its pixels are colours, and the values that occur, in order; a
    colour is red * 65536 + green * 256 + blue. Where it cannot be used, ``reason`` says why."""

    size: tuple[int, int] = (0, 0)
    colour: bool = False
    values: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Coding:
    """What the values of masks stand for: ``values`` in order, each with its number of a class in
    ``numbers``, or ``ignored_of(classes)``. ``colour``: values are colours, else indices."""

    colour: bool
    values: tuple[int, ...]
    numbers: tuple[int, ...]
    classes: int

    def read(self, pixels: NDArray[np.integer], name: str) -> Regions:
        """(H, W) values -> (H, W) classes. DataError where a value stands for nothing."""
        known = np.array(self.values, dtype=np.int64)
        places = np.searchsorted(known, pixels).clip(0, len(known) - 1)
        strange = known[places] != pixels
        if strange.any():
            raise DataError(
                f"{name}: the value {told_value(int(pixels[strange][0]), self.colour)} is no class"
            )
        wide = ignored_of(self.classes) > 255
        numbers = np.array(self.numbers, dtype=np.uint16 if wide else np.uint8)
        found: Regions = numbers[places]
        return found


@dataclass(frozen=True)
class MaskFile(DrawnRegion):
    """A mask in a file, read when it is asked for."""

    path: Path
    name: str
    coding: Coding

    def region(self) -> Regions:
        """(H, W) classes. DataError where the file cannot be read, or says something else than before."""
        try:
            pixels = mask_values(self.path, self.name)
        except PictureError as error:
            raise DataError(str(error)) from error
        colour = pixels.ndim == 3
        values = packed(pixels) if colour else pixels.astype(np.int64)
        if colour and not self.coding.colour:
            values = values & 255  # grey in three equal channels
        return self.coding.read(values, self.name)

    def digest(self) -> bytes:
        """What decides it: the size of the file and what its values stand for."""
        try:
            size = self.path.stat().st_size
        except OSError:
            size = -1
        return repr((self.name, size, self.coding)).encode()


def look_at(path: Path, name: str) -> Looked:
    """One mask, looked at; a reason instead of an error."""
    try:
        pixels = mask_values(path, name)
    except PictureError as error:
        return Looked(reason=error.reason)
    size = (pixels.shape[0], pixels.shape[1])
    if pixels.ndim == 2:
        counts = np.bincount(pixels.ravel(), minlength=1)
        return Looked(size, False, tuple(np.flatnonzero(counts).tolist()))
    values = np.unique(packed(pixels))
    grey = (values >> 16 == (values >> 8 & 255)) & (values >> 16 == values & 255)
    if grey.all():
        return Looked(size, False, tuple((values & 255).tolist()))
    return Looked(size, True, tuple(values.tolist()))


def mask_values(path: Path, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels of a mask as the file has them: (H, W) indices or grey, or (H, W, 3) colours.

    Raises PictureError where it cannot be read, is a JPEG, or has soft edges into transparency.
    """
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEADER), name)
            if kind not in _KINDS:
                raise PictureError(name, f"a mask as {kind}, which changes values; save it as PNG")
            file.seek(0)
            module, plugin = _KINDS[kind]
            image: Image.Image = getattr(import_module(module), plugin)(file)
            if image.width * image.height > PIXEL_LIMIT:
                raise PictureError(name, f"{image.width} x {image.height} pixels, over the limit")
            image.load()
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(name, "no such file") from error
    except Exception as error:
        raise PictureError(name, "a mask that is damaged, or cut short") from error
    return _values(image, name)


def packed(colours: NDArray[np.integer]) -> NDArray[np.int64]:
    """(H, W, 3) red, green, blue -> (H, W) one number each."""
    wide = colours.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def told_value(value: int, colour: bool) -> str:
    """A value as people write it: 7, or #rrggbb."""
    return f"#{value:06x}" if colour else str(value)


def _values(image: Image.Image, name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode in ("L", "P", "1"):
        return np.array(image, dtype=np.uint8)
    if image.mode in ("RGB", "RGBX"):
        return np.array(image, dtype=np.uint8)[..., :3]
    if image.mode in ("RGBA", "LA"):
        pixels = np.array(image, dtype=np.uint8)
        if (pixels[..., -1] != 255).any():
            raise PictureError(name, f"a mask that is partly see-through; save it as {image.mode[:-1]}")
        return pixels[..., :3] if image.mode == "RGBA" else pixels[..., 0]
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.array(image)
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(name, "a mask with numbers outside 0..65535")
        return values.astype(np.uint16)
    raise PictureError(name, f"a mask in mode {printable(image.mode)}; save it as PNG of indices")
