"""What ``vitreous evaluate`` prints of a model that tells any number of classes a picture."""

from typing import Any

from vitreous.cli.output import percent, show, show_table

CLASSES_SHOWN = 30
TITLES = {
    "mean_average_precision": "mean average precision",
    "micro_f1": "F1, all answers (micro)",
    "macro_f1": "F1, mean of classes (macro)",
    "exact_match": "right in all classes",
}


def show_several(result: dict[str, Any]) -> None:
    """Measures with their intervals, every class, and the surest mistake."""
    data, intervals = result["data"], result["intervals"]
    show(f"{result['n']} pictures of {data['name']}, part {data['part']}: {data['why']}")
    if data["note"] is not None:
        show(data["note"])
    show()
    values = {
        "mean_average_precision": result["mean_average_precision"],
        "micro_f1": result["micro"]["f1"],
        "macro_f1": result["macro"]["f1"],
        "exact_match": result["exact_match"],
    }
    rows = [[TITLES[name], percent(value), _ends(intervals[name])] for name, value in values.items()]
    show_table(["measure", "value", "95% interval"], rows, numbers=["value", "95% interval"])
    show()
    per_class = result["per_class"]
    if len(per_class) > CLASSES_SHOWN:
        per_class = sorted(per_class, key=_worst_first)[:CLASSES_SHOWN]
        show(f"the {CLASSES_SHOWN} of {len(result['per_class'])} classes that went worst:")
    table = [
        [
            row["class"],
            _told(row["average_precision"]),
            _ends(row["intervals"]["average_precision"]),
            *(percent(row[key]) for key in ("precision", "recall", "f1")),
            _ends(row["intervals"]["f1"]),
            str(row["support"]),
        ]
        for row in per_class
    ]
    titles = ["class", "average precision", "95%", "precision", "recall", "f1", "95% of f1", "pictures"]
    show_table(titles, table, numbers=titles[1:])
    if result["mistakes"]:
        show()
        worst = result["mistakes"][0]
        said = "shows" if worst["shown"] else "does not show"
        score = percent(worst["score"])
        show(f"surest mistake: {worst['name']} {said} {worst['class']}, whose score is {score}")


def _worst_first(row: dict[str, Any]) -> tuple[bool, float]:
    """Classes that no picture shows have no score, and come last."""
    value = row["average_precision"]
    return value is None, value or 0.0


def _told(value: float | None) -> str:
    return "none shown" if value is None else percent(value)


def _ends(interval: list[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"
