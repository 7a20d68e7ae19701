"""The twelve figures against torchmetrics' and the library itself, fed without our code; the rest by hand."""

import sys
from collections import Counter
from typing import Any

import faster_coco_eval as coco
import numpy as np
import pytest
import torch

from vitreous.data.annotation import Objects, Rle
from vitreous.data.batch import Target
from vitreous.errors import DataError, MissingPackage, VitreousError
from vitreous.evaluation import precision
from vitreous.evaluation.detection import FIGURES, Found, detection_scores
from vitreous.tasks.detection_counts import BINS, average_precisions, count_found

CLASSES = ("a", "b", "c", "d")
SIDE = 200
TORCHMETRICS = (
    "map",
    "map_50",
    "map_75",
    "map_small",
    "map_medium",
    "map_large",
    "mar_1",
    "mar_10",
    "mar_100",
    "mar_small",
    "mar_medium",
    "mar_large",
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "RESAMPLES", 40)


def boxes_of(random: np.random.Generator, count: int) -> np.ndarray:
    """Of all three sizes, on whole pixels: torchmetrics counts widths in float32."""
    sides = np.exp(random.uniform(np.log(6), np.log(140), (count, 2))).round()
    corners = (random.random((count, 2)) * (SIDE - sides)).round()
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def ellipse(box: np.ndarray) -> Rle:
    rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
    left, top, right, bottom = box
    inside = ((cols - (left + right) / 2) / (right - left)) ** 2
    inside += ((rows - (top + bottom) / 2) / (bottom - top)) ** 2
    return Rle.of(inside <= 0.25)


def drawn(seed: int, pictures: int = 12, masks: bool = False) -> tuple[list[Found], list[Objects]]:
    """Answers that are objects moved a little, doubled, called by another class, and made up; some pictures
    are empty, some objects are crowds, the fourth class has none."""
    random = np.random.default_rng(seed)
    found, true = [], []
    for picture in range(pictures):
        # Of masks torchmetrics leaves out a picture without objects, and what was found on it.
        count = 0 if picture == 3 and not masks else int(random.integers(1, 6))
        boxes, labels = boxes_of(random, count), random.integers(0, 3, count)
        moved = boxes + random.normal(0, 4, boxes.shape).round()
        kept = np.concatenate([np.arange(count), random.integers(0, max(count, 1), count)]).astype(int)
        answers = np.concatenate([moved[kept], boxes_of(random, 4)])
        answers = np.concatenate([answers[:, :2], np.maximum(answers[:, 2:], answers[:, :2] + 1)], axis=1)
        said = np.concatenate([labels[kept], random.integers(0, 4, 4)])
        said = np.where(random.random(len(said)) < 0.15, random.integers(0, 4, len(said)), said)
        scores = random.integers(0, 12, len(said)) / 12  # with equal ones
        if picture == 5:
            answers, said, scores = answers[:0], said[:0], scores[:0]
        drawings = [ellipse(box) for box in boxes] if masks else None
        said_masks = [ellipse(box) for box in answers] if masks else None
        crowd = random.random(count) < 0.2
        true.append(Objects.of(boxes, labels, crowd=crowd, masks=drawings))
        found.append(Found.of(answers, said, scores, masks=said_masks))
    return found, true


def torchmetrics_says(found: list[Found], true: list[Objects], kind: str) -> dict[str, Any]:
    from torchmetrics.detection import MeanAveragePrecision

    # Its own thresholds are COCO's rounded to float32, and overlaps of whole pixels lie on them exactly.
    metric = MeanAveragePrecision(
        iou_type=kind,
        class_metrics=True,
        backend="faster_coco_eval",
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    for one, objects in zip(found, true, strict=True):
        answer = {"labels": torch.from_numpy(one.labels), "scores": torch.from_numpy(one.scores)}
        truth = {
            "labels": torch.from_numpy(objects.labels),
            "iscrowd": torch.from_numpy(objects.crowd).int(),
            "area": torch.from_numpy(objects.areas),
        }
        for side, source in ((answer, one), (truth, objects)):
            if kind == "bbox":
                side["boxes"] = torch.from_numpy(source.boxes)
            else:
                stack = [mask.decode() for mask in source.masks or ()] or [np.zeros((SIDE, SIDE), bool)][:0]
                side["masks"] = torch.from_numpy(np.array(stack, bool).reshape(-1, SIDE, SIDE))
        metric.update([answer], [truth])
    return metric.compute()


@pytest.mark.parametrize(
    ("seed", "by"), [(0, "boxes"), (1, "boxes"), (2, "boxes"), (3, "masks"), (4, "masks")]
)
def test_all_figures_are_those_of_torchmetrics(seed: int, by: Any) -> None:
    found, true = drawn(seed, masks=by == "masks")
    ours = detection_scores(found, true, CLASSES, by=by)
    theirs = torchmetrics_says(found, true, "bbox" if by == "boxes" else "segm")
    for name, other in zip(FIGURES, TORCHMETRICS, strict=True):
        assert (-1 if ours[name] is None else ours[name]) == pytest.approx(theirs[other].item(), abs=1e-6), (
            name
        )
    precisions = dict(zip(theirs["classes"].tolist(), theirs["map_per_class"].tolist(), strict=True))
    recalls = dict(zip(theirs["classes"].tolist(), theirs["mar_100_per_class"].tolist(), strict=True))
    for number, row in enumerate(ours["per_class"]):
        for name, other in (("ap", precisions), ("ar_100", recalls)):
            wanted = other.get(number, -1)
            assert (-1 if row[name] is None else row[name]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("seed", [5, 6])
def test_all_figures_are_those_of_the_library_fed_with_a_file_of_coco(seed: int) -> None:
    found, true = drawn(seed)
    truth: dict[str, Any] = {
        "images": [{"id": 70 + place, "height": SIDE, "width": SIDE} for place in range(len(true))],
        "categories": [{"id": 10 * (number + 1), "name": name} for number, name in enumerate(CLASSES)],
        "annotations": [],
    }
    answers = []
    for place, (one, objects) in enumerate(zip(found, true, strict=True)):
        rows = zip(objects.boxes.tolist(), objects.labels.tolist(), objects.crowd.tolist(), strict=True)
        for (left, top, right, bottom), label, crowd in rows:
            box = [left, top, right - left, bottom - top]
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": 70 + place, "category_id": 10 * (label + 1)}
                | {"bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)}
            )
        for (left, top, right, bottom), label, score in zip(
            one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True
        ):
            box = [left, top, right - left, bottom - top]
            answers.append(
                {"image_id": 70 + place, "category_id": 10 * (label + 1), "bbox": box, "score": score}
            )
    library = coco.COCO(truth)
    evaluator = coco.COCOeval_faster(library, library.loadRes(answers), iouType="bbox")
    evaluator.run()
    ours = detection_scores(found, true, CLASSES)
    assert [-1 if ours[name] is None else ours[name] for name in FIGURES] == pytest.approx(
        evaluator.stats[:12].tolist(), abs=1e-6
    )


@pytest.mark.parametrize("by", ["boxes", "masks"])
def test_the_interval_is_drawn_around_the_figure_of_the_library(
    by: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def watched(matches: list[precision.Matches], *, seed: int) -> tuple[float, float]:
        seen.append(float(np.nanmean(precision.average_precisions(matches))))
        return precision.interval_of_ap50(matches, seed=seed)

    monkeypatch.setattr("vitreous.evaluation.detection.interval_of_ap50", watched)
    found, true = drawn(8, 20, masks=by == "masks")
    scores = detection_scores(found, true, CLASSES, by=by)
    assert seen == [pytest.approx(scores["ap50"], abs=1e-9)]
    low, high = scores["intervals"]["ap50"]
    assert 0 <= low < scores["ap50"] < high <= 1
    assert detection_scores(found, true, CLASSES, by=by)["intervals"] == scores["intervals"]


def test_finding_all_is_one_and_finding_nothing_is_zero() -> None:
    _, true = drawn(9)
    perfect = [Found.of(one.boxes, one.labels, np.ones(len(one))) for one in true]
    scores = detection_scores(perfect, true, CLASSES)
    assert scores["ap"] == scores["ap50"] == scores["ar_100"] == pytest.approx(1)
    assert scores["intervals"]["ap50"] == pytest.approx([1, 1])
    empty = [Found.of([], [], []) for _ in true]
    scores = detection_scores(empty, true, CLASSES)
    assert scores["ap"] == scores["ap50"] == scores["ar_100"] == 0
    assert scores["per_class"][3] == {
        "class": "d", "ap": None, "ap50": None, "ap75": None, "ar_100": None,
        "objects": 0, "crowds": 0, "answers": 0, "precision_at_recall": [],
    }  # fmt: skip


def test_what_lies_in_a_crowd_is_no_mistake() -> None:
    true = [Objects.of([[0, 0, 20, 20], [50, 50, 150, 150]], [0, 0], crowd=[False, True])]
    right, inside, outside = [0, 0, 20, 20], [60, 60, 80, 80], [160, 0, 180, 20]
    spared = detection_scores([Found.of([inside, right], [0, 0], [0.9, 0.8])], true, CLASSES)
    assert spared["ap"] == 1
    assert (spared["objects"], spared["crowds"]) == (1, 1)
    blamed = detection_scores([Found.of([outside, right], [0, 0], [0.9, 0.8])], true, CLASSES)
    assert blamed["ap"] == pytest.approx(0.5)


def test_sizes_are_those_of_the_annotations() -> None:
    box = [[0, 0, 100, 100]]
    found = [Found.of(box, [0], [0.5])]
    assert detection_scores(found, [Objects.of(box, [0])], CLASSES)["ap_large"] == 1
    thin = detection_scores(found, [Objects.of(box, [0], areas=[500])], CLASSES)
    assert (thin["ap_large"], thin["ap_small"]) == (None, 1)


def test_what_cannot_be_judged_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one, nothing = Objects.of([[0, 0, 5, 5]], [0]), Found.of([], [], [])
    with pytest.raises(DataError, match="got none"):
        detection_scores([], [], CLASSES)
    with pytest.raises(DataError, match="none of 2 pictures has an object"):
        detection_scores([nothing] * 2, [Objects.of([], [])] * 2, CLASSES)
    with pytest.raises(DataError, match="one answer for each of 1 pictures, got 2"):
        detection_scores([nothing] * 2, [one], CLASSES)
    with pytest.raises(DataError, match=r"picture 0: labels must lie in 0\.\.3, got 4\.\.4"):
        detection_scores([Found.of([[0, 0, 5, 5]], [4], [1])], [one], CLASSES)
    with pytest.raises(DataError, match="1 boxes, 2 labels and 1 scores"):
        detection_scores([Found.of([[0, 0, 5, 5]], [1, 1], [1])], [one], CLASSES)
    with pytest.raises(DataError, match="without masks; judge by boxes"):
        detection_scores([nothing], [one], CLASSES, by="masks")
    with pytest.raises(VitreousError, match="not finite for 1 of 1 pictures"):
        detection_scores([Found.of([[0, 0, 5, np.nan]], [0], [1])], [one], CLASSES)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingPackage, match=r"pip install 'vitreous\[detection\]'"):
        detection_scores([nothing], [one], CLASSES)


def test_what_a_run_watches_on_the_way_is_what_is_judged_at_its_end() -> None:
    """Without crowds, and of scores that differ and are not rounded: what a run adds up leaves both out."""
    found, true = drawn(2, 20)
    true = [Objects.of(objects.boxes, objects.labels) for objects in true]
    sums: Counter[str] = Counter()
    places = np.random.default_rng(1).permutation(sum(map(len, found)))
    started, ranked = 0, []
    for one, objects in zip(found, true, strict=True):
        scores = (1 + places[started : started + len(one)]) / BINS
        started += len(one)
        ranked.append(Found.of(one.boxes, one.labels, scores))
        shares = torch.from_numpy(objects.boxes) / SIDE
        centred = torch.cat([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], dim=1)
        target = Target(centred, torch.from_numpy(objects.labels), None, None, torch.tensor([SIDE, SIDE]))
        answers = torch.from_numpy(scores)[None], torch.from_numpy(one.labels)[None]
        sums.update(count_found(*answers, torch.from_numpy(one.boxes)[None] / SIDE, [target]))
    assert started < BINS
    judged = detection_scores(ranked, true, CLASSES, interval=False)
    watched = average_precisions(sums)
    for name in ("ap", "ap50", "ap75"):
        assert watched[name] == pytest.approx(judged[name], abs=1e-6)
