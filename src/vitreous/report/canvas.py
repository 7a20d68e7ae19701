"""A small drawing surface: say once what is to be seen, take it as SVG text or as pixels.

Coordinates are in user units (pixels at scale 1), x to the right and y down; text sits on its baseline.
Colours are ``#rrggbb``. A figure made of the ``Palette``'s colours can be put into a page as SVG that
follows the page's light and dark.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from vitreous.errors import ConfigError
from vitreous.report.marks import Anchor, Box, Drawing, Group, Outline, Palette, Photo, Point, Run, Words
from vitreous.report.raster import draw, png_bytes
from vitreous.report.svg import write_svg


class Canvas(Drawing):
    """A figure of ``width`` x ``height`` units. ``title`` and ``description`` are for screen readers."""

    def __init__(
        self,
        width: float,
        height: float,
        *,
        title: str,
        description: str = "",
        paper: str | None = Palette.PAPER,
    ) -> None:
        super().__init__(width, height, title, description, paper, [])
        self._open = [self.marks]

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """Everything drawn inside belongs together."""
        inside = Group(name, [])
        self._open[-1].append(inside)
        self._open.append(inside.marks)
        try:
            yield
        finally:
            self._open.pop()

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        thickness: float = 1.0,
        radius: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """A rectangle with round corners of ``radius``."""
        self._open[-1].append(Box(x, y, width, height, fill, stroke, thickness, radius, opacity))

    def line(
        self,
        *points: Point,
        stroke: str = Palette.INK,
        thickness: float = 1.0,
        dash: tuple[float, float] | None = None,
    ) -> None:
        """Straight lines from point to point."""
        self._open[-1].append(Outline(points, stroke, None, thickness, dash, closed=False))

    def shape(self, *points: Point, fill: str, stroke: str | None = None) -> None:
        """A filled polygon."""
        self._open[-1].append(Outline(points, stroke, fill, 1.0, None, closed=True))

    def arrow(
        self,
        start: Point,
        end: Point,
        *,
        stroke: str = Palette.MUTED,
        thickness: float = 1.2,
        head: float = 5.0,
    ) -> None:
        """A line whose end is a filled triangle of ``head`` units."""
        across, down = end[0] - start[0], end[1] - start[1]
        length = (across * across + down * down) ** 0.5 or 1.0
        x, y = across / length, down / length
        neck = (end[0] - head * x, end[1] - head * y)
        wide = 0.55 * head
        self.line(start, neck, stroke=stroke, thickness=thickness)
        sides = [(neck[0] - wide * y, neck[1] + wide * x), (neck[0] + wide * y, neck[1] - wide * x)]
        self.shape(end, *sides, fill=stroke)

    def text(
        self,
        x: float,
        y: float,
        words: str | Sequence[Run],
        *,
        size: float = 12.0,
        fill: str = Palette.INK,
        anchor: Anchor = "start",
        bold: bool = False,
        halo: str | None = None,
        turn: float = 0.0,
    ) -> None:
        """A line of text whose baseline is at ``y``; ``turn`` degrees clockwise around (x, y)."""
        runs = (Run(words, bold=bold),) if isinstance(words, str) else tuple(words)
        self._open[-1].append(Words(x, y, runs, size, fill, anchor, halo, turn))

    def picture(
        self, x: float, y: float, width: float, height: float, image: Image.Image, *, pixelated: bool = False
    ) -> None:
        """A raster picture stretched over the given place."""
        self._open[-1].append(Photo(x, y, width, height, image, pixelated))

    def svg(self, *, themed: bool = False) -> str:
        """SVG text. ``themed``: the palette's colours are written as CSS variables of the page around."""
        return write_svg(self, themed=themed)

    def raster(self, scale: float = 2.0) -> Image.Image:
        """An RGB picture of ``scale`` pixels to a unit."""
        return draw(self, scale)

    def png(self, scale: float = 2.0) -> bytes:
        """The bytes of a PNG file of ``scale`` pixels to a unit."""
        return png_bytes(self.raster(scale))

    def encode(self, suffix: str) -> bytes:
        """The bytes of a file whose name ends in ``suffix``: ".svg" or ".png"."""
        if suffix.lower() == ".svg":
            return self.svg().encode()
        if suffix.lower() == ".png":
            return self.png()
        raise ConfigError(
            f"a figure cannot be written as {suffix or 'a file without suffix'!r}; wanted .svg or .png"
        )

    def save(self, path: str | Path) -> None:
        """Write a file; its suffix says which kind."""
        content = self.encode(Path(path).suffix)
        Path(path).write_bytes(content)
