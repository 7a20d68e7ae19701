"""The page about judged pictures: what is there and what the model said, worst, most confused and best."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from vitreous.report.gallery import Section
from vitreous.report.html import percent, render
from vitreous.report.marked_scores import class_table, marked_figures, measure_rows, told_mistakes

CLASSES = 24  # with more of them only the worst are listed
TILES = 4


def gallery_page(result: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """A result of ``evaluate`` and the drawings of ``gallery_of`` as one HTML file that loads nothing from
    outside. Every name is shown as text."""
    return render(
        "gallery.html.j2",
        styles=("page.css", "run.css"),
        scripts=("theme.js",),
        values={
            "data": result["data"],
            "n": result["n"],
            "tiles": [row for row in measure_rows(result, percent) if row[1] != "none"][:TILES],
            "sections": sections,
            "marked": marked_values(result),
        },
    )


def marked_values(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates show of figures: tables, sentences and drawings."""
    return {
        "measures": measure_rows(result, percent),
        "table": class_table(result, percent, CLASSES),
        "mistakes": told_mistakes(result),
        "figures": [Markup(figure.svg(themed=True)) for figure in marked_figures(result).values()],
    }
