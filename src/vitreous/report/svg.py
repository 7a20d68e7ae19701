"""A drawing as clean SVG: text stays text, groups keep their names, pictures are data inside the file."""

from base64 import b64encode
from html import escape
from io import BytesIO

from PIL import Image

from vitreous.report.marks import Box, Drawing, Group, Mark, Outline, Palette, Photo, Run, Words

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_VARIABLES = {
    value: f"var(--{name.lower()})" for name, value in vars(Palette).items() if not name.startswith("_")
}
_SMALL = 0.72  # of the size, for what is raised or lowered


def write_svg(drawing: Drawing, *, themed: bool) -> str:
    """A drawing -> one ``<svg>`` element with viewBox, title and description."""
    writer = _Writer(themed)
    size = f"{_number(drawing.width)} {_number(drawing.height)}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}"'
        f' width="{_number(drawing.width)}" height="{_number(drawing.height)}" role="img"'
        ' xml:space="preserve"'  # two spaces between pieces of text stay two
        f' font-family="{escape(FONTS)}">'
    )
    lines = [head, "<!-- vitreous -->", f"<title>{_clean(drawing.title)}</title>"]
    if drawing.description:
        lines.append(f"<desc>{_clean(drawing.description)}</desc>")
    if drawing.paper is not None and not themed:
        lines.append(f'<rect width="100%" height="100%" fill="{drawing.paper}"/>')
    for mark in drawing.marks:
        lines.extend(writer.write(mark))
    return "\n".join([*lines, "</svg>"]) + "\n"


def data_address(image: Image.Image, *, lossy: bool = False) -> str:
    """A picture as a ``data:`` address: PNG, or JPEG where it may be ``lossy``."""
    stream = BytesIO()
    if lossy:
        image.convert("RGB").save(stream, format="JPEG", quality=86, optimize=True)
    else:
        image.save(stream, format="PNG", optimize=True)
    kind = "jpeg" if lossy else "png"
    return f"data:image/{kind};base64,{b64encode(stream.getvalue()).decode()}"


class _Writer:
    def __init__(self, themed: bool) -> None:
        self.themed = themed

    def write(self, mark: Mark) -> list[str]:
        if isinstance(mark, Group):
            inside = [line for part in mark.marks for line in self.write(part)]
            return [f'<g data-name="{_clean(mark.name)}">', *inside, "</g>"]
        if isinstance(mark, Box):
            return [self._box(mark)]
        if isinstance(mark, Outline):
            return [self._path(mark)]
        if isinstance(mark, Words):
            return [self._words(mark)]
        return [self._photo(mark)]

    def colour(self, value: str | None) -> str:
        if value is None:
            return "none"
        return _VARIABLES.get(value, value) if self.themed else value

    def _box(self, box: Box) -> str:
        place = f'x="{_number(box.x)}" y="{_number(box.y)}"'
        size = f'width="{_number(box.width)}" height="{_number(box.height)}"'
        more = f' rx="{_number(box.radius)}"' if box.radius else ""
        more += f' fill-opacity="{_number(box.opacity)}"' if box.opacity != 1 else ""
        return f"<rect {place} {size} {self._paint(box.fill, box.stroke, box.thickness)}{more}/>"

    def _path(self, path: Outline) -> str:
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in path.points)
        kind = "polygon" if path.closed else "polyline"
        more = f' stroke-dasharray="{_number(path.dash[0])} {_number(path.dash[1])}"' if path.dash else ""
        if not path.closed:
            more += ' stroke-linejoin="round" stroke-linecap="round"'
        return f'<{kind} points="{places}" {self._paint(path.fill, path.stroke, path.thickness)}{more}/>'

    def _words(self, words: Words) -> str:
        place = f'x="{_number(words.x)}" y="{_number(words.y)}"'
        more = f' text-anchor="{words.anchor}"' if words.anchor != "start" else ""
        if words.turn:
            more += f' transform="rotate({_number(words.turn)} {_number(words.x)} {_number(words.y)})"'
        if words.halo is not None:
            width = _number(max(1.5, words.size * 0.22))
            more += (
                f' stroke="{self.colour(words.halo)}" stroke-width="{width}"'
                ' stroke-linejoin="round" paint-order="stroke"'
            )
        if len(words.runs) == 1 and words.runs[0].bold and not words.runs[0].shift:
            more += ' font-weight="600"'
            inside = _clean(words.runs[0].words)
        else:
            inside = self._runs(words.runs, words.size)
        style = f'font-size="{_number(words.size)}" fill="{self.colour(words.fill)}"'
        return f"<text {place} {style}{more}>{inside}</text>"

    def _runs(self, runs: tuple[Run, ...], size: float) -> str:
        parts = []
        back = 0.0  # the baseline has to be found again after a raised or lowered piece
        for run in runs:
            move = {"": 0.0, "sub": 0.22 * size, "super": -0.36 * size}[run.shift]
            style = f' font-size="{_number(_SMALL * size)}"' if run.shift else ""
            style += f' dy="{_number(move - back)}"' if move != back else ""
            style += ' font-weight="600"' if run.bold else ""
            style += ' font-style="italic"' if run.italic else ""
            parts.append(f"<tspan{style}>{_clean(run.words)}</tspan>" if style else _clean(run.words))
            back = move
        return "".join(parts)

    def _photo(self, photo: Photo) -> str:
        place = f'x="{_number(photo.x)}" y="{_number(photo.y)}"'
        size = f'width="{_number(photo.width)}" height="{_number(photo.height)}"'
        more = ' image-rendering="pixelated"' if photo.pixelated else ""
        large = photo.image.width * photo.image.height > 128 * 128
        address = data_address(photo.image, lossy=large and not photo.pixelated)
        return f'<image {place} {size} preserveAspectRatio="none"{more} href="{address}"/>'

    def _paint(self, fill: str | None, stroke: str | None, thickness: float) -> str:
        paint = f'fill="{self.colour(fill)}"'
        if stroke is not None:
            paint += f' stroke="{self.colour(stroke)}" stroke-width="{_number(thickness)}"'
        return paint


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _clean(words: str) -> str:
    """Text for XML: escaped, and without the control characters that XML cannot hold."""
    return escape("".join(letter for letter in words if letter >= " " or letter in "\t\n"))
