"""How good a model is that tells the class of each pixel: overlaps, outlines, and the pictures to look at."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from vitreous.data.annotation import Regions
from vitreous.data.collection import Collection
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.judged import SHOWN, Answered, Painter, Progress
from vitreous.evaluation.segmentation import PictureScore, Segmented


def judge_regions(
    predictor: Painter,
    collection: Collection,
    *,
    batch_size: int = 8,
    allow_unreadable: bool = False,
    progress: Progress | None = None,
    window: int | None = None,
) -> tuple[dict[str, Any], list[PictureError]]:
    """A model and pictures whose pixels have its classes -> ``Segmented.figures`` with the ``confusion`` of
    pixels (K, K), the truth in rows, and a ``gallery``, as plain values; and the pictures that cannot be
    read. One map is held at a time; with ``window`` they are told window by window.

    Raises:
        DataError: pictures or maps that cannot be read or do not fit one another, all of them named.
    """
    tally = Segmented(predictor.classes)
    rows: list[dict[str, Any]] = []
    answered: Answered[Regions] = Answered(
        predictor.regions(collection.samples, batch_size, window=window),
        collection,
        allow_unreadable=allow_unreadable,
        progress=progress,
    )
    for _, sample, guess in answered:
        try:
            truth = sample.held_region()
            if truth is None:
                raise DataError("no map of classes")
            score = tally.add(guess, truth)
        except DataError as error:
            answered.unreadable.append(PictureError(sample.name, str(error).removeprefix(f"{sample.name}: ")))
            continue
        rows.append(_row(sample.name, score, predictor.classes))
    result = tally.figures() | {"confusion": tally.confusion.tolist(), "gallery": _gallery(rows)}
    return {"says": "regions", **result}, answered.unreadable


def _row(name: str, score: PictureScore, classes: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "mean_iou": score.mean_iou,
        "pixel_accuracy": score.pixel_accuracy,
        "confused": None,
    }
    if score.mistaken is not None:
        true, said, pixels = score.mistaken
        row["confused"] = {
            "class": classes[true],
            "said": classes[said],
            "share": pixels / score.pixels,
        }
    return row


def _gallery(pictures: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of pictures by name: those of the least mean IoU, those with the largest share of pixels of one
    class that were taken for one other, and those of the greatest mean IoU, the most telling first. A picture
    on which no pixel takes part is in none."""
    known = [row for row in pictures if not isnan(row["mean_iou"])]
    wrong = [row for row in known if row["confused"] is not None]
    return {
        "worst": sorted(wrong, key=lambda row: row["mean_iou"])[:SHOWN],
        "confused": sorted(wrong, key=lambda row: -row["confused"]["share"])[:SHOWN],
        "best": sorted(known, key=lambda row: -row["mean_iou"])[:SHOWN],
    }
