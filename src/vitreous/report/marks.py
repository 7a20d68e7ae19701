"""What a drawing is made of, as plain values, and the colours of every figure."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from PIL import Image

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


class Palette:
    """The colours of every figure. The names are those of the CSS variables of the pages."""

    PAPER = "#ffffff"
    GROUND = "#f4f5f7"
    LINE = "#d3d8df"
    MUTED = "#667080"
    INK = "#1b2028"
    ACCENT = "#3554d1"
    WARM = "#c2410c"
    LEAF = "#0f766e"
    PLUM = "#8b2fa0"


class Run(NamedTuple):
    """A piece of a line of text; ``shift`` raises ("super") or lowers ("sub") it and makes it small."""

    words: str
    shift: Literal["", "sub", "super"] = ""
    bold: bool = False
    italic: bool = False


@dataclass(frozen=True)
class Box:
    """A rectangle; ``opacity`` is of its fill."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None
    stroke: str | None
    thickness: float
    radius: float
    opacity: float


@dataclass(frozen=True)
class Outline:
    """Straight lines through points, open or closed and filled."""

    points: tuple[Point, ...]
    stroke: str | None
    fill: str | None
    thickness: float
    dash: tuple[float, float] | None
    closed: bool


@dataclass(frozen=True)
class Words:
    """One line of text. ``halo`` is a colour around the letters, for text on pictures."""

    x: float
    y: float
    runs: tuple[Run, ...]
    size: float
    fill: str
    anchor: Anchor
    halo: str | None
    turn: float


@dataclass(frozen=True)
class Photo:
    """A raster picture; ``pixelated`` keeps its pixels as squares."""

    x: float
    y: float
    width: float
    height: float
    image: Image.Image
    pixelated: bool


@dataclass(frozen=True)
class Group:
    """Marks that belong together: ``name`` is what an editor of the SVG sees."""

    name: str
    marks: list["Mark"]


Mark = Box | Outline | Words | Photo | Group


@dataclass
class Drawing:
    """All marks of a figure of ``width`` x ``height`` units, with what is said of it to those who do not
    see it. ``paper`` None leaves the ground open."""

    width: float
    height: float
    title: str
    description: str
    paper: str | None
    marks: list[Mark]
