"""The page of a comparison: all that was found, escaped, and nothing from outside."""

from typing import Any

from vitreous.report.advice_page import advice_page, intervals_figure, points

HOSTILE = "<script>alert(1)</script>"


def row(key: str, value: float | None, *, behind: float | None = None, why: str = "") -> dict[str, Any]:
    def around(middle: float) -> dict[str, float]:
        return {"value": middle, "low": middle - 0.02, "high": middle + 0.02}

    return {
        "candidate": key,
        "title": f"{key} {HOSTILE}",
        "ladder": "scratch",
        "status": "measured" if value is not None else "not tried",
        "why": why,
        "accuracy": None if value is None else around(value),
        "behind": None if behind is None else around(behind),
        "beaten": behind is not None and behind > 0.02,
        "seconds": 41.2,
        "epochs": [20, 9],
        "forecast": {"peak_bytes": 810_000_000, "epoch_seconds": [1.0, 2.0]},
        "measured": {"peak_bytes": None, "epoch_seconds": [1.25, 1.9]},
        "command": f"vitreous train {key}",
    }


def advice(*rows: dict[str, Any], recommended: str | None) -> dict[str, Any]:
    return {
        "data": f"pictures {HOSTILE}",
        "how": "made",
        "pictures": 575,
        "folds": 2,
        "seconds": 291.0,
        "recommended": recommended,
        "why": "it has the highest score",
        "command": None,
        "candidates": list(rows),
    }


def test_the_table_says_all_and_escapes_names() -> None:
    page = advice_page(
        advice(
            row("labels", 0.91, behind=0.05),
            row("mae", 0.96),
            row("teacher", None, why="the budget is spent"),
            recommended="mae",
        )
    )
    assert HOSTILE not in page and page.count("<script>") == 1
    for words in ("96.0%", "5.0 (3.0 to 7.0)", "0.81 | – GB", "1 | 1.2 s; 2 | 1.9 s", "the budget is spent"):
        assert words in page
    assert page.index("Take mae") < page.index("Who did how well")
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == page.count("http-equiv")


def test_a_page_with_nothing_measured() -> None:
    page = advice_page(advice(row("labels", None, why="too slow"), recommended=None))
    assert "Nothing could be measured" in page and "too slow" in page and "<svg" not in page


def test_the_figure_holds_every_interval() -> None:
    figure = intervals_figure([row("a", 0.5), row("b", 0.9)], "b")
    text = figure.svg()
    assert text.index(">b &lt;") < text.index(">a &lt;")  # the best first
    assert "50.0%" in text and "90.0%" in text


def test_points_have_a_true_minus() -> None:
    assert points({"value": -0.011, "low": -0.02, "high": 0.001}) == "−1.1 (−2.0 to 0.1)"
    assert points(None) == ""
