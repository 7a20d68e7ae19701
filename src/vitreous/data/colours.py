"""Every kind of PIL picture as RGB.

- Integers of 16 bits keep their high byte (``value // 256``), as PIL itself does for colour, so grey
  and colour agree; integers of 12 bits keep their high eight. Where 8-bit pixels were widened to 16
  bits, by ``value * 257`` or ``value * 256``, they come back exactly.
- Integers of 32 bits count as 16-bit where they fit, floats as 0 (black) to 1 (white); others are
  refused, because there is no agreed scale for them.
- Palette, CMYK, YCbCr and one-bit pictures are converted by PIL; colour profiles are not applied.
- Alpha, also a palette's or that of a single see-through colour, is composited on white.
"""

import numpy as np
from PIL import Image

from vitreous.errors import PictureError


def as_rgb(picture: Image.Image, *, name: str = "picture") -> Image.Image:
    """Any PIL picture in mode RGB, by the rules at this file's head; PictureError if none applies."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return wide_to_rgb(picture, name, bits=16, white_is_zero=False)
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        return _on_white(picture.convert("RGBA"))
    if picture.mode in ("1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"):
        return picture.convert("RGB")
    raise PictureError(name, f"its colours are {picture.mode}; save it as RGB")


def wide_to_rgb(picture: Image.Image, name: str, *, bits: int, white_is_zero: bool) -> Image.Image:
    """Pictures whose pixels are wider than a byte (PIL modes I;16, I and F) as grey RGB."""
    values = np.asarray(picture)
    if picture.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
            raise PictureError(name, "float pixels outside 0..1; scale them first")
        grey = np.rint(values * np.float32(255)).astype(np.uint8)
    else:
        if picture.mode == "I" and not (values.min() >= 0 and values.max() <= 65535):
            raise PictureError(name, "integer pixels outside 0..65535; scale them first")
        grey = (values >> (bits - 8 if bits in (12, 16) else 8)).astype(np.uint8)
    if white_is_zero:
        grey = 255 - grey
    if "transparency" in picture.info:
        grey = np.where(values == picture.info["transparency"], np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture, mask=picture)
    return canvas
