"""How good a detector is on annotated pictures: COCO's figures, its mistakes, and the pictures to look at."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.detection import Found, detection_scores, faster_coco_eval
from vitreous.evaluation.detection_mistakes import detection_mistakes
from vitreous.evaluation.judged import SHOWN, Answered, Finder, Progress


class FoundObjects(NamedTuple):
    """The readable pictures by name, what was found on each and what is there; and the unreadable ones."""

    names: list[str]
    found: list[Found]
    truths: list[Objects]
    unreadable: list[PictureError]


def judge_objects(
    predictor: Finder,
    collection: Collection,
    *,
    batch_size: int = 8,
    allow_unreadable: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[PictureError]]:
    """A detector and pictures whose objects have its classes -> ``detection_scores`` with ``mistakes``
    (``detection_mistakes``) and a ``gallery``, as plain values; and the pictures that cannot be read.

    Raises:
        MissingPackage: what computes the figures is not installed; said before any picture is opened.
        DataError: no object on any picture, or pictures that cannot be read.
    """
    faster_coco_eval()
    seen = look_for_objects(
        predictor, collection, batch_size=batch_size, allow_unreadable=allow_unreadable, progress=progress
    )
    result = detection_scores(seen.found, seen.truths, predictor.classes)
    return {"says": "objects", **result, **mistakes_of(seen, predictor.classes)}, seen.unreadable


def look_for_objects(
    predictor: Finder,
    collection: Collection,
    *,
    batch_size: int = 8,
    allow_unreadable: bool = False,
    progress: Progress | None = None,
) -> FoundObjects:
    """What is found on every picture beside what is there.

    Raises:
        DataError: as ``judge_objects``.
    """
    if not any(len(sample.held_objects() or ()) for sample in collection.samples):
        raise DataError(
            f"{collection.name}: nothing to judge, no object is marked on its {len(collection)} pictures"
        )
    answered = Answered(
        predictor.objects(collection.samples, batch_size),
        collection,
        allow_unreadable=allow_unreadable,
        progress=progress,
    )
    names, found, truths = [], [], []
    for _, sample, answer in answered:
        names.append(sample.name)
        found.append(answer)
        truths.append(sample.held_objects() or Objects.of([], []))
    return FoundObjects(names, found, truths, answered.unreadable)


def mistakes_of(seen: FoundObjects, classes: Sequence[str]) -> dict[str, Any]:
    """The ``mistakes`` of the answers that would be shown, and a ``gallery`` of pictures by name: "worst",
    "confused" (where an object was taken for another class) and "best", the most telling first."""
    mistakes = detection_mistakes(seen.names, seen.found, seen.truths, classes)
    return {"mistakes": mistakes, "gallery": _gallery(mistakes.pop("pictures"))}


def _gallery(pictures: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of pictures, those with the least F1 first. Of equals those with more to see come first."""
    worst = sorted(pictures, key=lambda row: (row["f1"], -row["mistakes"]))
    confused = sorted(pictures, key=lambda row: (-row["confused"], row["f1"]))
    best = sorted(pictures, key=lambda row: (-row["f1"], -row["right"]))
    return {
        "worst": [row for row in worst if row["mistakes"]][:SHOWN],
        "confused": [row for row in confused if row["confused"]][:SHOWN],
        "best": [row for row in best if row["right"]][:SHOWN],
    }
