"""The figures of a model that finds objects or tells the class of each pixel, as rows of tables and
drawings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vitreous.report.canvas import Canvas
from vitreous.report.figures import confusion_figure, precision_figure

OBJECTS = {
    "ap": "AP, overlaps 0.50 to 0.95",
    "ap50": "AP at 0.50",
    "ap75": "AP at 0.75",
    "ap_small": "AP of small objects",
    "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
    "ar_1": "AR of 1 answer a class",
    "ar_10": "AR of 10 answers a class",
    "ar_100": "AR of 100 answers a class",
    "ar_small": "AR of small objects",
    "ar_medium": "AR of medium objects",
    "ar_large": "AR of large objects",
}
REGIONS = {
    "mean_iou": "mean IoU",
    "boundary_iou": "boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "frequency_weighted_iou": "IoU weighted by frequency",
    "mean_accuracy": "mean accuracy of classes",
}
NOTHING = "nothing"  # in the place of a class: what was not found, or what is not there

Percent = Callable[[float], str]


class ClassTable(NamedTuple):
    """``titles`` of columns, all but the first of numbers, and their ``rows``; ``some`` where there are
    more classes than rows, and these went worst."""

    titles: list[str]
    rows: list[list[str]]
    some: bool


def measure_rows(result: Mapping[str, Any], percent: Percent) -> list[tuple[str, str, str]]:
    """(what, value, 95% interval) of everything that is a mean over the classes."""
    titles = OBJECTS if result["says"] == "objects" else REGIONS
    intervals = result["intervals"]
    return [
        (title, _told(result[key], percent), _ends(intervals.get(key, (None, None)), percent))
        for key, title in titles.items()
    ]


def class_table(result: Mapping[str, Any], percent: Percent, most: int) -> ClassTable:
    """Every class, or the ``most`` that went worst where there are more; a class of which there is nothing
    to judge by comes last."""
    objects = result["says"] == "objects"
    key = "ap" if objects else "iou"
    rows = result["per_class"]
    some = len(rows) > most
    if some:
        rows = sorted(rows, key=lambda row: (row[key] is None, row[key] or 0.0))[:most]
    if objects:
        titles = ["class", "AP", "AP50", "AP75", "AR100", "objects"]
        cells = [
            [
                row["class"],
                *(_told(row[name], percent) for name in ("ap", "ap50", "ap75", "ar_100")),
                f"{row['objects']:,}",
            ]
            for row in rows
        ]
    else:
        titles = ["class", "IoU", "95% interval", "boundary IoU", "accuracy", "of all pixels"]
        cells = [
            [
                row["class"],
                _told(row["iou"], percent),
                _ends(row["interval"], percent),
                _told(row["boundary_iou"], percent),
                _told(row["accuracy"], percent),
                percent(row["share"]),
            ]
            for row in rows
        ]
    return ClassTable(titles, cells, some)


def told_mistakes(result: Mapping[str, Any], most: int = 5) -> list[str]:
    """What goes wrong most, as sentences."""
    if result["says"] == "regions":
        return [
            f"{row['class']} taken for {row['said']}: {row['share']:.1%} of its pixels"
            for row in result["confused"][:most]
        ]
    mistakes = result["mistakes"]
    kinds = [f"{count} {kind}" for kind, count in mistakes["kinds"].items() if count]
    first = (
        f"of the answers with a score of {mistakes['least_score']:g} or more {mistakes['right']} are right;"
        f" mistakes: {', '.join(kinds) or 'none'}"
    )
    pairs = [f"{row['class']} taken for {row['said']}: {row['times']}" for row in mistakes["confused"][:most]]
    return [first, *pairs]


def marked_figures(result: Mapping[str, Any]) -> dict[str, Canvas]:
    """By name: what is taken for what ("confusion"), and of found objects "precision" beside recall. Only
    classes are drawn that are there or were told."""
    if result["says"] == "regions":
        matrix, names = occurring(result["confusion"], result["classes"])
        return {"confusion": confusion_figure(matrix, names, counted="pixels")}
    matrix, names = occurring(result["mistakes"]["confusion"], [*result["classes"], NOTHING])
    return {
        "precision": precision_figure(result),
        "confusion": confusion_figure(matrix, names, counted="objects and answers"),
    }


def occurring(
    confusion: Sequence[Sequence[int]], classes: Sequence[str]
) -> tuple[list[list[int]], list[str]]:
    """The part of a confusion (K, K) that is about classes with anything in their row or column."""
    answered = [any(column) for column in zip(*confusion, strict=True)]
    kept = [index for index, row in enumerate(confusion) if any(row) or answered[index]]
    return [[confusion[row][column] for column in kept] for row in kept], [classes[index] for index in kept]


def _told(value: float | None, percent: Percent) -> str:
    return "none" if value is None else percent(value)


def _ends(interval: Sequence[float | None], percent: Percent) -> str:
    low, high = interval
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"
