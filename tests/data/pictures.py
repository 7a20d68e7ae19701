"""Odd, hostile and malformed pictures, each with the pixels it must give or the reason to refuse it.

Everything is made in memory by Pillow's writers, two small writers for what Pillow cannot write
(PNG of any depth and interlacing, TIFF of any tags), and cuts and changes of bytes. What a picture
must look like is computed with numpy from the values that went in; only for lossy formats is it
Pillow's own decoding of the undamaged file.
"""

import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitreous.errors import PictureError

Pixels = NDArray[np.uint8]
SECONDS = 2.0  # what one picture may take


class Case(NamedTuple):
    """``pixels`` (H, W, 3) must come out exactly, or a refusal whose reason holds ``reason``.

    Where both are given, either will do: the pixels are all there, but no reader has to know.
    """

    name: str
    data: bytes
    pixels: Pixels | None
    reason: str | None


def cases() -> list[Case]:
    """All of them, with distinct names, the same on every call."""
    made: list[Case] = []
    for family in (
        _strangers,
        _png,
        _png_damage,
        _jpeg,
        _orientations,
        _webp,
        _gif,
        _bmp,
        _tiff,
        _tiff_refused,
        _truncations,
        _too_large,
    ):
        made.extend(family())
    return made


def judge(case: Case, decode: Callable[[bytes, str], Image.Image]) -> str:
    """ "exact" or "refused" where ``decode`` does right, else what it did wrong."""
    start = time.perf_counter()
    try:
        picture = decode(case.data, case.name)
    except PictureError as error:
        outcome = _judge_refusal(case, error)
    except Exception as error:
        outcome = f"wrong: raised {type(error).__name__}: {error}"
    else:
        outcome = _judge_pixels(case, picture)
    seconds = time.perf_counter() - start
    return outcome if seconds < SECONDS else f"wrong: took {seconds:.1f} s"


def _judge_refusal(case: Case, error: PictureError) -> str:
    if case.reason is None:
        return f"wrong: refused: {error}"
    if case.reason not in error.reason or error.name != case.name or "\n" in str(error):
        return f"wrong: {error}; wanted {case.reason!r}"
    return "refused"


def _judge_pixels(case: Case, picture: Image.Image) -> str:
    if case.pixels is None:
        return f"wrong: accepted; wanted {case.reason!r}"
    got = np.asarray(picture)
    if picture.mode != "RGB" or got.shape != case.pixels.shape:
        return f"wrong: {picture.mode} {got.shape}; wanted RGB {case.pixels.shape}"
    if not np.array_equal(got, case.pixels):
        worst = np.abs(got.astype(int) - case.pixels).max()
        return f"wrong: pixels differ by up to {worst}"
    return "exact"


# What goes in: a colour picture with sharp and smooth parts, odd sizes, no symmetry.

_H, _W = 37, 51


def colour() -> Pixels:
    """(37, 51, 3): ramps, a bright corner and some noise."""
    rows, cols = np.mgrid[0:_H, 0:_W]
    noise = np.random.default_rng(7).integers(0, 40, (_H, _W))
    array = np.stack([rows * 5 + noise, cols * 4 + noise, 255 - rows * 3 - cols], axis=2)
    array[:9, :14] = (250, 200, 30)
    return np.clip(array, 0, 255).astype(np.uint8)


def _grey() -> Pixels:
    return colour()[:, :, 1]


def _alpha() -> Pixels:
    return colour()[::-1, ::-1, 0]


def _wide() -> NDArray[np.uint16]:
    """16-bit grey that uses both bytes."""
    noise = np.random.default_rng(8).integers(0, 256, (_H, _W))
    return (_grey().astype(np.uint16) << 8) | noise.astype(np.uint16)


def _wide_colour() -> NDArray[np.uint16]:
    noise = np.random.default_rng(9).integers(0, 256, (_H, _W, 3))
    return (colour().astype(np.uint16) << 8) | noise.astype(np.uint16)


def _as_colour(grey: NDArray[Any]) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)


def _on_white(pixels: NDArray[Any], alpha: NDArray[Any]) -> Pixels:
    """Rounded to the nearest: alpha * colour + (1 - alpha) * white."""
    weight = alpha[:, :, None].astype(int)
    total = pixels.astype(int) * weight + 255 * (255 - weight)
    return ((2 * total + 255) // 510).astype(np.uint8)


def _saved(picture: Image.Image, format_name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def _plainly(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


# Files that are no pictures, or of a format that is not read.


def _strangers() -> Iterator[Case]:
    picture = Image.fromarray(colour())
    for name, data, reason in (
        ("empty.jpg", b"", "empty"),
        ("one_byte.png", b"\x89", "not a picture"),
        ("text.jpg", b"hello, this is a note\n" * 9, "not a picture"),
        ("zeros.png", bytes(4096), "not a picture"),
        ("noise.jpg", np.random.default_rng(3).bytes(4096), "not a picture"),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        ("page_with_mark.jpg", b"\xef\xbb\xbf \n<html>gone</html>", "HTML"),
        ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("drawing_xml.png", b'<?xml version="1.0"?><svg/>', "SVG"),
        ("document.jpg", b"%PDF-1.7\n1 0 obj\n", "PDF"),
        ("program.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        ("program_dos.jpg", b"\xc5\xd0\xd3\xc6" + bytes(60), "PostScript"),
        ("archive.jpg", b"PK\x03\x04" + bytes(60), "zip"),
        ("packed.jpg", b"\x1f\x8b\x08" + bytes(60), "gzip"),
        ("layers.png", b"8BPS\x00\x01" + bytes(60), "Photoshop"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS"),
        ("jpeg2000.jpg", _saved(picture, "JPEG2000"), "JPEG 2000"),
        ("icon.png", _saved(picture, "ICO"), "icon"),
        ("avif.jpg", b"\x00\x00\x00\x20ftypavif" + bytes(60), "AVIF"),
        ("portable.png", _saved(picture, "PPM"), "not a picture"),
        ("targa.png", _saved(picture, "TGA"), "not a picture"),
        ("leading_garbage.jpg", b"garbage" + _saved(picture, "JPEG"), "not a picture"),
        ("riff_wave.webp", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40), "not a picture"),
    ):
        yield Case(name, data, None, reason)


# PNG


def _chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _packed(values: NDArray[Any], depth: int) -> bytes:
    """(H, W) or (H, W, C) samples as PNG rows, each led by the filter byte 0."""
    rows = values.reshape(values.shape[0], -1)
    if depth == 16:
        body = rows.astype(">u2").view(np.uint8).reshape(rows.shape[0], -1)
    elif depth == 8:
        body = rows.astype(np.uint8)
    else:
        bits = (rows[:, :, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1)) & 1
        body = np.packbits(bits.reshape(rows.shape[0], -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in body)


def png(
    values: NDArray[Any],
    *,
    depth: int = 8,
    kind: int = 2,
    extra: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """A PNG of any bit depth and colour kind (0 grey, 2 colour, 3 palette, 4 and 6 with alpha)."""
    height, width = values.shape[:2]
    if interlaced:
        passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4))
        passes += ((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        parts = [values[top::down, left::right] for top, left, down, right in passes]
        raw = b"".join(_packed(part, depth) for part in parts if part.size)
    else:
        raw = _packed(values, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + extra
        + _chunk(b"IDAT", zlib.compress(raw))
        + _chunk(b"IEND", b"")
    )


def _png() -> Iterator[Case]:
    pixels, grey, alpha = colour(), _grey(), _alpha()
    wide, wide_colour = _wide(), _wide_colour()
    see_through = pixels[20, 20]
    gone = (pixels == see_through).all(axis=2)
    holed = np.where(gone[:, :, None], 255, pixels).astype(np.uint8)
    trns = _chunk(b"tRNS", struct.pack(">3H", *(int(value) for value in see_through)))
    rgba = np.dstack([pixels, alpha])
    wide_alpha = alpha.astype(np.uint16) << 8 | 0x5A
    plain = png(pixels)
    yield Case("rgb.png", plain, pixels, None)
    yield Case("rgb_interlaced.png", png(pixels, interlaced=True), pixels, None)
    yield Case("rgb_pillow.png", _saved(Image.fromarray(pixels), "PNG"), pixels, None)
    yield Case("png_named.jpg", plain, pixels, None)
    yield Case("trailing_garbage.png", plain + b"garbage" * 50, pixels, None)
    yield Case("rgb_one_see_through.png", png(pixels, extra=trns), holed, None)
    yield Case("rgba.png", png(rgba, kind=6), _on_white(pixels, alpha), None)
    yield Case("rgba_clear.png", png(np.dstack([pixels, alpha * 0]), kind=6), _white(), None)
    yield Case("rgba_interlaced.png", png(rgba, kind=6, interlaced=True), _on_white(pixels, alpha), None)
    yield Case("grey.png", png(grey, kind=0), _as_colour(grey), None)
    grey_trns = _chunk(b"tRNS", struct.pack(">H", int(grey[20, 20])))
    holed = _as_colour(np.where(grey == grey[20, 20], 255, grey))
    yield Case("grey_one_see_through.png", png(grey, kind=0, extra=grey_trns), holed, None)
    for depth in (1, 2, 4):
        top = 2**depth - 1
        small = grey >> (8 - depth)
        shown = _as_colour(small * (255 // top))
        yield Case(f"grey_{depth}_bit.png", png(small, kind=0, depth=depth), shown, None)
        interlaced = png(small, kind=0, depth=depth, interlaced=True)
        yield Case(f"grey_{depth}_bit_interlaced.png", interlaced, shown, None)
        mark = int(small[20, 20])
        data = png(small, kind=0, depth=depth, extra=_chunk(b"tRNS", struct.pack(">H", mark)))
        holed = np.where((small == mark)[:, :, None], 255, shown).astype(np.uint8)
        yield Case(f"grey_{depth}_bit_one_see_through.png", data, holed, None)
    yield Case(
        "grey_alpha.png",
        png(np.dstack([grey, alpha]), kind=4),
        _on_white(_as_colour(grey), alpha),
        None,
    )
    yield Case("grey_16_bit.png", png(wide, kind=0, depth=16), _as_colour(wide >> 8), None)
    mark16 = int(wide[20, 20])
    data = png(wide, kind=0, depth=16, extra=_chunk(b"tRNS", struct.pack(">H", mark16)))
    holed = _as_colour(np.where(wide == mark16, 255, wide >> 8))
    yield Case("grey_16_bit_one_see_through.png", data, holed, None)
    yield Case("rgb_16_bit.png", png(wide_colour, depth=16), (wide_colour >> 8).astype("u1"), None)
    extra = _chunk(b"tRNS", struct.pack(">3H", *(int(value) for value in wide_colour[20, 20])))
    data = png(wide_colour, depth=16, extra=extra)
    yield Case("rgb_16_bit_one_see_through.png", data, None, "16-bit PNG with one see-through")
    yield Case(
        "rgba_16_bit.png",
        png(np.dstack([wide_colour, wide_alpha]), kind=6, depth=16),
        _on_white(wide_colour >> 8, alpha),
        None,
    )
    yield Case(
        "grey_alpha_16_bit.png",
        png(np.dstack([wide, wide_alpha]), kind=4, depth=16),
        _on_white(_as_colour(wide >> 8), alpha),
        None,
    )
    yield from _png_palettes()
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())]
    data = _saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
    yield Case("animated.png", data, pixels, None)


def _png_palettes() -> Iterator[Case]:
    for depth in (1, 2, 4, 8):
        count = 2**depth
        palette = np.random.default_rng(depth).integers(0, 256, (count, 3)).astype(np.uint8)
        numbers = _grey() >> (8 - depth)
        extra = _chunk(b"PLTE", palette.tobytes())
        data = png(numbers, kind=3, depth=depth, extra=extra)
        yield Case(f"palette_{depth}_bit.png", data, palette[numbers], None)
        alphas = np.linspace(0, 255, count).astype(np.uint8)
        extra += _chunk(b"tRNS", alphas.tobytes())
        data = png(numbers, kind=3, depth=depth, extra=extra)
        shown = _on_white(palette[numbers], alphas[numbers])
        yield Case(f"palette_{depth}_bit_alpha.png", data, shown, None)


def _white() -> Pixels:
    return np.full((_H, _W, 3), 255, np.uint8)


def _png_damage() -> Iterator[Case]:
    pixels = colour()
    plain = png(pixels)
    body = plain.index(b"IDAT") + 4
    flipped = bytearray(plain)
    flipped[body + 200] ^= 0x10
    yield Case("flipped_data.png", bytes(flipped), None, "damaged")
    for offset, what in ((16, "width"), (24, "depth"), (25, "colour"), (29, "checksum")):
        flipped = bytearray(plain)
        flipped[offset] ^= 0x01
        yield Case(f"flipped_{what}.png", bytes(flipped), None, "damaged")
    end = plain.index(b"IEND") - 4
    wrong_sum = plain[: end - 4] + b"\0\0\0\0" + plain[end:]
    yield Case("wrong_data_checksum.png", wrong_sum, pixels, "damaged")
    text = plain[:33] + _chunk(b"tEXt", b"Comment\0hi", crc=1) + plain[33:]
    yield Case("wrong_text_checksum.png", text, pixels, "damaged")
    yield Case("no_data.png", plain[: body - 8] + plain[end:], None, "damaged")
    yield Case("no_end.png", plain[:end], pixels, "truncated")
    taller = plain[:20] + struct.pack(">I", _H + 9) + plain[24:29]
    taller += struct.pack(">I", zlib.crc32(taller[12:29])) + plain[33:]
    yield Case("taller_than_its_data.png", taller, None, "truncated")
    for width, height in ((0, 9), (9, 0)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        empty = plain[:8] + _chunk(b"IHDR", header) + plain[33:]
        yield Case(f"size_{width}_{height}.png", empty, None, "damaged")
    odd = struct.pack(">IIBBBBB", _W, _H, 8, 5, 0, 0, 0)
    yield Case("unknown_colour.png", plain[:8] + _chunk(b"IHDR", odd) + plain[33:], None, "damaged")
    yield Case("no_palette.png", png(_grey(), kind=3), None, "without a palette")
    black = np.zeros((_H, _W, 3), np.uint8)
    for interlaced in (False, True):
        data = png(black, interlaced=interlaced)
        kind = "interlaced" if interlaced else "plain"
        yield Case(f"black_{kind}.png", data, black, None)
        short = data[: data.index(b"IDAT") - 4]
        rows = (_packed(black, 8) if not interlaced else bytes(5600))[:-1]
        short += _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
        yield Case(f"black_{kind}_one_byte_short.png", short, None, "truncated")
    noise = np.random.default_rng(5).bytes(500)
    data = plain[: body - 8] + _chunk(b"IDAT", noise) + plain[end:]
    yield Case("noise_for_data.png", data, None, "damaged")
    bomb = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000)))
    yield Case("text_bomb.png", plain[:33] + bomb + plain[33:], pixels, "damaged")
    profile = _chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(80_000_000)))
    yield Case("profile_bomb.png", plain[:33] + profile + plain[33:], pixels, "damaged")
    more = _packed(pixels, 8) + bytes(80_000_000)
    data = plain[: body - 8] + _chunk(b"IDAT", zlib.compress(more)) + plain[end:]
    yield Case("data_bomb.png", data, pixels, "damaged")
    length = plain[:33] + struct.pack(">I", 0xFFFFFFF0) + plain[37:]
    yield Case("huge_chunk.png", length, pixels, "PNG")


# JPEG


def _jpeg() -> Iterator[Case]:
    pixels = colour()
    picture = Image.fromarray(pixels)
    plain = _saved(picture, "JPEG", quality=92)
    yield Case("baseline.jpg", plain, _plainly(plain), None)
    yield Case("jpeg_named.png", plain, _plainly(plain), None)
    progressive = _saved(picture, "JPEG", progressive=True, quality=92)
    yield Case("progressive.jpg", progressive, _plainly(progressive), None)
    fine = _saved(picture, "JPEG", subsampling=0, quality=99)
    yield Case("unsubsampled.jpg", fine, _plainly(fine), None)
    grey = _saved(Image.fromarray(_grey()), "JPEG")
    yield Case("grey.jpg", grey, _plainly(grey), None)
    yield Case("trailing_garbage.jpg", plain + b"\0garbage" * 99, _plainly(plain), None)
    mpo = _saved(picture, "MPO", save_all=True, append_images=[Image.fromarray(pixels[::-1])])
    assert mpo.count(b"\xff\xd8\xff") == 2
    yield Case("two_pictures.mpo", mpo, _plainly(plain_first(mpo)), None)
    yield from _cmyk()
    scans = progressive.index(b"\xff\xda")
    second = progressive.index(b"\xff\xda", scans + 2)
    repeated = progressive[:scans] + progressive[scans:second] * 500 + progressive[scans:]
    yield Case("many_scans.jpg", repeated, None, "scans")
    yield Case("only_start.jpg", b"\xff\xd8\xff", None, "truncated")
    yield Case("start_and_end.jpg", b"\xff\xd8\xff\xd9", None, "damaged")
    header = plain.index(b"\xff\xc0")
    for offset, what in ((4, "precision"), (9, "components")):
        flipped = bytearray(plain)
        flipped[header + offset] ^= 0x04
        yield Case(f"flipped_{what}.jpg", bytes(flipped), None, "damaged")
    flat = plain[: header + 5] + b"\0\0" + plain[header + 7 :]
    yield Case("no_height.jpg", flat, None, "damaged")
    tables = plain.replace(b"\xff\xdb", b"\xff\xe5")
    yield Case("no_tables.jpg", tables, None, "damaged")
    comment = plain[:2] + b"\xff\xfe\xff\xff" + b"x" * 20
    yield Case("endless_comment.jpg", comment, None, "truncated")


def plain_first(mpo: bytes) -> bytes:
    """The first picture of a file of several, up to where the second starts."""
    return mpo[: mpo.index(b"\xff\xd8\xff", 3)]


def _cmyk() -> Iterator[Case]:
    inks = np.dstack([colour(), _grey() // 3])
    picture = Image.fromarray(inks, "CMYK")
    adobe = _saved(picture, "JPEG", quality=100, subsampling=0)
    decoded = np.asarray(Image.open(io.BytesIO(adobe)))  # (H, W, 4) inks
    yield Case("cmyk.jpg", adobe, _from_inks(decoded), None)
    # The same numbers, now said to be luma, chroma and black.
    marker = adobe.index(b"Adobe") + 11
    assert adobe[marker] == 0
    ycck = adobe[:marker] + b"\x02" + adobe[marker + 1 :]
    stored = 255 - decoded.astype(np.int64)
    luma, blue, red = stored[..., 0], stored[..., 1] - 128, stored[..., 2] - 128
    half = 1 << 15
    rgb = np.dstack(
        [
            luma + ((91881 * red + half) >> 16),
            luma + ((-22554 * blue - 46802 * red + half) >> 16),
            luma + ((116130 * blue + half) >> 16),
        ]
    )
    inverted = np.clip(255 - rgb, 0, 255)
    inks = np.dstack([255 - inverted, decoded[..., 3]])
    yield Case("ycck.jpg", ycck, _from_inks(inks), None)


def _from_inks(inks: NDArray[Any]) -> Pixels:
    """Each colour is what its ink and black leave of the light."""
    light = 255 - inks[..., 3:].astype(int)
    product = inks[..., :3].astype(int) * light
    return np.clip(light - (2 * product + 255) // 510, 0, 255).astype(np.uint8)


def _orientations() -> Iterator[Case]:
    pixels = colour()
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).swapaxes(0, 1),
        8: np.rot90(pixels),
        0: pixels,
        9: pixels,
    }
    picture = Image.fromarray(pixels)
    plain = _plainly(_saved(picture, "JPEG", quality=90))
    for number, shown in turned.items():
        exif = Image.Exif()
        exif[0x0112] = number
        data = _saved(picture, "PNG", exif=exif)
        yield Case(f"orientation_{number}.png", data, shown, None)
        data = _saved(picture, "WEBP", lossless=True, exif=exif)
        yield Case(f"orientation_{number}.webp", data, shown, None)
        data = _saved(picture, "TIFF", exif=exif)
        yield Case(f"orientation_{number}.tif", data, shown, None)
        if number in range(1, 9):  # libtiff writes no others
            data = _saved(picture, "TIFF", exif=exif, compression="tiff_lzw")
            yield Case(f"orientation_{number}_packed.tif", data, shown, None)
        data = _saved(picture, "JPEG", exif=exif, quality=90)
        yield Case(f"orientation_{number}.jpg", data, _turned_like(plain, number), None)
    for what, block in (
        ("cut", b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"),
        ("noise", b"Exif\0\0" + np.random.default_rng(1).bytes(90)),
        ("empty", b"Exif\0\0"),
        ("text", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0"),
    ):
        data = _saved(picture, "JPEG", exif=block, quality=90)
        yield Case(f"broken_exif_{what}.jpg", data, plain, None)


def _turned_like(pixels: Pixels, number: int) -> Pixels:
    if number in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if number in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if number in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


# WebP, GIF, BMP


def _webp() -> Iterator[Case]:
    pixels, alpha = colour(), _alpha()
    picture = Image.fromarray(pixels)
    lossless = _saved(picture, "WEBP", lossless=True)
    yield Case("lossless.webp", lossless, pixels, None)
    lossy = _saved(picture, "WEBP", quality=80)
    yield Case("lossy.webp", lossy, _plainly(lossy), None)
    clear = Image.fromarray(np.dstack([pixels, alpha]))
    data = _saved(clear, "WEBP", lossless=True, exact=True)
    yield Case("alpha.webp", data, _on_white(pixels, alpha), None)
    later = [Image.fromarray(pixels[::-1].copy())]
    data = _saved(picture, "WEBP", lossless=True, save_all=True, append_images=later)
    yield Case("animated.webp", data, pixels, None)
    yield Case("trailing_garbage.webp", lossless + b"garbage" * 20, pixels, "WebP")
    yield Case("wrong_chunk.webp", lossless[:12] + b"VP9 " + lossless[16:], None, "damaged")
    yield Case("flipped_size.webp", lossless[:4] + b"\0\0\0\0" + lossless[8:], None, "WebP")
    noise = lossless[:30] + np.random.default_rng(2).bytes(len(lossless) - 30)
    yield Case("noise_for_data.webp", noise, None, "damaged")


def _gif() -> Iterator[Case]:
    palette = np.random.default_rng(4).integers(0, 256, (256, 3)).astype(np.uint8)
    numbers = _grey()
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(palette.tobytes())
    shown = palette[numbers]
    yield Case("plain.gif", _saved(picture, "GIF", interlace=0), shown, None)
    yield Case("interlaced.gif", _saved(picture, "GIF", interlace=1), shown, None)
    mark = int(numbers[20, 20])
    holed = np.where((numbers == mark)[:, :, None], 255, shown).astype(np.uint8)
    yield Case("see_through.gif", _saved(picture, "GIF", transparency=mark), holed, None)
    later = Image.fromarray(numbers[::-1].copy(), "P")
    later.putpalette(palette.tobytes())
    data = _saved(picture, "GIF", save_all=True, append_images=[later], duration=50)
    yield Case("animated.gif", data, shown, None)
    plain = _saved(picture, "GIF", interlace=0)
    yield Case("trailing_garbage.gif", plain + b"garbage" * 20, shown, None)
    # The canvas grows, the only frame stays: what it leaves out is see-through.
    wide = plain[:6] + struct.pack("<HH", _W + 6, _H + 4) + plain[10:]
    canvas = np.full((_H + 4, _W + 6, 3), 255, np.uint8)
    canvas[:_H, :_W] = shown
    yield Case("small_first_frame.gif", wide, canvas, None)
    yield Case("no_frame.gif", plain[:13] + palette.tobytes() + b";", None, "damaged")
    frame = plain.index(b",", 13 + 768)
    code = plain[: frame + 10] + b"\x0f" + plain[frame + 11 :]
    yield Case("wrong_code_size.gif", code, None, "damaged")
    yield Case("endless_comment.gif", plain[:frame] + b"!\xfe\xffhello", None, "truncated")


def _bmp() -> Iterator[Case]:
    pixels = colour()
    plain = _saved(Image.fromarray(pixels), "BMP")
    yield Case("plain.bmp", plain, pixels, None)
    yield Case("trailing_garbage.bmp", plain + b"garbage" * 20, pixels, None)
    grey = _saved(Image.fromarray(_grey()), "BMP")
    yield Case("grey.bmp", grey, _as_colour(_grey()), None)
    one_bit = _saved(Image.fromarray(_grey()).convert("1", dither=Image.Dither.NONE), "BMP")
    yield Case("one_bit.bmp", one_bit, _as_colour((_grey() > 127) * 255), None)
    upside = plain[:22] + struct.pack("<i", -_H) + plain[26:]
    yield Case("top_down.bmp", upside, pixels[::-1], None)
    yield Case("wrong_depth.bmp", plain[:28] + b"\x07\0" + plain[30:], None, "damaged")
    yield Case("wrong_packing.bmp", plain[:30] + b"\x09\0\0\0" + plain[34:], None, "damaged")
    yield Case("wrong_header.bmp", plain[:14] + b"\x0d\0\0\0" + plain[18:], None, "damaged")
    yield Case("no_width.bmp", plain[:18] + bytes(4) + plain[22:], None, "damaged")
    far = plain[:10] + struct.pack("<I", 2**31) + plain[14:]
    yield Case("data_far_away.bmp", far, None, "BMP")


# TIFF


def tiff(
    body: bytes,
    tags: dict[int, tuple[int, ...]],
    *,
    width: int = _W,
    height: int = _H,
    order: str = "<",
) -> bytes:
    """One strip and its tags. Values that need four bytes are longs, all others shorts."""
    tags = {
        256: (width,),
        257: (height,),
        258: (8,),
        259: (1,),
        262: (1,),
        273: (8,),
        277: (1,),
        278: (height,),
        279: (len(body),),
    } | tags
    start = 8 + len(body) + len(body) % 2
    table = 2 + 12 * len(tags) + 4
    entries, beyond = b"", b""
    for tag, values in sorted(tags.items()):
        kind, code = (4, "I") if max(values) > 65535 else (3, "H")
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", start + table + len(beyond))
            beyond += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    count = struct.pack(f"{order}H", len(tags))
    return head + body + b"\0" * (len(body) % 2) + count + entries + bytes(4) + beyond


def _tiff() -> Iterator[Case]:
    pixels, grey, alpha = colour(), _grey(), _alpha()
    wide, wide_colour = _wide(), _wide_colour()
    picture = Image.fromarray(pixels)
    for packing in (None, "tiff_lzw", "tiff_deflate", "packbits"):
        data = _saved(picture, "TIFF", compression=packing)
        yield Case(f"rgb_{packing or 'raw'}.tif", data, pixels, None)
    lossy = _saved(picture, "TIFF", compression="jpeg")
    yield Case("rgb_jpeg.tif", lossy, _plainly(lossy), None)
    bits = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
    data = _saved(bits, "TIFF", compression="group4")
    yield Case("one_bit_fax.tif", data, _as_colour((grey > 127) * 255), None)
    later = [Image.fromarray(pixels[::-1].copy())]
    data = _saved(picture, "TIFF", save_all=True, append_images=later)
    yield Case("two_pages.tif", data, pixels, None)
    yield Case("big.tif", _saved(picture, "TIFF", big_tiff=True), pixels, None)
    yield Case("trailing_garbage.tif", tiff(grey.tobytes(), {}) + b"x" * 99, _as_colour(grey), None)
    yield Case("inverted_grey.tif", tiff(grey.tobytes(), {262: (0,)}), _as_colour(255 - grey), None)
    for order in "<>":
        name = "little" if order == "<" else "big"
        body = wide.astype(f"{order}u2").tobytes()
        data = tiff(body, {258: (16,)}, order=order)
        yield Case(f"grey_16_bit_{name}.tif", data, _as_colour(wide >> 8), None)
        body = wide_colour.astype(f"{order}u2").tobytes()
        data = tiff(body, {258: (16,) * 3, 262: (2,), 277: (3,)}, order=order)
        yield Case(f"rgb_16_bit_{name}.tif", data, (wide_colour >> 8).astype("u1"), None)
    data = tiff(wide.astype("<u2").tobytes(), {258: (16,), 262: (0,)})
    yield Case("inverted_grey_16_bit.tif", data, _as_colour(255 - (wide >> 8)), None)
    twelve = wide[:, :50] >> 4
    first, second = twelve[:, ::2], twelve[:, 1::2]
    packed = np.dstack([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
    data = tiff(packed.astype(np.uint8).tobytes(), {258: (12,)}, width=50)
    yield Case("grey_12_bit.tif", data, _as_colour(twelve >> 4), None)
    data = tiff(wide.astype("<u4").tobytes(), {258: (32,), 339: (1,)})
    yield Case("grey_32_bit.tif", data, _as_colour(wide >> 8), None)
    body = (wide >> 1).astype("<i2").tobytes()
    data = tiff(body, {258: (16,), 339: (2,)})
    yield Case("grey_16_bit_signed.tif", data, _as_colour(wide >> 9), None)
    scaled = (grey / 255).astype("<f4")
    data = tiff(scaled.tobytes(), {258: (32,), 339: (3,)})
    yield Case("float.tif", data, _as_colour(grey), None)
    data = tiff(np.dstack([pixels, alpha]).tobytes(), _four(2, (338, 2)))
    yield Case("rgba.tif", data, _on_white(pixels, alpha), None)
    data = tiff(np.dstack([pixels, alpha]).tobytes(), _four(2, (338, 0)))
    yield Case("rgb_unused_fourth.tif", data, pixels, None)
    sharp = (alpha > 99).astype(np.uint8)
    body = np.dstack([pixels * sharp[:, :, None], sharp * 255]).tobytes()
    data = tiff(body, _four(2, (338, 1)))
    yield Case("rgba_premultiplied.tif", data, _on_white(pixels, sharp * 255), None)
    inks = np.dstack([pixels, grey // 3])
    yield Case("cmyk.tif", tiff(inks.tobytes(), _four(5)), _from_inks(inks), None)
    palette = np.random.default_rng(6).integers(0, 256, (256, 3))
    data = tiff(grey.tobytes(), {262: (3,), 320: tuple(int(v) * 257 for v in palette.T.flat)})
    yield Case("palette.tif", data, palette[grey].astype(np.uint8), None)


def _four(colours: int, *more: tuple[int, int]) -> dict[int, tuple[int, ...]]:
    tags: dict[int, tuple[int, ...]] = {258: (8,) * 4, 262: (colours,), 277: (4,)}
    return tags | {tag: (value,) for tag, value in more}


def _tiff_refused() -> Iterator[Case]:
    grey = _grey()
    body = grey.tobytes()
    floats = (grey / 100).astype("<f4")
    yield Case("float_bright.tif", tiff(floats.tobytes(), {258: (32,), 339: (3,)}), None, "0..1")
    floats[3, 3] = np.nan
    data = tiff((floats / 3).tobytes(), {258: (32,), 339: (3,)})
    yield Case("float_nan.tif", data, None, "0..1")
    data = tiff((grey.astype("<u4") << 20).tobytes(), {258: (32,), 339: (1,)})
    yield Case("integers_too_large.tif", data, None, "0..65535")
    data = tiff((-grey.astype("<i2")).tobytes(), {258: (16,), 339: (2,)})
    yield Case("integers_negative.tif", data, None, "0..65535")
    yield Case("signed_bytes.tif", tiff(body, {339: (2,)}), None, "signed")
    lab = tiff(colour().tobytes(), {258: (8,) * 3, 262: (8,), 277: (3,)})
    yield Case("lab.tif", lab, None, "LAB")
    yield Case("raw_camera.tif", tiff(body, {50706: (1, 4)}), None, "raw")
    yield Case("thumbnail_first.tif", tiff(body, {254: (1,)}), None, "thumbnail")
    yield Case("unknown_packing.tif", tiff(body, {259: (9999,)}), None, "damaged")
    yield Case("no_size.tif", tiff(body, {256: (0,)}), None, "damaged")
    yield Case("far_table.tif", b"II*\0\xff\xff\xff\x7f" + body, None, "truncated")
    yield Case("far_strip.tif", tiff(body, {273: (2**31 - 1,)}), None, "truncated")
    yield Case("no_tags.tif", b"II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(20), None, "damaged")
    circle = bytearray(tiff(body, {}))
    start = struct.unpack("<I", circle[4:8])[0]
    count = struct.unpack("<H", circle[start : start + 2])[0]
    after = start + 2 + 12 * count
    circle[after : after + 4] = struct.pack("<I", start)
    yield Case("circle_of_pages.tif", bytes(circle), _as_colour(grey), None)


# Cut short, and far too large


def _truncations() -> Iterator[Case]:
    picture = Image.fromarray(colour())
    files = {
        "png": _saved(picture, "PNG"),
        "jpg": _saved(picture, "JPEG", quality=92),
        "progressive.jpg": _saved(picture, "JPEG", quality=92, progressive=True),
        "webp": _saved(picture, "WEBP", lossless=True),
        "lossy.webp": _saved(picture, "WEBP", quality=90),
        "gif": _saved(picture.quantize(64), "GIF"),
        "bmp": _saved(picture, "BMP"),
        "tif": _saved(picture, "TIFF"),
        "lzw.tif": _saved(picture, "TIFF", compression="tiff_lzw"),
    }
    for suffix, data in files.items():
        for percent in (5, 20, 40, 60, 80, 95):
            cut = data[: len(data) * percent // 100]
            yield Case(f"cut_at_{percent}_percent.{suffix}", cut, None, "truncated")
        whole = _plainly(data)
        for missing in (1, 2, 3, 5, 8, 13):
            cut = data[:-missing]
            yield Case(f"cut_by_{missing}_bytes.{suffix}", cut, whole, "truncated")
        zeroed = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
        if suffix in ("png", "jpg", "progressive.jpg", "gif", "lzw.tif"):  # others cannot know
            yield Case(f"second_half_zero.{suffix}", zeroed, None, "")


def _too_large() -> Iterator[Case]:
    pixels = colour()
    plain = png(pixels)
    for side in (60_000, 2**31 - 1):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        data = plain[:8] + _chunk(b"IHDR", header) + plain[33:]
        yield Case(f"size_{side}.png", data, None, "over the limit")
    jpeg = _saved(Image.fromarray(pixels), "JPEG")
    header_at = jpeg.index(b"\xff\xc0") + 5
    data = jpeg[:header_at] + struct.pack(">HH", 65_500, 65_500) + jpeg[header_at + 4 :]
    yield Case("size_65500.jpg", data, None, "over the limit")
    gif = _saved(Image.fromarray(_grey()), "GIF")
    data = gif[:6] + struct.pack("<HH", 65_535, 65_535) + gif[10:]
    yield Case("size_65535.gif", data, None, "over the limit")
    bmp = _saved(Image.fromarray(pixels), "BMP")
    data = bmp[:18] + struct.pack("<ii", 90_000, 90_000) + bmp[26:]
    yield Case("size_90000.bmp", data, None, "over the limit")
    data = tiff(_grey().tobytes(), {256: (90_000,), 257: (90_000,)})
    yield Case("size_90000.tif", data, None, "over the limit")
    flat = Image.fromarray(np.dstack([pixels, _alpha()]))
    webp = _saved(flat, "WEBP", save_all=True, append_images=[flat.rotate(180)])
    assert webp[12:16] == b"VP8X"
    side = (16_383 - 1).to_bytes(3, "little")
    yield Case("size_16383.webp", webp[:24] + side + side + webp[30:], None, "")
