"""The page about a comparison of ways of learning: who did how well, how sure that is, what to do next."""

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

from markupsafe import Markup

from vitreous.report.canvas import Canvas
from vitreous.report.html import percent, render
from vitreous.report.marks import Palette

ROW = 34.0  # units of the figure for each candidate
LABELS, SCALE = 300.0, 520.0  # widths of the names and of the axis


def advice_page(advice: Mapping[str, Any]) -> str:
    """What ``vitreous advise --json`` prints, as one HTML file that loads nothing from outside."""
    rows = advice["candidates"]
    measured = [row for row in rows if row["accuracy"]]
    return render(
        "advice.html.j2",
        styles=("page.css", "run.css"),
        scripts=("theme.js",),
        values={
            "advice": advice,
            "figure": Markup(intervals_figure(measured, advice["recommended"]).svg(themed=True))
            if measured
            else None,
            "measured": sorted(measured, key=lambda row: -row["accuracy"]["value"]),
            "others": [row for row in rows if not row["accuracy"]],
            "chosen": next((row for row in rows if row["candidate"] == advice["recommended"]), None),
            "points": points,
            "memory": memory,
            "epochs": epochs,
        },
    )


def intervals_figure(rows: Sequence[Mapping[str, Any]], chosen: str | None) -> Canvas:
    """Accuracy and its 95% interval of each candidate, the best first; the recommended one in blue."""
    ordered = sorted(rows, key=lambda row: -row["accuracy"]["value"])
    low = min(row["accuracy"]["low"] for row in ordered)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (1 - low) / step <= 6)
    first = max(0.0, floor(low / step) * step)
    canvas = Canvas(
        LABELS + SCALE + 90,
        ROW * len(ordered) + 60,
        title="Accuracy of each candidate with its 95% interval",
        description="; ".join(f"{row['title']} {percent(row['accuracy']['value'])}" for row in ordered),
    )

    def across(share: float) -> float:
        return LABELS + 16 + (share - first) / max(1e-9, 1 - first) * SCALE

    foot = 20 + ROW * len(ordered)
    for tick in range(round((1 - first) / step) + 1):
        share = first + step * tick
        canvas.line((across(share), 16), (across(share), foot), stroke=Palette.LINE, thickness=0.8)
        words = f"{100 * share:.4g}%"
        canvas.text(across(share), foot + 18, words, size=11, fill=Palette.MUTED, anchor="middle")
    for place, row in enumerate(ordered):
        mine = row["candidate"] == chosen
        colour = Palette.ACCENT if mine else Palette.MUTED
        y = 20 + ROW * (place + 0.5)
        found = row["accuracy"]
        canvas.text(LABELS, y + 4, _short(row["title"]), size=13, anchor="end", bold=mine)
        canvas.line((across(found["low"]), y), (across(found["high"]), y), stroke=colour, thickness=2.4)
        for end in (found["low"], found["high"]):
            canvas.line((across(end), y - 5), (across(end), y + 5), stroke=colour, thickness=1.6)
        canvas.box(across(found["value"]) - 5, y - 5, 10, 10, fill=colour, radius=5)
        canvas.text(across(1.0) + 14, y + 4, percent(found["value"]), size=12, fill=colour, bold=mine)
    return canvas


def points(found: Mapping[str, float] | None) -> str:
    """A difference of shares and its interval in points: 3.1 (1.0 to 5.2)."""
    if found is None:
        return ""
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f} to {high:.1f})".replace("-", "−")


def memory(row: Mapping[str, Any]) -> str:
    """Forecast and measured memory: 0.8 | 0.9 GB."""
    return _beside(
        [
            None if (held := row[key]["peak_bytes"]) is None else held / 1e9
            for key in ("forecast", "measured")
        ],
        "GB",
    )


def epochs(row: Mapping[str, Any]) -> str:
    """Forecast and measured seconds of an epoch, of each stage."""
    pairs = zip(row["forecast"]["epoch_seconds"], row["measured"]["epoch_seconds"], strict=False)
    return "; ".join(_beside(list(pair), "s") for pair in pairs)


def _beside(pair: Sequence[float | None], unit: str) -> str:
    if all(value is None for value in pair):
        return ""
    return " | ".join("–" if value is None else f"{value:.2g}" for value in pair) + f" {unit}"


def _short(title: str, most: int = 42) -> str:
    return title if len(title) <= most else title[: most - 1] + "…"
