"""Figures of results: confusion, calibration, precision beside recall, curves, and explanations side by
side."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil, floor, isfinite, log10
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from vitreous.errors import DataError
from vitreous.report.canvas import Canvas
from vitreous.report.marks import Palette
from vitreous.report.patch_figure import patch_figure as patch_figure  # offered here too

_COUNTED = 24  # classes; with more of them a cell is too small for its number
_LINES = (Palette.ACCENT, Palette.WARM, Palette.LEAF, Palette.PLUM)
_WIDE, _HIGH = 380.0, 310.0  # of a panel of curves
_MARGIN = 82.0  # to the left and the right of the frame in it
_ABREAST = 3
_DOTTED = 12  # a curve of at most so many points shows each of them
_NO_CURVES = ("epoch", "step", "skipped_steps")


def confusion_figure(matrix: ArrayLike, classes: Sequence[str], *, counted: str = "pictures") -> Canvas:
    """Counts (K, K), the truth in rows and the answer in columns -> a figure shaded by each row's shares.
    ``counted`` says of what; cells hold percent of their row where it is "pixels".

    What was right stands on the diagonal in blue, what was wrong beside it in orange.
    Raises DataError where the matrix is not K x K.
    """
    counts = np.asarray(matrix)
    size = len(classes)
    if counts.shape != (size, size):
        raise DataError(f"a confusion matrix of shape {counts.shape} does not fit {size} classes")
    cell = min(44.0, max(3.0, 560.0 / max(1, size)))
    letters = min(13.0, max(8.0, cell * 0.36))
    names = [_short(name, 18) for name in classes]
    step = max(1, ceil(11.0 / cell))  # with many classes only every so many names have room
    room = 14 + 0.62 * letters * max((len(name) for name in names), default=1)
    turned = room - 14 > cell * 0.9
    top = 66 + (room if turned else 24)
    side = cell * size
    wrong = int(counts.sum() - np.trace(counts))
    canvas = Canvas(
        max(300.0, 34 + room + side + 24),
        top + side + 24,
        title=f"Confusion matrix of {size} classes",
        description=f"{int(counts.sum())} {counted}, {wrong} of them answered wrongly. Rows are the truth.",
    )
    left = 34 + room
    canvas.text(left, 26, "Answer", size=13, bold=True)
    total = int(counts.sum())
    shares = f"{wrong / max(1, total):.1%} of {total:,} pixels"
    told = shares if counted == "pixels" else f"{wrong} of {total}"
    canvas.text(left, 44, f"{told} wrong", size=11.5, fill=Palette.MUTED)
    canvas.text(22, top + side / 2, "Truth", size=13, bold=True, anchor="middle", turn=-90)
    with canvas.group("classes"):
        for index in range(0, size, step):
            middle = (index + 0.5) * cell
            canvas.text(left - 8, top + middle + letters * 0.35, names[index], size=letters, anchor="end")
            if turned:
                x = left + middle + letters * 0.35
                canvas.text(x, top - 8, names[index], size=letters, turn=-90)
            else:
                canvas.text(left + middle, top - 8, names[index], size=letters, anchor="middle")
    parts = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    gap = 1.5 if cell >= 12 else 0.0
    with canvas.group("cells"):
        canvas.box(left, top, side, side, fill=Palette.GROUND)
        for row, col in np.argwhere(counts > 0):
            right = row == col
            share = float(parts[row, col])
            fill = Palette.ACCENT if right else Palette.WARM
            x, y = left + col * cell + gap / 2, top + row * cell + gap / 2
            # Even one wrong picture among hundreds has to be seen.
            opacity = share if right else 0.18 + 0.82 * share
            canvas.box(x, y, cell - gap, cell - gap, fill=fill, radius=2 * gap, opacity=opacity)
            if size <= _COUNTED:
                colour = "#ffffff" if opacity > 0.5 else Palette.INK
                words = _rounded(share) if counted == "pixels" else str(int(counts[row, col]))
                height = min(letters, cell * 1.5 / max(2, len(words)))
                foot = y + (cell - gap) / 2 + height * 0.36
                canvas.text(x + (cell - gap) / 2, foot, words, size=height, fill=colour, anchor="middle")
    return canvas


def reliability_figure(bins: Sequence[Mapping[str, Any]]) -> Canvas:
    """Rows of ``low, high, n, confidence, accuracy`` -> how often answers of some confidence were right.

    The dashed diagonal is perfect calibration; dots show it, larger for more pictures.
    """
    canvas = Canvas(
        430,
        360,
        title="Calibration: confidence beside accuracy",
        description="On the diagonal, answers given with 80% confidence are right in 80% of the cases.",
    )
    plot = _Plot(canvas, (62, 40, 340, 262), (0.0, 1.0), (0.0, 1.0))
    canvas.text(62, 24, "Right, by confidence", size=13, bold=True)
    plot.frame([0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], percent=True)
    canvas.text(232, 348, "confidence", size=11.5, fill=Palette.MUTED, anchor="middle")
    canvas.line(plot.at(0, 0), plot.at(1, 1), stroke=Palette.MUTED, dash=(5, 4))
    full = [row for row in bins if row["n"]]
    most = max((row["n"] for row in full), default=1)
    places = [plot.at(row["confidence"], row["accuracy"]) for row in full]
    if len(places) > 1:
        canvas.line(*places, stroke=Palette.ACCENT, thickness=1.6)
    for row, (x, y) in zip(full, places, strict=True):
        reach = 3.0 + 6.0 * (row["n"] / most) ** 0.5
        canvas.box(x - reach, y - reach, 2 * reach, 2 * reach, fill=Palette.ACCENT, radius=reach)
    return canvas


def precision_figure(result: Mapping[str, Any]) -> Canvas:
    """The ``precision_at_recall`` of ``detection_scores``: the mean over classes for each overlap, and in
    grey every class at an overlap of 0.5."""
    curves = {name: values for name, values in result["precision_at_recall"].items() if values}
    canvas = Canvas(
        430,
        392,
        title="Precision beside recall",
        description="Overlaps of " + ", ".join(curves) if curves else "Nothing to judge by.",
    )
    plot = _Plot(canvas, (62, 72, 340, 262), (0.0, 1.0), (0.0, 1.0))
    canvas.text(62, 24, "Precision, by recall", size=13, bold=True)
    plot.frame([0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], percent=True)
    canvas.text(232, 380, "recall", size=11.5, fill=Palette.MUTED, anchor="middle")
    own = [row["precision_at_recall"] for row in result["per_class"] if row["precision_at_recall"]]
    with canvas.group("classes"):
        for values in own if len(own) <= _COUNTED else ():
            canvas.line(*_along(plot, values), stroke=Palette.LINE, thickness=1.0)
    canvas.text(62, 50, "overlap of", size=11.5, fill=Palette.MUTED)
    for place, ((name, values), colour) in enumerate(zip(curves.items(), _LINES, strict=False)):
        canvas.line(*_along(plot, values), stroke=colour, thickness=1.8)
        x = 136 + 70 * place
        canvas.line((x, 46), (x + 16, 46), stroke=colour, thickness=2.4)
        canvas.text(x + 22, 50, name, size=11.5, fill=Palette.MUTED)
    return canvas


def _along(plot: "_Plot", values: Sequence[float]) -> list[tuple[float, float]]:
    return [plot.at(place / max(1, len(values) - 1), value) for place, value in enumerate(values)]


def curves_figure(rows: Sequence[Mapping[str, Any]]) -> Canvas:
    """Rows of a metrics log -> curves over epochs (or steps), what belongs together on panels of their own.

    A row is one moment: ``epoch`` or ``step`` and any numbers; a number that a row lacks leaves a gap.
    Names that hold "loss" or "error" share a panel, and so do "accuracy" and "rate", average precisions
    ("ap", "ap50") and those with "iou"; every other measure has its own. What guessing would have reached
    ("guessing ...") is dashed.
    """
    along = next((name for name in ("epoch", "step") if any(name in row for row in rows)), "row")
    panels = _panels(rows, along) or [("Loss", {})]
    abreast = 2 if len(panels) == 4 else min(_ABREAST, len(panels))
    wide = _WIDE if len(panels) != 4 else 1.5 * _WIDE  # two by two fill the same place as three
    keys = [_key(series, wide - _MARGIN) for _, series in panels]
    room = max((line for key in keys for _, line in key), default=0.0)  # for the key below its first line
    canvas = Canvas(
        wide * abreast + 20,
        (_HIGH + room) * ceil(len(panels) / abreast),
        title="Training curves",
        description=", ".join(f"{name}: {', '.join(series)}" for name, series in panels),
    )
    for index, ((name, series), key) in enumerate(zip(panels, keys, strict=True)):
        row, col = divmod(index, abreast)
        with canvas.group(name):
            corner = (68 + col * wide, row * (_HIGH + room))
            plot = _panel(canvas, (*corner, wide - _MARGIN, room), name, series, along)
            _lines(plot, (corner[0], corner[1] + 42), series, key)
    return canvas


def strip_figure(
    picture: Image.Image, overlays: Sequence[tuple[str, Image.Image]], *, side: float = 260
) -> Canvas:
    """A picture and the overlays of several methods in a row, each above its caption."""
    shown = [("picture", picture), *overlays]
    scale = side / max(picture.size)
    width, height = picture.width * scale, picture.height * scale
    canvas = Canvas(
        len(shown) * (width + 14) + 14,
        height + 52,
        title="What the model looked at",
        description="Beside the picture: " + ", ".join(caption for caption, _ in overlays),
    )
    for index, (caption, image) in enumerate(shown):
        x = 14 + index * (width + 14)
        canvas.picture(x, 14, width, height, image, pixelated=max(picture.size) <= 64)
        canvas.text(x + width / 2, height + 36, caption, size=13, anchor="middle")
    return canvas


class _Plot:
    """A frame with axes: numbers in, places on the canvas out."""

    def __init__(
        self,
        canvas: Canvas,
        place: tuple[float, float, float, float],
        across: tuple[float, float],
        up: tuple[float, float],
    ) -> None:
        self.canvas = canvas
        self.x, self.y, self.width, self.height = place
        self.across = across
        self.up = up

    def at(self, x: float, y: float) -> tuple[float, float]:
        part_x = (x - self.across[0]) / ((self.across[1] - self.across[0]) or 1)
        part_y = (y - self.up[0]) / ((self.up[1] - self.up[0]) or 1)
        return self.x + part_x * self.width, self.y + (1 - part_y) * self.height

    def frame(
        self, across: Sequence[float], up: Sequence[float], *, percent: bool = False, percent_up: bool = False
    ) -> None:
        for value in up:
            _, y = self.at(self.across[0], value)
            self.canvas.line((self.x, y), (self.x + self.width, y), stroke=Palette.LINE, thickness=0.8)
            words = f"{100 * value:.4g}%" if percent or percent_up else f"{value:.4g}"
            self.canvas.text(self.x - 8, y + 4, words, size=11, fill=Palette.MUTED, anchor="end")
        foot = self.y + self.height + 18
        for value in across:
            x, _ = self.at(value, self.up[0])
            words = f"{value:.0%}" if percent else f"{value:.6g}"
            self.canvas.text(x, foot, words, size=11, fill=Palette.MUTED, anchor="middle")


Series = dict[str, list[tuple[float, float]]]


def _panels(rows: Sequence[Mapping[str, Any]], along: str) -> list[tuple[str, Series]]:
    """What the rows hold as titles and curves; whatever belongs to no group stands alone."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in _NO_CURVES]
    groups: dict[str, list[str]] = {"Loss": [], "Accuracy": []}
    rates = []
    for name in names:
        if "loss" in name or "error" in name:
            groups["Loss"].append(name)
        elif "accuracy" in name:
            groups["Accuracy"].append(name)
        elif name in ("ap", "ap50", "ap75"):
            groups.setdefault("Average precision", []).append(name)
        elif "iou" in name:
            groups.setdefault("Intersection over union", []).append(name)
        elif name.endswith("rate"):
            rates.append(name)
        else:
            groups[name.replace("_", " ").capitalize()] = [name]
    groups["Learning rate"] = rates
    found = [(title, _series(rows, along, members)) for title, members in groups.items()]
    return [(title, series) for title, series in found if series]


def _series(rows: Sequence[Mapping[str, Any]], along: str, names: Sequence[str]) -> Series:
    found: Series = {}
    for name in names:
        points = [
            (float(row.get(along, index)), float(row[name]))
            for index, row in enumerate(rows)
            if _is_number(row.get(name)) and isfinite(row[name])
        ]
        if points:
            found[name.replace("_", " ")] = points
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(series: Series, width: float) -> list[tuple[float, float]]:
    """Where each curve's name stands, to the right of and below the first one's place."""
    places: list[tuple[float, float]] = []
    x, y = 0.0, 0.0
    for label in series:
        wide = 36 + 6.2 * len(label)
        if x and x + wide > width:
            x, y = 0.0, y + 17
        places.append((x, y))
        x += wide
    return places


def _panel(
    canvas: Canvas, place: tuple[float, float, float, float], name: str, series: Series, along: str
) -> _Plot:
    """A title and a frame for curves at (left, top, width of the frame, room for more lines of names between
    the two)."""
    left, top, width, room = place
    canvas.text(left, top + 24, name, size=13, bold=True)
    points = [point for line in series.values() for point in line] or [(0.0, 0.0)]
    across = (min(x for x, _ in points), max(x for x, _ in points))
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    shares = name == "Accuracy" and 0 <= lowest <= highest <= 1
    ticks = _ticks(lowest if name == "Accuracy" else min(0.0, lowest), highest)
    plot = _Plot(canvas, (left, top + 62 + room, width, 190), across, (ticks[0], ticks[-1]))
    plot.frame(_whole_ticks(*across), ticks, percent_up=shares)
    foot = top + room + 294
    canvas.text(left + width / 2, foot, along, size=11.5, fill=Palette.MUTED, anchor="middle")
    return plot


def _lines(
    plot: _Plot, corner: tuple[float, float], series: Series, key: Sequence[tuple[float, float]]
) -> None:
    """The curves of a panel, and their names from ``corner`` on."""
    canvas, colours = plot.canvas, cycle(_LINES)
    for (label, line), (x, y) in zip(series.items(), key, strict=True):
        guessed = label.startswith("guessing")
        colour, dash = (Palette.MUTED, (5.0, 4.0)) if guessed else (next(colours), None)
        places = [plot.at(*point) for point in line]
        if len(places) > 1:
            canvas.line(*places, stroke=colour, thickness=1.2 if guessed else 1.8, dash=dash)
        if len(places) <= _DOTTED and not guessed:
            for across, down in places:
                canvas.box(across - 3, down - 3, 6, 6, fill=colour, radius=3)
        x, y = corner[0] + x, corner[1] + y
        canvas.line((x, y), (x + 16, y), stroke=colour, thickness=2.4, dash=dash)
        canvas.text(x + 22, y + 4, label, size=11.5, fill=Palette.MUTED)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from just below ``low`` to just above ``high``, about five of them."""
    span = high - low
    if span <= 1e-9 * max(1.0, abs(high)):  # a line, drawn in a frame of its own height
        span = max(1.0, abs(high))
    rough = span / 4
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _whole_ticks(low: float, high: float) -> list[float]:
    return [tick for tick in _ticks(low, high) if low <= tick <= high and tick == int(tick)] or [low]


def _rounded(share: float) -> str:
    """In few letters; what is not quite all never looks like it."""
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.2g}%"


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
