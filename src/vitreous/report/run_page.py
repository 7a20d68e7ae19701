"""The page about one training run: what was learnt, how sure that is, and what the model looked at; of a run
that learnt without labels, what it makes of pictures; of one that learnt objects or pixels, truth and
answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from markupsafe import Markup
from PIL import Image

from vitreous.report.canvas import Canvas
from vitreous.report.figures import confusion_figure, curves_figure, reliability_figure
from vitreous.report.gallery import Section
from vitreous.report.gallery_page import marked_values
from vitreous.report.html import percent, render
from vitreous.report.svg import data_address

COARSE = 64  # pictures up to this side are shown with their pixels as squares
THUMBNAIL = 320
CLASSES = 24  # with more of them only the worst are listed


@dataclass(frozen=True, kw_only=True)
class Example:
    """One judged picture: the truth, the answer with its score, and the answer's relevance laid over it."""

    picture: Image.Image
    overlay: Image.Image
    truth: str
    answer: str
    score: float
    name: str = ""


class Trio(NamedTuple):
    """A held-out picture whole; what the model saw of it, transparent where that was nothing; and what it
    made of that. One of the last two may be missing."""

    name: str
    original: Image.Image
    seen: Image.Image | None
    rebuilt: Image.Image | None


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What the page of a run shows; a part that is empty or None is left out.

    summary    (what, value) for the tiles at the top, the most important first
    warnings   sentences on what went wrong
    gallery    pictures that were rebuilt; ``rebuilding`` says what is to be seen in them
    doctor     ``Examination.to_dict()`` of the data
    metrics    the rows of the run's metrics log
    scores     what ``evaluation.classification.scores`` says of the held-out pictures
    marked     what ``evaluation.evaluate`` says of pictures with objects or regions; ``marked_note`` which
               they are, ``sections`` are drawings of some of them
    baselines  rows of a table with the same keys in each; ``"mine": True`` marks this model's
    examples   judged pictures; the wrong ones are shown first
    commands   what to type to have all this again, or to go on
    lineage    (what, value): where the weights come from
    files      (path, what it is) of what was written
    further    the title over commands and files
    """

    title: str
    lead: str = ""
    summary: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    gallery: Sequence[Trio] = ()
    rebuilding: str = ""
    doctor: Mapping[str, Any] | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    scores: Mapping[str, Any] | None = None
    marked: Mapping[str, Any] | None = None
    marked_note: str = ""
    sections: Sequence[Section] = ()
    baselines: Sequence[Mapping[str, Any]] = ()
    examples: Sequence[Example] = ()
    commands: Sequence[str] = ()
    lineage: Sequence[tuple[str, str]] = ()
    files: Sequence[tuple[str, str]] = ()
    further: str = "Again, and where things are"


class Framed(NamedTuple):
    """A trio as the template wants it: (caption, what a screen reader says, picture, whether parts of it are
    hidden) for each of its pictures."""

    name: str
    coarse: bool
    ratio: str
    pictures: list[tuple[str, str, str, bool]]


class Shown(NamedTuple):
    """An example as the template wants it."""

    picture: str
    overlay: str
    coarse: bool
    right: bool
    truth: str
    answer: str
    score: float
    name: str


def run_page(report: RunReport) -> str:
    """A run as one HTML file that loads nothing from outside. Every name is shown as text."""
    scores = report.scores
    return render(
        "run.html.j2",
        styles=("page.css", "run.css"),
        scripts=("theme.js",),
        values={
            "report": report,
            "gallery": [_framed(one) for one in report.gallery],
            "curves": _inline(curves_figure(report.metrics)) if report.metrics else None,
            "held_out": held_out(scores) if scores else [],
            "confusion": _inline(confusion_figure(scores["confusion"], scores["classes"]))
            if scores
            else None,
            "reliability": _inline(reliability_figure(scores["bins"])) if scores else None,
            "classes": worst_classes(scores) if scores else [],
            "marked": marked_values(report.marked) if report.marked else None,
            "columns": [key for key in (report.baselines[0] if report.baselines else ()) if key != "mine"],
            "shown": [_shown(one) for one in sorted(report.examples, key=_is_right)],
            "cell": _cell,
        },
    )


def held_out(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, value, its 95% interval) of the scores, for the table."""
    intervals = scores["intervals"]

    def between(key: str) -> str:
        low, high = intervals[key]
        return f"{percent(low)} to {percent(high)}"

    rows = [("Accuracy", percent(scores["accuracy"]), between("accuracy"))]
    if scores["top5_k"] < len(scores["classes"]):
        rows.append((f"Truth among the first {scores['top5_k']}", percent(scores["top5"]), between("top5")))
    macro = scores["macro"]
    rows += [
        ("Precision, mean over classes", percent(macro["precision"]), ""),
        ("Recall, mean over classes", percent(macro["recall"]), ""),
        ("Calibration error", percent(scores["ece"]), between("ece")),
        ("Negative log-likelihood in nats", f"{scores['nll']:.4f}", ""),
    ]
    return rows


def worst_classes(scores: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Classes with their precision and recall: all of them, or the worst where there are many."""
    rows = [row for row in scores["per_class"] if row["support"]]
    if len(rows) <= CLASSES:
        return rows
    return sorted(rows, key=lambda row: row["f1"])[:CLASSES]


def _is_right(example: Example) -> bool:
    return example.truth == example.answer


def _framed(trio: Trio) -> Framed:
    coarse = max(trio.original.size) <= COARSE
    pictures = [("original", f"{trio.name} as it is", _thumbnail(trio.original, coarse), False)]
    if trio.seen is not None:
        seen = _small(trio.seen)
        pictures.append(("seen", f"what was seen of {trio.name}", data_address(seen), True))
    if trio.rebuilt is not None:
        rebuilt = _thumbnail(trio.rebuilt, coarse)
        pictures.append(("rebuilt", f"{trio.name} as it was rebuilt", rebuilt, False))
    return Framed(trio.name, coarse, f"{trio.original.width} / {trio.original.height}", pictures)


def _shown(example: Example) -> Shown:
    coarse = max(example.picture.size) <= COARSE
    return Shown(
        _thumbnail(example.picture, coarse),
        _thumbnail(example.overlay, coarse),
        coarse,
        _is_right(example),
        example.truth,
        example.answer,
        example.score,
        example.name,
    )


def _thumbnail(picture: Image.Image, coarse: bool) -> str:
    return data_address(_small(picture.convert("RGB")), lossy=not coarse)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def _cell(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return percent(value) if "accuracy" in key.lower() else f"{value:.4g}"


def _inline(figure: Canvas) -> Markup:
    return Markup(figure.svg(themed=True))
