"""The one decoder: a file or its bytes become an RGB picture, or a PictureError that says why not.

What is read: JPEG, PNG, WebP, BMP, GIF (first frame) and TIFF (first page), known by their first
bytes and never by their suffix; nothing else is ever handed to a decoder. What is done, in order:

- the pixel limit is checked on the declared size, before any pixel is decoded;
- the pixels become RGB on white by the rules of ``data/colours.py``; CMYK in JPEG is taken to be
  inverted, as Adobe writes it;
- the EXIF orientation is applied, and the picture that comes back carries no metadata.

A file that ends early is refused; bytes after the end of a picture are ignored. PNG has checksums; in
the other formats, changed bytes inside the pixel data can go unnoticed.
"""

import os
import stat
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image

from vitreous.data.colours import as_rgb as as_rgb  # offered here too, beside open_picture
from vitreous.data.colours import wide_to_rgb
from vitreous.data.formats import HEADER, ends_early, kind_of
from vitreous.data.jpeg import count_scans
from vitreous.data.png import lacks_rows
from vitreous.errors import PictureError, printable

PIXEL_LIMIT = 179_000_000
SERVING_PIXEL_LIMIT = 50_000_000
SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
TRUNCATED = "truncated"  # every reason for a file that ends early starts with this word

_SCAN_LIMIT = 100  # encoders write about ten; each costs a pass over all pixels

# The plug-ins are called by name: Image.open would warn by process-wide state about large pictures.
_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
}

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class Decoded(NamedTuple):
    """A picture in RGB, and what its file was: format, PIL mode, EXIF orientation (1 is upright)."""

    picture: Image.Image
    format: str
    mode: str
    orientation: int


def open_picture(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
) -> Image.Image:
    """A file, or the bytes of one, as an upright PIL picture in mode RGB.

    ``name`` is what errors call it: the source as it was given, or "picture" for bytes.
    Raises PictureError where the file is missing, of another kind, damaged, cut short, or larger
    than ``pixel_limit`` pixels.
    """
    return decode(source, name=name, pixel_limit=pixel_limit).picture


def decode(
    source: str | os.PathLike[str] | bytes,
    *,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
) -> Decoded:
    """``open_picture`` for those who also ask what the file was. The same errors."""
    if name is None:
        name = "picture" if isinstance(source, bytes) else os.fspath(source)
    name = printable(name)
    try:
        with _open_file(source, name) as file:
            return _decode(file, name, pixel_limit)
    except OSError as error:
        # Decoding has answered for its own errors; what is left are those of the disk.
        raise PictureError(name, f"cannot be read ({error.strerror or 'input error'})") from error


def picture_size(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> tuple[int, int]:
    """(H, W) of a picture as ``open_picture`` turns it upright, by its header alone.

    Raises PictureError where the file is missing, of another kind, or where its header is damaged; what is
    wrong with its pixels is not seen.
    """
    if name is None:
        name = "picture" if isinstance(source, bytes) else os.fspath(source)
    name = printable(name)
    try:
        with _open_file(source, name) as file:
            kind = kind_of(file.read(HEADER), name)
            file.seek(0)
            module, plugin = _PLUGINS[kind]
            image: Image.Image = getattr(import_module(module), plugin)(file)
            width, height = image.size
            # To look for the orientation of a PNG elsewhere would decode it.
            told = kind != "PNG" or "exif" in image.info
            if kind == "TIFF":
                tags = getattr(image, "tag_v2", {})
                width, height = int(tags[256]), int(tags[257])  # some versions of PIL turn the size already
                turned = tags.get(_ORIENTATION, 1) in (5, 6, 7, 8)
            else:
                turned = told and _orientation(image) in (5, 6, 7, 8)
    except PictureError:
        raise
    except OSError as error:
        reason = f"cannot be read ({error.strerror})" if error.strerror else "damaged, or cut short"
        raise PictureError(name, reason) from error
    except Exception as error:
        raise PictureError(name, "damaged, or cut short") from error
    if width < 1 or height < 1:
        raise PictureError(name, f"damaged: {width} x {height} pixels")
    return (width, height) if turned else (height, width)


def _open_file(source: str | os.PathLike[str] | bytes, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        return BytesIO(source)
    try:
        mode = Path(source).stat().st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(name, "a folder, not a picture")
        if not stat.S_ISREG(mode):
            # Opening a pipe would wait for ever, reading a device might never end.
            raise PictureError(name, "not a regular file")
        return Path(source).open("rb")
    except FileNotFoundError as error:
        raise PictureError(name, "no such file") from error
    except PermissionError as error:
        raise PictureError(name, "no permission to read it") from error
    except ValueError as error:
        raise PictureError(name, "not a file name") from error


def _decode(file: IO[bytes], name: str, pixel_limit: int) -> Decoded:
    head = file.read(HEADER)
    kind = kind_of(head, name)
    file.seek(0)
    if kind == "JPEG":
        encoded = file.read()
        if count_scans(encoded) > _SCAN_LIMIT:
            raise PictureError(name, f"damaged JPEG: more than {_SCAN_LIMIT} scans")
        file = BytesIO(encoded)
    module, plugin = _PLUGINS[kind]
    # PIL's parsers raise whatever they trip over (KeyError, struct.error, ...), so all is caught.
    try:
        image: Image.Image = getattr(import_module(module), plugin)(file)
        width, height = image.size
        if width < 1 or height < 1:
            raise PictureError(name, f"damaged {kind}: {width} x {height} pixels")
        if width * height > pixel_limit:
            raise PictureError(name, _too_large(f"{width} x {height} pixels", pixel_limit))
        decoded = _convert(image, kind, head, name)
        if kind == "PNG" and lacks_rows(image, file, head):
            raise PictureError(name, f"{TRUNCATED} PNG: fewer rows than it declares")
        return decoded
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(name, _too_large("too many pixels", pixel_limit)) from error
    except MemoryError as error:
        raise PictureError(name, "does not fit into memory") from error
    except Exception as error:
        if "truncated" in str(error).lower() or ends_early(file, kind, head):
            reason = f"{TRUNCATED} {kind}: the file ends early; fetch it again"
        else:
            reason = f"damaged {kind}, or a kind of {kind} that cannot be read"
        raise PictureError(name, reason) from error


def _too_large(what: str, pixel_limit: int) -> str:
    return f"{what}, over the limit of {pixel_limit:,}; make it smaller"


def _convert(image: Image.Image, kind: str, head: bytes, name: str) -> Decoded:
    """Decode an opened file and bring it to upright RGB, minding what PIL leaves to its caller."""
    mode = image.mode
    tags = getattr(image, "tag_v2", {})
    bits = 16
    if kind == "TIFF":
        _refuse_odd_tiff(tags, head, name)
        bits = tags.get(258, (16,))[0]
    # A TIFF is turned upright while it loads, so its orientation has to be asked for before.
    orientation = tags.get(_ORIENTATION, 1) if kind == "TIFF" else 1
    covered = image.tile[0][1] if kind == "GIF" and image.tile else None  # type: ignore[attr-defined]
    image.load()
    if kind == "PNG":
        if mode == "P" and image.palette is None:
            raise PictureError(name, "damaged PNG: its colours are numbers without a palette")
        _scale_transparent_grey(image, head, name)
    if mode in ("I", "F") or mode.startswith("I;16"):
        picture = wide_to_rgb(image, name, bits=bits, white_is_zero=tags.get(262) == 0)
    else:
        picture = as_rgb(image, name=name)
    if covered is not None and covered != (0, 0, *picture.size):
        # What a GIF's first frame leaves out is see-through, whatever colour fills the memory.
        canvas = Image.new("RGB", picture.size, "white")
        canvas.paste(picture.crop(covered), covered)
        picture = canvas
    if kind != "TIFF":
        orientation = _orientation(image)
    transpose = _TRANSPOSES.get(orientation)
    if transpose is None:
        orientation = 1
    elif kind != "TIFF":
        picture = picture.transpose(transpose)
    # Nobody after us shall turn the picture again.
    picture.info.clear()
    if picture is image:
        image.getexif().clear()
    return Decoded(picture, kind, mode, orientation)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        # Cameras and editors leave broken metadata behind good pixels; every viewer shows those.
        return 1
    return value if isinstance(value, int) else 1


def _refuse_odd_tiff(tags: dict[int, object], head: bytes, name: str) -> None:
    if head[8:10] == b"CR" or 50706 in tags:
        raise PictureError(name, "a camera's raw file; save it as JPEG or TIFF")
    subfile = tags.get(254, 0)
    if isinstance(subfile, int) and subfile & 1:
        raise PictureError(name, "a TIFF whose first page is only a thumbnail")
    if tags.get(339) == (2,) and tags.get(258) == (8,):
        # PIL reads these as unsigned, which turns -1 into white.
        raise PictureError(name, "a TIFF of signed 8-bit integers; save it as unsigned")


def _scale_transparent_grey(image: Image.Image, head: bytes, name: str) -> None:
    if "transparency" not in image.info:
        return
    depth, colour = head[24], head[25]
    if colour == 0 and depth in (2, 4):
        # PIL scales these greys to 0..255, and the grey that is see-through it leaves as it was.
        image.info["transparency"] *= 255 // (2**depth - 1)
    if colour == 2 and depth == 16:
        # PIL keeps eight bits, which no longer say which pixels have exactly that colour.
        raise PictureError(name, "a 16-bit PNG with one see-through colour; save it with alpha")
