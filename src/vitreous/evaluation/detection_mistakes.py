"""What kind of mistakes a detector makes, and on which pictures: for galleries of best, worst, most confused.

The kinds are those of "TIDE: A General Toolbox for Identifying Object Detection Errors" (arXiv:2008.08115),
section 2.2, with its borders: an overlap of one half is enough, below one tenth there is nothing. Only
answers that would be shown are looked at, those with a score of at least ``least``; overlaps are of boxes.

Shapes: m answers and n objects of a picture; K classes. Boxes are left, top, right, bottom in source pixels.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import Objects
from vitreous.evaluation.detection import Found
from vitreous.evaluation.precision import HALF, chosen

Kind = Literal["confused", "doubled", "misplaced", "both", "made up", "missed"]
KINDS: tuple[Kind, ...] = ("confused", "doubled", "misplaced", "both", "made up", "missed")
NOTHING = 0.1  # the overlap below which an answer has to do with no object
LISTED = 50  # pictures and mistakes that are named

Floats = NDArray[np.float64]


class Mistake(NamedTuple):
    """One mistake: ``answer`` is the place of the answer, None of an object that was missed; ``object`` that
    of the object it has to do with, None of an answer that was made up."""

    kind: Kind
    answer: int | None
    object: int | None


class Judged(NamedTuple):
    """One picture: (answer, object) of those that are right, the mistakes, and ``f1``, twice the right ones
    over answers and objects together; 1 where there are neither."""

    right: tuple[tuple[int, int], ...]
    mistakes: tuple[Mistake, ...]
    f1: float


def box_overlaps(boxes: NDArray[Any], others: NDArray[Any], crowd: NDArray[np.bool_]) -> Floats:
    """(m, 4) and (n, 4) -> intersection over union (m, n), with a crowd (n,) over the first box alone."""
    first, second = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas, theirs = ((side[..., 2:] - side[..., :2]).prod(axis=-1) for side in (first, second))
    whole = np.where(crowd, areas, areas + theirs - common)
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def judge_picture(found: Found, objects: Objects, *, least: float = 0.5) -> Judged:
    """What is right of one picture's answers, and what kind of mistake each of the others is.

    An answer is, the first that holds, "confused": it overlaps an object of another class enough; "doubled":
    one of its class that a surer answer has; "misplaced": one of its class a little; "both": one of another
    class a little; "made up": none. An object is "missed" that no answer has, nor is taken for another class
    or misplaced. What lies in a crowd of its class takes no part.
    """
    answers = np.flatnonzero(found.scores >= least)
    answers = answers[np.argsort(-found.scores[answers], kind="stable")]
    overlaps = box_overlaps(found.boxes[answers], objects.boxes, objects.crowd)  # (m, n)
    same = found.labels[answers][:, None] == objects.labels[None]
    taken, aside = chosen(np.where(same, overlaps, 0), objects.crowd)
    takes = {row: place for row, place in enumerate(taken.tolist()) if place >= 0}
    right = tuple((int(answers[row]), takes[row]) for row in sorted(takes))
    covered = set(takes.values())
    mistakes: list[Mistake] = []
    wanted = np.flatnonzero(~objects.crowd)
    for row, answer in enumerate(answers.tolist()):
        if row in takes or aside[row]:
            continue
        kind, place = _kind(overlaps[row, wanted], same[row, wanted])
        about = None if place is None else int(wanted[place])
        mistakes.append(Mistake(kind, answer, about))
        if kind in ("confused", "misplaced") and about is not None:
            covered.add(about)
    mistakes += [Mistake("missed", None, place) for place in wanted.tolist() if place not in covered]
    count = len(answers) - int(aside.sum()) + len(wanted)
    return Judged(right, tuple(mistakes), 2 * len(right) / count if count else 1.0)


def detection_mistakes(
    names: Sequence[str],
    predictions: Sequence[Found],
    truths: Sequence[Objects],
    classes: Sequence[str],
    *,
    least: float = 0.5,
) -> dict[str, Any]:
    """Pictures by name, their answers and truth -> as plain values: how many mistakes there are of each
    kind, the pairs of classes that are most confused, the pictures with the least F1 first, and the mistakes
    of the surest answers with their boxes. ``confusion`` (K + 1, K + 1) counts objects by their class, in
    rows, and what they were taken for; the last row is what was found where no object is, the last column
    objects that were not found, or not well enough."""
    nothing = len(classes)
    confusion = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    kinds: Counter[Kind] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    pictures, rows = [], []
    right = 0
    for name, found, objects in zip(names, predictions, truths, strict=True):
        judged = judge_picture(found, objects, least=least)
        right += len(judged.right)
        kinds.update(mistake.kind for mistake in judged.mistakes)
        pairs.update(
            (int(objects.labels[mistake.object]), int(found.labels[mistake.answer]))
            for mistake in judged.mistakes
            if mistake.kind == "confused" and mistake.object is not None and mistake.answer is not None
        )
        for answer, place in judged.right:
            confusion[objects.labels[place], found.labels[answer]] += 1
        for true, said in _unfitting(judged, found, objects, nothing):
            confusion[true, said] += 1
        pictures.append(
            {
                "name": name,
                "f1": judged.f1,
                "right": len(judged.right),
                "mistakes": len(judged.mistakes),
                "confused": sum(mistake.kind == "confused" for mistake in judged.mistakes),
            }
        )
        rows += [_plain(name, mistake, found, objects, classes) for mistake in judged.mistakes]
    rows.sort(key=lambda row: -(row["score"] or 0.0))
    return {
        "least_score": least,
        "right": right,
        "kinds": {kind: kinds[kind] for kind in KINDS},
        "confused": [
            {"class": classes[true], "said": classes[said], "times": times}
            for (true, said), times in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:LISTED]
        ],
        "confusion": confusion.tolist(),
        "pictures": sorted(pictures, key=lambda row: row["f1"]),
        "mistakes": rows[:LISTED],
    }


def _unfitting(judged: Judged, found: Found, objects: Objects, nothing: int) -> Iterator[tuple[int, int]]:
    """The mistakes of a picture as (class, what it was taken for), ``nothing`` where one of them is not
    there. An object that was taken for several others, or twice for one, counts once."""
    taken = {place for _, place in judged.right}
    for mistake in sorted(judged.mistakes, key=lambda one: KINDS.index(one.kind)):
        said = nothing if mistake.answer is None else int(found.labels[mistake.answer])
        if mistake.object is None or mistake.object in taken:
            yield nothing, said
            continue
        true = int(objects.labels[mistake.object])
        if mistake.kind in ("confused", "missed"):
            taken.add(mistake.object)
            yield true, said
        elif mistake.kind == "misplaced":
            taken.add(mistake.object)
            yield true, nothing
            yield nothing, said
        else:
            yield nothing, said


def _kind(overlaps: Floats, same: NDArray[np.bool_]) -> tuple[Kind, int | None]:
    """An answer's overlaps with objects (n,), and which are of its class -> what it is, and about which."""
    own, other = np.where(same, overlaps, -1), np.where(same, -1, overlaps)
    tries: tuple[tuple[Kind, Floats, float], ...] = (
        ("confused", other, HALF),
        ("doubled", own, HALF),
        ("misplaced", own, NOTHING),
        ("both", other, NOTHING),
    )
    for kind, values, enough in tries:
        if values.size and values.max() >= enough:
            return kind, int(values.argmax())
    return "made up", None


def _plain(
    name: str, mistake: Mistake, found: Found, objects: Objects, classes: Sequence[str]
) -> dict[str, Any]:
    answer, about = mistake.answer, mistake.object
    return {
        "name": name,
        "kind": mistake.kind,
        "said": None if answer is None else classes[found.labels[answer]],
        "score": None if answer is None else float(found.scores[answer]),
        "box": None if answer is None else found.boxes[answer].tolist(),
        "class": None if about is None else classes[objects.labels[about]],
        "true_box": None if about is None else objects.boxes[about].tolist(),
    }
