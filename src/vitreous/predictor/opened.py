"""Whatever a picture is given as, opened."""

from os import PathLike, fspath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vitreous.data.images import as_rgb, open_picture
from vitreous.errors import InputError

Picture = str | PathLike[str] | bytes | Image.Image | NDArray[np.uint8]


def opened(picture: Picture) -> Image.Image:
    """A file, bytes, PIL picture or (H, W[, 3]) uint8 array -> an upright RGB picture.

    Raises:
        PictureError: a file that cannot be read.
        InputError: an array that is no picture.
    """
    if isinstance(picture, Image.Image):
        return as_rgb(ImageOps.exif_transpose(picture))  # upright, as the same picture from its file
    if isinstance(picture, np.ndarray):
        kind = picture.dtype == np.uint8 and picture.ndim in (2, 3) and picture.shape[2:] in ((), (3,))
        if not kind or not picture.size:
            raise InputError(
                f"an array of shape {picture.shape} and type {picture.dtype} is no picture;"
                " wanted (H, W) or (H, W, 3) uint8"
            )
        return as_rgb(Image.fromarray(picture))
    return open_picture(picture if isinstance(picture, bytes) else fspath(picture))
