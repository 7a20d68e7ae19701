"""Average precision from sums: what is found on one picture adds up over pictures, batches and processes.

As COCO has it (cocodataset.org, "detection-eval"): objects of one class are found in the order of scores, an
object once, by a box that overlaps it enough; precision is read off at 101 recalls, and the mean is over
classes that some picture shows. Scores are rounded to 1/500, and what has the same score is taken at once.

Shapes: B pictures; Q queries; n objects of a picture.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from vitreous.data.batch import Target
from vitreous.tasks.set_matching import corners

OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
BINS = 500
LARGEST = 100  # boxes of a class on one picture that take part, those of the highest scores
SAID, HIT, THERE = "said ", "hit ", "there "  # ahead of "class bin"; "class overlap bin"; "class"
RECALLS = np.linspace(0, 1, 101)


def count_found(scores: Tensor, labels: Tensor, boxes: Tensor, targets: Sequence[Target]) -> dict[str, float]:
    """scores and labels (B, Q), boxes (B, Q, 4) corners as shares -> how many boxes are said at each score,
    how many of them hit at each overlap, and how many objects there are, of each class."""
    found: Counter[str] = Counter()
    for picture, target in enumerate(targets):
        order = _surest(scores[picture].argsort(descending=True, stable=True), labels[picture])
        said = labels[picture][order].cpu().numpy()
        places = (scores[picture][order].clamp(0, 1) * BINS).round().long().cpu().numpy()
        overlaps = box_iou(boxes[picture][order], corners(target.boxes.to(boxes))).cpu().numpy()
        true = target.labels.cpu().numpy()
        for label, place in zip(said.tolist(), places.tolist(), strict=True):
            found[f"{SAID}{label} {place}"] += 1
        for label in true.tolist():
            found[f"{THERE}{label}"] += 1
        for label in np.intersect1d(said, true).tolist():
            rows, columns = np.flatnonzero(said == label), np.flatnonzero(true == label)
            for step, least in enumerate(OVERLAPS):
                for row in _hits(overlaps[np.ix_(rows, columns)], least):
                    found[f"{HIT}{label} {step} {places[rows[row]]}"] += 1
    return {name: float(count) for name, count in found.items()}


def _surest(order: Tensor, labels: Tensor) -> Tensor:
    """Boxes (Q,) the surest first, and what they are -> those that take part, in the same order."""
    if len(order) <= LARGEST:
        return order
    told = labels[order]
    before = (told[:, None] == told[None]).tril(-1).sum(1)  # of the same class, and surer
    return order[before < LARGEST]


def average_precisions(sums: Mapping[str, float]) -> dict[str, float]:
    """``ap``, ``ap50`` and ``ap75``, from 0 to 1; 0 where there are no objects."""
    there = {int(name.removeprefix(THERE)): count for name, count in sums.items() if name.startswith(THERE)}
    said = {label: np.zeros(BINS + 1) for label in there}
    hit = {label: np.zeros((len(OVERLAPS), BINS + 1)) for label in there}
    for name, count in sums.items():
        numbers = [int(word) for word in name.split()[1:]] if name.startswith((SAID, HIT)) else []
        if not numbers or numbers[0] not in there:
            continue
        if name.startswith(SAID):
            said[numbers[0]][numbers[1]] = count
        else:
            hit[numbers[0]][numbers[1], numbers[2]] = count
    each = np.array(
        [
            [_precision(hit[label][step], said[label], count) for step in range(len(OVERLAPS))]
            for label, count in there.items()
        ]
    ).reshape(-1, len(OVERLAPS))
    means = each.mean(0) if len(each) else np.zeros(len(OVERLAPS))
    return {"ap": float(means.mean()), "ap50": float(means[0]), "ap75": float(means[5])}


def _hits(overlaps: NDArray[np.float32], least: float) -> list[int]:
    """Overlaps of boxes, the surest first, with objects (q, n) -> which boxes find an object that no surer
    one has found; each takes the one it overlaps most."""
    free = np.ones(overlaps.shape[1], dtype=bool)
    hits = []
    for row in np.flatnonzero((overlaps >= least).any(axis=1)).tolist():
        open_ones = np.where(free, overlaps[row], -1.0)
        best = int(open_ones.argmax())
        if open_ones[best] >= least:
            free[best] = False
            hits.append(row)
    return hits


def _precision(hit: NDArray[np.float64], said: NDArray[np.float64], there: float) -> float:
    """How many hit, and are said, at each score from the lowest (bins,) -> the mean precision at 101
    recalls."""
    hits, all_said = np.cumsum(hit[::-1]), np.cumsum(said[::-1])
    precision = np.divide(hits, all_said, out=np.zeros_like(hits), where=all_said > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # from here on
    places = np.searchsorted(hits / there, RECALLS - 1e-9, side="left")
    return float(np.append(best, 0.0)[np.minimum(places, len(best))].mean())
