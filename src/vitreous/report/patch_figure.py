"""The patch-embedding figure: picture -> numbered patches -> flattened vectors -> tokens.

It draws arXiv:2010.11929, eq. 1, with a real picture's own pixels:
z_0 = [x_class; x_p^1 E; x_p^2 E; ...; x_p^N E] + E_pos.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from vitreous.errors import ConfigError
from vitreous.report.canvas import Canvas
from vitreous.report.marks import Palette, Run

WIDTH, HEIGHT = 1240.0, 812.0
LEFT, GRID_SIDE = 44.0, 404.0
STEPS = 494.0  # where the names of the steps stand
FLOW, STEP = 646.0, 62.0  # where the sequence begins, and from one of its columns to the next
GREY = (128, 128, 128)
_CHANNELS = (  # how a value of 0 and one of 255 look, for red, green and blue
    ((46, 8, 10), (255, 128, 112)),
    ((5, 38, 18), (126, 226, 136)),
    ((10, 16, 62), (132, 178, 255)),
)


class _Cut(NamedTuple):
    """A picture that has been cut: its pixels, whole patches only, and what it is a cut of."""

    image: Image.Image
    patch: int
    rows: int
    cols: int
    size: tuple[int, int]  # (height, width) before padding

    @property
    def total(self) -> int:
        return self.rows * self.cols

    @property
    def length(self) -> int:
        return 3 * self.patch * self.patch

    @property
    def coarse(self) -> bool:
        return max(self.size) <= 64

    def one(self, number: int) -> Image.Image:
        """Patch ``number``, counted from 1 as in the paper."""
        row, col = divmod(number - 1, self.cols)
        side = self.patch
        return self.image.crop((col * side, row * side, (col + 1) * side, (row + 1) * side))


def patch_figure(
    picture: Image.Image, patch: int = 16, size: tuple[int, int] = (224, 224), width: int = 768
) -> Canvas:
    """How a ViT of ``width`` dimensions reads a picture of ``size`` (height, width) in patches.

    The middle of the picture is cut out and resized to ``size``; sides that are no multiple of the patch
    are padded with grey, as the model pads with the mean colour.

    Raises:
        ConfigError: a patch larger than the picture, or below 1 pixel.
    """
    cut = _cut(picture, patch, size)
    height, across = size
    canvas = Canvas(
        WIDTH,
        HEIGHT,
        title=f"How a Vision Transformer reads a picture: {cut.total} patches of {patch} x {patch} pixels",
        description=(
            f"A picture of {across} by {height} pixels is cut into {cut.rows} rows and {cut.cols} columns of"
            f" patches. Each patch is flattened into {cut.length} numbers and multiplied with the matrix E,"
            f" which gives a token of {width} dimensions. A class token is put in front and a position"
            f" embedding is added to each of the {cut.total + 1} tokens: equation 1 of arXiv:2010.11929."
        ),
    )
    canvas.text(LEFT, 52, "A picture is read as words", size=25, bold=True)
    words = (
        f"{across} × {height} pixels, patches of {patch} × {patch}: a sentence of {cut.total} words and [CLS]"
    )
    canvas.text(LEFT, 76, words, size=14, fill=Palette.MUTED)
    _picture(canvas, cut)
    _grid(canvas, cut)
    _flow(canvas, cut, width)
    _equation(canvas, cut, width)
    return canvas


def _cut(picture: Image.Image, patch: int, size: tuple[int, int]) -> _Cut:
    height, across = size
    if patch < 1:
        raise ConfigError(f"a patch must be 1 pixel or more, got {patch}")
    if patch > min(size):
        raise ConfigError(
            f"patch {patch} is larger than the picture of {height}x{across} pixels;"
            " wanted a smaller patch or a larger picture"
        )
    method = Image.Resampling.NEAREST if picture.size == (across, height) else Image.Resampling.BICUBIC
    fitted = ImageOps.fit(picture.convert("RGB"), (across, height), method)
    rows, cols = -(-height // patch), -(-across // patch)
    whole = Image.new("RGB", (cols * patch, rows * patch), GREY)
    whole.paste(fitted, (0, 0))
    return _Cut(whole, patch, rows, cols, size)


def _heading(
    canvas: Canvas, x: float, y: float, number: int, name: str, shape: Sequence[Run], *, below: bool = False
) -> None:
    """A numbered step, and beside or below its name the shape that comes out of it."""
    canvas.box(x, y - 15, 20, 20, fill=Palette.ACCENT, radius=10)
    canvas.text(x + 10, y - 0.5, str(number), size=12, fill=Palette.PAPER, anchor="middle", bold=True)
    name_run = Run(name, bold=True)
    canvas.text(x + 29, y, [name_run] if below else [name_run, Run("   "), *shape], size=13.5)
    if below:
        canvas.text(x + 29, y + 19, shape, size=12, fill=Palette.MUTED)


def _picture(canvas: Canvas, cut: _Cut) -> None:
    height, across = cut.size
    with canvas.group("picture"):
        shape = [Run("x", italic=True, bold=True), Run(f" :  {height} × {across} × 3")]
        _heading(canvas, LEFT, 122, 1, "Picture", shape)
        scale = 180 / max(height, across)
        wide, tall = across * scale, height * scale
        left = LEFT + 30 if wide < 180 else LEFT
        shown = cut.image.crop((0, 0, across, height))
        canvas.picture(left, 138, wide, tall, shown, pixelated=cut.coarse)
        canvas.box(left, 138, wide, tall, stroke=Palette.LINE)
        with canvas.group("scissors"):
            middle = 138 + tall / 2
            canvas.text(left + wide + 30, middle - 22, f"cut every {cut.patch} pixels:", size=13)
            canvas.text(
                left + wide + 30, middle, f"{cut.rows} rows × {cut.cols} columns", size=13, fill=Palette.MUTED
            )
            canvas.arrow((left + wide + 30, middle + 22), (left + wide + 30, middle + 74), head=8)


def _grid(canvas: Canvas, cut: _Cut) -> None:
    with canvas.group("patches"):
        product = f"{cut.rows} × {cut.cols} = {cut.total}"
        if cut.image.size == (cut.size[1], cut.size[0]):
            shape = [
                Run("N", italic=True),
                Run(" = "),
                Run("HW / P", italic=True),
                Run("2", "super"),
                Run(" = " + product),
            ]
        else:
            shape = [Run("N", italic=True), Run(f" = {product}, padded at the edge")]
        _heading(canvas, LEFT, 352, 2, "Patches", shape)
        gap = 3.0 if max(cut.rows, cut.cols) <= 20 else 1.5
        cell = (GRID_SIDE - gap * (max(cut.rows, cut.cols) - 1)) / max(cut.rows, cut.cols)
        digits = len(str(cut.total))
        letters = min(15.0, cell * 0.74 / (0.62 * digits))
        every = letters >= 6.2  # below that nobody reads the numbers; then one for each row
        for row in range(cut.rows):
            for col in range(cut.cols):
                number = row * cut.cols + col + 1
                x, y = LEFT + col * (cell + gap), 368 + row * (cell + gap)
                canvas.picture(x, y, cell, cell, cut.one(number), pixelated=cut.coarse)
                if every:
                    # A large patch has its number in the corner, so that its middle can be seen.
                    large = cell > 44
                    place = (x + 5, y + 17) if large else (x + cell / 2, y + cell / 2 + letters * 0.36)
                    canvas.text(
                        *place,
                        str(number),
                        size=letters,
                        fill="#ffffff",
                        anchor="start" if large else "middle",
                        halo="#1b2028",
                    )
            if not every and row % max(1, cut.rows // 14) == 0:
                y = 368 + row * (cell + gap) + cell / 2
                number = row * cut.cols + 1
                canvas.text(LEFT - 4, y + 3, str(number), size=7.5, fill=Palette.MUTED, anchor="end")


def _columns(cut: _Cut) -> list[int | None]:
    """The patches that are shown, in eight columns: None stands for those that are left out."""
    if cut.total <= 8:
        return list(range(1, cut.total + 1))
    return [1, 2, 3, 4, 5, None, cut.total - 1, cut.total]


def _flow(canvas: Canvas, cut: _Cut, width: int) -> None:
    columns = _columns(cut)
    places = [FLOW + STEP * (index + 1) for index in range(len(columns))]  # the first place is [CLS]'s
    end = places[-1] + 46
    shown = [(x, number) for x, number in zip(places, columns, strict=True) if number is not None]

    with canvas.group("sequence"):
        _heading(canvas, STEPS, 156, 3, "Sequence", [Run("row by row")], below=True)
        for x, number in shown:
            canvas.picture(x, 138, 46, 46, cut.one(number), pixelated=cut.patch <= 24)
            canvas.box(x, 138, 46, 46, stroke=Palette.LINE)
            canvas.text(x + 23, 200, str(number), size=11, fill=Palette.MUTED, anchor="middle")
            canvas.arrow((x + 23, 207), (x + 23, 231))
        _dots(canvas, columns, places, 165)

    with canvas.group("flatten"):
        shape = [
            Run("P", italic=True),
            Run("2", "super"),
            Run("C", italic=True),
            Run(f" = {cut.length} numbers"),
        ]
        _heading(canvas, STEPS, 280, 4, "Flatten", shape, below=True)
        canvas.text(STEPS + 29, 317, f"{cut.patch} × {cut.patch} × 3 colours", size=12, fill=Palette.MUTED)
        for x, number in shown:
            canvas.picture(x + 10, 235, 26, 126, strip(cut.one(number)), pixelated=cut.patch <= 4)
            canvas.box(x + 10, 235, 26, 126, stroke=Palette.LINE)
            canvas.arrow((x + 23, 366), (x + 23, 390))
        for name, at in (("R", 256), ("G", 298), ("B", 340)):
            canvas.text(places[0] + 3, at + 4, name, size=10, fill=Palette.MUTED, anchor="end")
        _dots(canvas, columns, places, 300)

    with canvas.group("project"):
        _heading(
            canvas, STEPS, 408, 5, "Project", [Run("flattened patch · "), Run("E", bold=True)], below=True
        )
        wide = end - places[0] + 16
        canvas.box(places[0] - 8, 394, wide, 38, fill=Palette.GROUND, stroke=Palette.LINE, radius=8)
        runs = [Run("E", bold=True), Run(f" :  {cut.length} × {width}, one matrix for all patches")]
        canvas.text((places[0] + end) / 2, 418, runs, size=13, anchor="middle")
        for x, _ in shown:
            canvas.arrow((x + 23, 437), (x + 23, 461))

    _tokens(canvas, cut, width, columns, places)


def _tokens(
    canvas: Canvas, cut: _Cut, width: int, columns: Sequence[int | None], places: Sequence[float]
) -> None:
    slots = [(FLOW, 0), *((x, number) for x, number in zip(places, columns, strict=True) if number)]
    with canvas.group("tokens"):
        shape = [Run(f"{cut.total + 1} × {width}")]
        _heading(canvas, STEPS, 479, 6, "[CLS] in front", shape, below=True)
        for x, number in slots:
            if number == 0:
                canvas.box(x, 465, 46, 34, fill=Palette.ACCENT, radius=7)
                canvas.text(x + 23, 486, "[CLS]", size=11.5, fill="#ffffff", anchor="middle", bold=True)
                continue
            canvas.box(x, 465, 46, 34, fill="#e3e9fc", stroke="#b9c6f3", radius=7)
            runs = [Run("x", italic=True), Run(str(number), "super"), Run("E", bold=True)]
            canvas.text(x + 23, 487, runs, size=13, anchor="middle")
        _dots(canvas, columns, places, 486)
    with canvas.group("positions"):
        shape = [Run("E", bold=True), Run("pos", "sub"), Run(" says where")]
        _heading(canvas, STEPS, 539, 7, "Add positions", shape, below=True)
        for x, number in slots:
            canvas.text(x + 23, 519, "+", size=16, fill=Palette.MUTED, anchor="middle")
            canvas.box(x + 3, 527, 40, 28, fill="#fdf0e4", stroke="#f0cda9", radius=14)
            canvas.text(x + 23, 545.5, str(number), size=12, fill=Palette.WARM, anchor="middle")
            canvas.arrow((x + 23, 560), (x + 23, 584))
        _dots(canvas, columns, places, 546)
    with canvas.group("z0"):
        canvas.text(STEPS + 29, 602, [Run("z", italic=True, bold=True), Run("0", "sub")], size=14)
        canvas.text(STEPS + 29, 622, [Run(f"{cut.total + 1} × {width}")], size=12, fill=Palette.MUTED)
        for x, number in slots:
            fill = Palette.ACCENT if number == 0 else "#e3e9fc"
            canvas.box(x, 588, 46, 34, fill=fill, stroke="#f0a35e", thickness=2, radius=7)
            colour = "#ffffff" if number == 0 else Palette.INK
            canvas.text(x + 23, 609.5, str(number), size=12, fill=colour, anchor="middle", bold=True)
            canvas.arrow((x + 23, 627), (x + 23, 651))
        _dots(canvas, columns, places, 609)
        wide = places[-1] + 46 - FLOW + 16
        canvas.box(FLOW - 8, 655, wide, 34, fill=Palette.INK, radius=8)
        canvas.text(
            FLOW - 8 + wide / 2, 677, "Transformer encoder", size=13, fill=Palette.PAPER, anchor="middle"
        )


def _dots(canvas: Canvas, columns: Sequence[int | None], places: Sequence[float], y: float) -> None:
    for x, number in zip(places, columns, strict=True):
        if number is None:
            for step in (-9, 0, 9):
                canvas.box(x + 23 + step - 1.6, y - 6, 3.2, 3.2, fill=Palette.MUTED, radius=1.6)


def _equation(canvas: Canvas, cut: _Cut, width: int) -> None:
    with canvas.group("equation"):
        top = 710.0
        canvas.box(STEPS, top, WIDTH - STEPS - 44, 62, fill=Palette.GROUND, radius=10)
        runs = [
            *(Run("z", italic=True, bold=True), Run("0", "sub"), Run("  =  [ ")),
            *(Run("x", italic=True), Run("class", "sub"), Run(" ;  ")),
            *(Run("x", italic=True), Run("1", "super"), Run("E", bold=True), Run(" ;  ")),
            *(Run("x", italic=True), Run("2", "super"), Run("E", bold=True), Run(" ;  …  ;  ")),
            *(Run("x", italic=True), Run("N", "super"), Run("E", bold=True), Run(" ]  +  ")),
            *(Run("E", bold=True), Run("pos", "sub")),
        ]
        canvas.text(STEPS + 24, top + 28, runs, size=17)
        shapes = [
            *(Run("E", bold=True), Run(f" :  {cut.length} × {width}        ")),
            *(Run("E", bold=True), Run("pos", "sub"), Run(f" :  {cut.total + 1} × {width}        ")),
            Run("“An Image is Worth 16x16 Words”, equation 1"),
        ]
        canvas.text(STEPS + 24, top + 50, shapes, size=12, fill=Palette.MUTED)


def strip(patch: Image.Image) -> Image.Image:
    """A patch's numbers in the order of its vector, as a column of pixels: all red values, from dark to
    bright red, then the green ones, then the blue ones."""
    pixels = np.asarray(patch.convert("RGB"), dtype=np.float32) / 255
    parts = []
    for channel, (dark, bright) in enumerate(_CHANNELS):
        values = pixels[:, :, channel].reshape(-1, 1, 1)
        parts.append(np.array(dark) * (1 - values) + np.array(bright) * values)
    return Image.fromarray(np.rint(np.concatenate(parts)).astype(np.uint8))
