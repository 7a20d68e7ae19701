"""A drawing as pixels: PIL's drawing at twice the size, made smooth by halving it.

The one font is the scalable one that comes with PIL, so a figure looks the same on every machine. It knows
Latin letters only: signs that it lacks are written with the nearest ones that it has.
"""

from functools import lru_cache
from io import BytesIO
from itertools import pairwise
from math import hypot
from unicodedata import combining, normalize

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from vitreous.report.marks import Box, Drawing, Group, Mark, Outline, Photo, Words

_FINER = 2
_SMALL = 0.72
_PLAIN = str.maketrans(
    {
        "×": "x",
        "–": "-",
        "—": "-",
        "−": "-",
        "→": ">",
        "ℝ": "R",
        "∈": "in",
        "⋯": "...",
        "“": '"',
        "”": '"',
        "’": "'",
        "·": "·",
    }
)


def png_bytes(image: Image.Image, *, small: bool = True) -> bytes:
    """A picture as the bytes of a PNG file that names its maker; not as ``small`` as can be, it is written
    several times faster."""
    stream, maker = BytesIO(), PngInfo()
    maker.add_text("Software", "vitreous")
    image.save(stream, format="PNG", optimize=small, pnginfo=maker)
    return stream.getvalue()


def draw(drawing: Drawing, scale: float) -> Image.Image:
    """A drawing -> an RGB picture of ``scale`` pixels to a unit."""
    size = (max(1, round(drawing.width * scale)), max(1, round(drawing.height * scale)))
    paper = drawing.paper or "#ffffff"
    large = Image.new("RGB", (size[0] * _FINER, size[1] * _FINER), paper)
    painter = _Painter(large, scale * _FINER, paper)
    for mark in drawing.marks:
        painter.paint(mark)
    return large.resize(size, Image.Resampling.BOX)


class _Painter:
    def __init__(self, image: Image.Image, scale: float, paper: str) -> None:
        self.image = image
        self.scale = scale
        self.paper = paper
        self.pen = ImageDraw.Draw(image)

    def paint(self, mark: Mark) -> None:
        if isinstance(mark, Group):
            for part in mark.marks:
                self.paint(part)
        elif isinstance(mark, Box):
            self._box(mark)
        elif isinstance(mark, Outline):
            self._path(mark)
        elif isinstance(mark, Words):
            self._words(mark)
        else:
            self._photo(mark)

    def _box(self, box: Box) -> None:
        # PIL draws an outline inside; SVG draws it half outside.
        out = box.thickness / 2 if box.stroke else 0.0
        corners = (box.x - out, box.y - out, box.x + box.width + out, box.y + box.height + out)
        left, top, right, bottom = (value * self.scale for value in corners)
        fill = box.fill if box.fill is None else _mixed(box.fill, self.paper, box.opacity)
        if right - left < 1 or bottom - top < 1:
            return
        self.pen.rounded_rectangle(
            (left, top, right - 1, bottom - 1),
            radius=(box.radius + out) * self.scale if box.radius else 0,
            fill=fill,
            outline=box.stroke,
            width=self._width(box.thickness) if box.stroke else 0,
        )

    def _path(self, path: Outline) -> None:
        points = [(x * self.scale, y * self.scale) for x, y in path.points]
        width = self._width(path.thickness)
        if path.closed:
            self.pen.polygon(points, fill=path.fill, outline=path.stroke, width=width)
        elif path.dash is None:
            self.pen.line(points, fill=path.stroke, width=width, joint="curve")
        else:
            on, off = (part * self.scale for part in path.dash)
            for start, end in _dashes(points, on, off):
                self.pen.line([start, end], fill=path.stroke, width=width)

    def _words(self, words: Words) -> None:
        size = words.size * self.scale
        pieces = []
        for run in words.runs:
            font = _font(round(size * (_SMALL if run.shift else 1.0), 1))
            letters = _writable(run.words)
            move = {"": 0.0, "sub": 0.22, "super": -0.36}[run.shift] * size
            pieces.append((letters, font, move, run.bold, font.getlength(letters)))
        total = sum(length for *_, length in pieces)
        shift = {"start": 0.0, "middle": total / 2, "end": total}[words.anchor]
        x, y = words.x * self.scale, words.y * self.scale
        if not words.turn:
            self._letters(self.pen, (x - shift, y), pieces, words)
            return
        # Turned text is written on a sheet of its own whose centre is the place that it turns around.
        side = int(total + 2 * size) + 1
        sheet = Image.new("L", (2 * side, 2 * side), 0)
        self._letters(ImageDraw.Draw(sheet), (side - shift, side), pieces, words, fill=255)
        turned = sheet.rotate(-words.turn, resample=Image.Resampling.BICUBIC)
        corner = (round(x) - side, round(y) - side)
        self.image.paste(words.fill, (*corner, corner[0] + 2 * side, corner[1] + 2 * side), turned)

    def _letters(
        self,
        pen: ImageDraw.ImageDraw,
        start: tuple[float, float],
        pieces: list[tuple[str, ImageFont.FreeTypeFont, float, bool, float]],
        words: Words,
        fill: str | int | None = None,
    ) -> None:
        x, y = start
        thick = words.size * self.scale
        for letters, font, move, bold, length in pieces:
            colour = words.fill if fill is None else fill
            place = (x, y + move)
            if words.halo is not None:
                halo = max(1, round(thick * 0.08))
                pen.text(place, letters, font=font, anchor="ls", fill=words.halo, stroke_width=halo)
            # The font has one weight; a stroke of its own colour makes it bolder.
            stroke = max(1, round(thick * 0.022)) if bold else 0
            pen.text(place, letters, font=font, anchor="ls", fill=colour, stroke_width=stroke)
            x += length

    def _photo(self, photo: Photo) -> None:
        left, top = round(photo.x * self.scale), round(photo.y * self.scale)
        right = round((photo.x + photo.width) * self.scale)
        bottom = round((photo.y + photo.height) * self.scale)
        size = (max(1, right - left), max(1, bottom - top))
        method = Image.Resampling.NEAREST if photo.pixelated else Image.Resampling.LANCZOS
        self.image.paste(photo.image.convert("RGB").resize(size, method), (left, top))

    def _width(self, thickness: float) -> int:
        return max(1, round(thickness * self.scale))


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("PIL was built without FreeType")
    return font


def _writable(words: str) -> str:
    plain = words.translate(_PLAIN)
    return "".join(letter for letter in normalize("NFKD", plain) if not combining(letter))


def _mixed(colour: str, paper: str, opacity: float) -> str:
    if opacity >= 1:
        return colour
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(paper[1:]), strict=True)
    return "#" + bytes(round(over * opacity + under * (1 - opacity)) for over, under in pairs).hex()


def _dashes(
    points: list[tuple[float, float]], on: float, off: float
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    found = []
    for (x1, y1), (x2, y2) in pairwise(points):
        length = hypot(x2 - x1, y2 - y1)
        at = 0.0
        while at < length:
            ends = [min(at, length) / length, min(at + on, length) / length]
            start, end = ((x1 + (x2 - x1) * part, y1 + (y2 - y1) * part) for part in ends)
            found.append((start, end))
            at += on + off
    return found
