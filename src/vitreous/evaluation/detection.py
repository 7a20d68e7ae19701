"""How good found objects are: the twelve figures of COCO, average precision of each class, how sure it is.

The figures are those of cocodataset.org, "detection-eval", by faster-coco-eval (the extra ``detection``): an
answer is right if it overlaps an object of its class that no surer answer has taken; objects of a crowd are
neither missed nor taken up; areas are the objects' own in the annotations. The interval is a percentile
bootstrap interval over pictures, as in ``classification.py``. Nothing here knows a model or a file.

Shapes: n pictures; m answers of one; K classes. Boxes are left, top, right, bottom in source pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitreous.data.annotation import Mask, Objects
from vitreous.errors import DataError, MissingPackage, VitreousError
from vitreous.evaluation.precision import interval_of_ap50, match_at_half

By = Literal["boxes", "masks"]
FIGURES = (  # in the order in which COCO lists them
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar_100",
    "ar_small",
    "ar_medium",
    "ar_large",
)
MOST = 100  # answers of a picture that are judged, the surest of each class


@dataclass(frozen=True, eq=False)
class Found:
    """What was found on one picture: boxes (m, 4), labels (m,) into the classes, scores (m,), the higher the
    surer, and where the model draws them masks, one for each."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: tuple[Mask, ...] | None = None

    @staticmethod
    def of(
        boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike, *, masks: Sequence[Mask] | None = None
    ) -> "Found":
        """From anything that numpy takes."""
        return Found(
            np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            np.asarray(labels, dtype=np.int64).reshape(-1),
            np.asarray(scores, dtype=np.float32).reshape(-1),
            None if masks is None else tuple(masks),
        )

    def __len__(self) -> int:
        return len(self.boxes)


def detection_scores(
    predictions: Sequence[Found],
    truths: Sequence[Objects],
    classes: Sequence[str],
    *,
    by: By = "boxes",
    interval: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Answers and truth of n pictures -> every figure, as plain values that JSON can hold.

    ``ap`` is the mean over overlaps from 0.50 to 0.95, ``ap50`` and ``ap75`` at one of them; small is below
    32 x 32 pixels, large above 96 x 96; ``ar_10`` the mean recall of the 10 surest answers of each class and
    picture. What there are no objects for is None, as is the average precision of a class that no picture
    shows. ``by`` "masks" measures overlaps and areas of masks. ``intervals`` holds 95% of resamples of the
    pictures for ``ap50``, drawn from ``seed``. ``precision_at_recall`` holds the precision at recalls of 0,
    0.01, ... 1, the mean over classes, for some overlaps; each class has its own for an overlap of 0.5.

    Raises:
        MissingPackage: faster-coco-eval is not installed; the message has the line that installs it.
        DataError: nothing to judge, or answers that do not fit the pictures or the classes.
        VitreousError: boxes or scores that are not finite.
    """
    _check(predictions, truths, classes, by)
    coco = faster_coco_eval()
    evaluator = _evaluated(coco, predictions, truths, classes, by)
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, K)
    recall = evaluator.eval["recall"][:, :, 0, -1]  # (overlaps, K)
    objects, crowds, said = _counted(predictions, truths, len(classes))
    figures = dict(zip(FIGURES, map(_told, evaluator.stats[: len(FIGURES)]), strict=True))
    return {
        "n": len(truths),
        "objects": int(objects.sum()),
        "crowds": int(crowds.sum()),
        "answers": int(said.sum()),
        "classes": list(classes),
        "by": by,
        **figures,
        "intervals": {"ap50": _interval(coco, predictions, truths, classes, by, seed)} if interval else {},
        "precision_at_recall": {
            "0.50": _curve(precision[:1]),
            "0.75": _curve(precision[5:6]),
            "0.50 to 0.95": _curve(precision),
        },
        "per_class": [
            {
                "class": name,
                "ap": _mean(precision[:, :, number]),
                "ap50": _mean(precision[0, :, number]),
                "ap75": _mean(precision[5, :, number]),
                "ar_100": _mean(recall[:, number]),
                "objects": int(objects[number]),
                "crowds": int(crowds[number]),
                "answers": int(said[number]),
                "precision_at_recall": _curve(precision[:1, :, number : number + 1]),
            }
            for number, name in enumerate(classes)
        ],
    }


def faster_coco_eval() -> ModuleType:
    """The library, imported when it is asked for. MissingPackage where it is not installed."""
    try:
        import faster_coco_eval as module
    except ImportError as error:
        raise MissingPackage("faster-coco-eval", "detection") from error
    return module


def _evaluated(
    coco: ModuleType,
    predictions: Sequence[Found],
    truths: Sequence[Objects],
    classes: Sequence[str],
    by: By,
) -> Any:
    """Its evaluator, with all sums made."""
    truth = coco.COCO(
        {
            "images": [
                {"id": place, **_size(predictions[place], truths[place])} for place in range(len(truths))
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
            # It marks what is matched by its number, and takes 0 for none.
            "annotations": [{"id": place + 1, **row} for place, row in enumerate(_objects(truths, by))],
        }
    )
    answers = truth.loadRes(list(_answers(predictions, by)))
    kind = "bbox" if by == "boxes" else "segm"
    evaluator = coco.COCOeval_faster(truth, answers, iouType=kind, print_function=_say_nothing)
    evaluator.run()
    return evaluator


def _objects(truths: Sequence[Objects], by: By) -> Iterator[dict[str, Any]]:
    for picture, objects in enumerate(truths):
        for place in range(len(objects)):
            row = {
                "image_id": picture,
                "category_id": int(objects.labels[place]),
                "bbox": _corner_and_size(objects.boxes[place]),
                "area": float(objects.areas[place]),
                "iscrowd": int(objects.crowd[place]),
            }
            if by == "masks" and objects.masks is not None:
                row["segmentation"] = _runs(objects.masks[place])
            yield row


def _answers(predictions: Sequence[Found], by: By) -> Iterator[dict[str, Any]]:
    for picture, found in enumerate(predictions):
        for place in range(len(found)):
            row: dict[str, Any] = {
                "image_id": picture,
                "category_id": int(found.labels[place]),
                "score": float(found.scores[place]),
            }
            if by == "masks" and found.masks is not None:
                row["segmentation"] = _runs(found.masks[place])
            else:
                row["bbox"] = _corner_and_size(found.boxes[place])
            yield row


def _size(found: Found, objects: Objects) -> dict[str, int]:
    """Height and width, which are asked for only where there are masks."""
    for masks in (objects.masks, found.masks):
        if masks:
            return {"height": int(masks[0].size[0]), "width": int(masks[0].size[1])}
    return {"height": 0, "width": 0}


def _runs(mask: Mask) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": mask.compressed()}


def _corner_and_size(box: NDArray[np.float32]) -> list[float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return [left, top, right - left, bottom - top]


def _interval(
    coco: ModuleType,
    predictions: Sequence[Found],
    truths: Sequence[Objects],
    classes: Sequence[str],
    by: By,
    seed: int,
) -> list[float | None]:
    """95% of what AP50 is of pictures that are drawn again."""

    def overlaps(picture: int, answers: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.float64]:
        """(a,) places of answers, (b,) of objects -> (a, b)."""
        found, objects = predictions[picture], truths[picture]
        crowd = [int(objects.crowd[place]) for place in there]
        if by == "masks" and found.masks is not None and objects.masks is not None:
            said: list[Any] = [_runs(found.masks[place]) for place in answers]
            true: list[Any] = [_runs(objects.masks[place]) for place in there]
        else:
            said = [_corner_and_size(found.boxes[place]) for place in answers]
            true = [_corner_and_size(objects.boxes[place]) for place in there]
        return np.asarray(coco.mask.iou(said, true, crowd), dtype=np.float64)

    matches = match_at_half(predictions, truths, len(classes), overlaps, most=MOST)
    return [None if np.isnan(end) else float(end) for end in interval_of_ap50(matches, seed=seed)]


def _counted(
    predictions: Sequence[Found], truths: Sequence[Objects], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Objects, crowds, and answers of each class, (K,) each."""
    objects, crowds, said = (np.zeros(classes, dtype=np.int64) for _ in range(3))
    for found, true in zip(predictions, truths, strict=True):
        objects += np.bincount(true.labels[~true.crowd], minlength=classes)
        crowds += np.bincount(true.labels[true.crowd], minlength=classes)
        said += np.bincount(found.labels, minlength=classes)
    return objects, crowds, said


def _told(value: float) -> float | None:
    """COCO says -1 of what there is nothing to judge by."""
    return None if value < 0 else float(value)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _curve(precision: NDArray[np.float64]) -> list[float]:
    """(overlaps, recalls, K) -> the mean precision at each recall, to four places; empty where no class has
    an object."""
    there = precision[:, :, (precision > -1).all(axis=(0, 1))]
    return np.round(there.mean(axis=(0, 2)), 4).tolist() if there.size else []


def _say_nothing(*words: object) -> None:
    """What the evaluator tells goes nowhere: the figures are the answer."""


def _check(predictions: Sequence[Found], truths: Sequence[Objects], classes: Sequence[str], by: By) -> None:
    if not truths:
        raise DataError("nothing to judge: wanted at least one picture with its objects, got none")
    if len(predictions) != len(truths):
        raise DataError(f"wanted one answer for each of {len(truths)} pictures, got {len(predictions)}")
    if not any(len(objects) for objects in truths):
        raise DataError(f"nothing to judge: none of {len(truths)} pictures has an object")
    broken = 0
    for picture, (found, objects) in enumerate(zip(predictions, truths, strict=True)):
        if not len(found.boxes) == len(found.labels) == len(found.scores):
            raise DataError(
                f"picture {picture}: {len(found.boxes)} boxes, {len(found.labels)} labels and"
                f" {len(found.scores)} scores; wanted as many of each"
            )
        for labels in (found.labels, objects.labels):
            if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
                raise DataError(
                    f"picture {picture}: labels must lie in 0..{len(classes) - 1}, got"
                    f" {labels.min()}..{labels.max()}"
                )
        if by == "masks" and any(len(side.boxes) and side.masks is None for side in (found, objects)):
            raise DataError(f"picture {picture} has objects or answers without masks; judge by boxes")
        broken += not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all())
    if broken:
        raise VitreousError(
            f"the model answered with numbers that are not finite for {broken} of {len(truths)} pictures;"
            " its weights are damaged, or training diverged"
        )
