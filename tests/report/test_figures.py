import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vitreous.errors import DataError
from vitreous.report.canvas import Canvas
from vitreous.report.figures import (
    _ticks,
    confusion_figure,
    curves_figure,
    reliability_figure,
    strip_figure,
)

SVG = "{http://www.w3.org/2000/svg}"


def texts(canvas: Canvas) -> list[str]:
    root = ElementTree.fromstring(canvas.svg())
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def inside(canvas: Canvas) -> bool:
    """Nothing but white touches the border of the pixels."""
    pixels = np.asarray(canvas.raster(1))
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    return all((edge == 255).all() for edge in edges)


def test_confusion_shows_every_count() -> None:
    figure = confusion_figure([[7, 1], [0, 12]], ["cat", "<dog>"])
    words = texts(figure)
    assert {"7", "1", "12"} <= set(words) and "0" not in words
    assert words.count("<dog>") == 2
    assert "1 of 20 wrong" in words
    assert inside(figure)


@pytest.mark.parametrize("size", [1, 10, 24, 25, 130, 1000])
def test_confusion_of_any_size_fits(size: int) -> None:
    matrix = np.eye(size, dtype=int) * 3
    figure = confusion_figure(matrix, [f"a class with a long name {index}" for index in range(size)])
    assert figure.width < 4000 and figure.height < 4000
    if size < 200:
        assert inside(figure)


def test_confusion_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="shape \\(2, 2\\) does not fit 3 classes"):
        confusion_figure(np.eye(2), ["a", "b", "c"])


def test_curves_split_by_what_they_measure() -> None:
    rows = [{"epoch": 1, "loss": 2.0, "learning_rate": 0.1}]
    rows += [{"epoch": e, "loss": 2.0 / e, "accuracy": 1 - 1 / e, "skipped_steps": 0} for e in (2, 3, 4)]
    words = texts(curves_figure(rows))
    assert {"Loss", "Accuracy", "Learning rate", "loss", "accuracy", "learning rate"} <= set(words)
    assert "skipped steps" not in words
    assert words.count("epoch") == 3


def test_curves_of_pretraining_show_every_measure_and_dash_the_guess() -> None:
    rows = [
        {
            "epoch": e,
            "step": 9 * e,
            "loss": 1 / e,
            "masked_error": 1.2 / e,
            "guessing_error": 1.0,
            "codes": 3.0,
        }
        | {"effective_rank": 9.0 + e, "neighbour_accuracy": e / 5, "learning_rate": 0.1, "alarm": "collapse"}
        for e in (1, 2, 3)
    ]
    figure = curves_figure(rows)
    words = texts(figure)
    assert {"Loss", "Accuracy", "Effective rank", "Codes", "Learning rate"} <= set(words)
    assert {"masked error", "guessing error", "neighbour accuracy", "effective rank"} <= set(words)
    assert "60%" in words and not {"step", "alarm", "skipped steps"} & set(words)
    dashed = [line for line in figure.svg().splitlines() if "stroke-dasharray" in line]
    assert len(dashed) == 2  # the guess, and its mark beside its name
    assert inside(figure)


@pytest.mark.parametrize("count", range(1, 8))
def test_any_number_of_panels_has_room(count: int) -> None:
    names = [f"measure {number} with a name" for number in range(count)]
    rows = [{"epoch": epoch, **dict.fromkeys(names, epoch)} for epoch in range(20)]
    figure = curves_figure(rows)
    assert figure.width <= 1160 and inside(figure)
    titles = [name.capitalize() for name in names]
    assert [word for word in texts(figure) if word in titles] == titles


def test_names_of_many_curves_are_put_below_one_another() -> None:
    rows = [
        {"epoch": e, **{f"{name}_accuracy": 0.5 for name in ("masked", "guessing", "nearest")}}
        for e in (1, 2)
    ]
    root = ElementTree.fromstring(curves_figure(rows).svg())
    places = [
        (float(text.get("x", 0)), float(text.get("y", 0)))
        for text in root.iter(f"{SVG}text")
        if str(text.text).endswith(" accuracy")
    ]
    assert len(places) == 3 and len({y for _, y in places}) == 2
    assert max(x for x, _ in places) < 300


@pytest.mark.parametrize(
    "rows", [[], [{"epoch": 1, "loss": float("nan")}], [{"step": 5, "loss": 0.0}], [{"loss": None}]]
)
def test_curves_of_nearly_nothing(rows: list[dict[str, float]]) -> None:
    assert inside(curves_figure(rows))


def test_reliability_leaves_empty_bins_out() -> None:
    bins = [{"low": 0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None}]
    bins += [{"low": 0.5, "high": 1, "n": 9, "confidence": 0.8, "accuracy": 1.0}]
    figure = reliability_figure(bins)
    dots = [box for box in ElementTree.fromstring(figure.svg()).iter(f"{SVG}rect") if box.get("rx")]
    assert len(dots) == 1
    assert inside(figure)


def test_strip_puts_captions_under_pictures() -> None:
    picture = Image.new("RGB", (40, 20), "red")
    figure = strip_figure(picture, [("relevance", picture), ("rollout", picture)])
    assert texts(figure) == ["picture", "relevance", "rollout"]
    assert figure.width > 3 * 260 and inside(figure)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_span_the_values(low: float, span: float) -> None:
    ticks = _ticks(low, low + span)
    slack = 1e-6 * (abs(low) + span + 1)
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 8
