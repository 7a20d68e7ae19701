"""What ``vitreous evaluate --output`` writes: every figure as JSON, drawings of them, a page of pictures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitreous.cli.files import write_result

if TYPE_CHECKING:
    from vitreous.data.collection import Collection
    from vitreous.evaluation.judged import Judged
    from vitreous.report.canvas import Canvas


def write_scores(
    result: dict[str, Any],
    output: Path,
    predictor: "Judged",
    judged: "Collection",
    *,
    window: int | None = None,
) -> list[Path]:
    """Scores, figures, and of found objects and told pixels a page of pictures; the paths of what was
    written. ``judged`` are the pictures, with the model's classes, looked at through ``window``."""
    contents: dict[str, str | bytes] = {
        "scores.json": json.dumps({"made_by": "vitreous"} | result, indent=2, ensure_ascii=False) + "\n"
    }
    for name, figure in _figures(result).items():
        contents |= {f"{name}{suffix}": figure.encode(suffix) for suffix in (".svg", ".png")}
    if "gallery" in result:
        from vitreous.report.gallery import gallery_of
        from vitreous.report.gallery_page import gallery_page

        contents["gallery.html"] = gallery_page(result, gallery_of(predictor, judged, result, window=window))
    for name, content in contents.items():
        write_result(output / name, content)
    return [output / name for name in contents]


def _figures(result: dict[str, Any]) -> "dict[str, Canvas]":
    from vitreous.report.figures import confusion_figure
    from vitreous.report.marked_scores import marked_figures, occurring

    if "gallery" in result:
        return marked_figures(result)
    if result.get("confusion") is None:
        return {}
    # Of a model that knows more classes than the data has, the others would only be empty rows.
    some = result["data"]["note"] is not None
    matrix, names = result["confusion"], result["classes"]
    return {"confusion": confusion_figure(*(occurring(matrix, names) if some else (matrix, names)))}
