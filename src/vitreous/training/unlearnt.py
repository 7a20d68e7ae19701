"""A detector or a segmenter that learns nothing, and what may be the reason.

An average precision that stays at nothing has a dozen causes that look alike from outside: boxes in another
format than was thought, class numbers that are off by one, a learning rate at which nothing moves, or only
too few steps. So what can be seen is said: what the annotations are like, whether the queries that matched an
object know its class, and whether their boxes lie on it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vitreous.data.collection import Collection
from vitreous.data.splitting import many
from vitreous.errors import PictureError
from vitreous.training.config import TrainConfig

NOTHING_FOUND = 0.005  # average precision at half an overlap, up to which nothing was found
LOOKED = 200  # pictures, about, whose boxes are looked at
WHOLE = 0.9  # share of a picture above which a box is rather the picture's
SPECK = 2.0  # pixels of the longer side, up to which nothing can be seen in a box
MANY = 0.5  # share of all boxes
LIE_ON = 0.3  # mean generalised overlap of matched boxes, from which on they lie on their objects
KNOWN = 0.1  # share of matched queries that tell the right class, from which on classes are being learnt
FEW_STEPS = 1000


class Marked(NamedTuple):
    """What boxes of some pictures are like: how many; the share that covers nearly the whole picture; the
    share that is a speck; their median sides as shares of the picture's; and the classes of which there is no
    object."""

    boxes: int
    whole: float
    specks: float
    sides: tuple[float, float]
    absent: tuple[str, ...]


def look_at_boxes(collection: Collection) -> Marked:
    """The boxes of some pictures, spread over all, as they are marked. A picture that cannot be read is
    passed over: training names it."""
    sizes, shares, seen = [], [], np.zeros(len(collection.classes), dtype=bool)
    for sample in collection.samples[:: max(1, len(collection) // LOOKED)]:
        objects = sample.held_objects()
        if objects is None or not len(objects):
            continue
        try:
            picture = sample.open()
        except PictureError:
            continue
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]  # (n, 2) pixels
        sizes.append(sides)
        shares.append(sides / np.array([picture.width, picture.height], dtype=np.float32))
        seen[objects.labels] = True
    absent = tuple(name for name, there in zip(collection.classes, seen, strict=True) if not there)
    if not shares:
        return Marked(0, 0.0, 0.0, (0.0, 0.0), absent)
    share = np.concatenate(shares)
    width, height = np.median(share, axis=0).tolist()
    return Marked(
        boxes=len(share),
        whole=float((share.min(axis=1) > WHOLE).mean()),
        specks=float((np.concatenate(sizes).max(axis=1) <= SPECK).mean()),
        sides=(width, height),
        absent=absent,
    )


def finds_nothing(measures: Mapping[str, float]) -> bool:
    """Whether the measures are those of a detector that finds nothing."""
    return measures.get("ap50", 1.0) <= NOTHING_FOUND


def nothing_found(
    measures: Mapping[str, float],
    marked: Marked,
    judged: Marked,
    config: TrainConfig,
    *,
    step: int,
    plain: bool = False,
) -> str:
    """What is wrong with the measures of a detector that finds nothing after so many steps. ``marked`` are
    the boxes to learn from, ``judged`` those of the validation part; ``plain`` says whether the queries have
    no boxes of their own."""
    if not judged.boxes:
        return "nothing found: nothing is marked on the validation pictures, so there is nothing to judge by"
    width, height = marked.sides
    annotated = (
        f"the training pictures that were looked at have {many(marked.boxes, 'box', 'boxes')}, the median"
        f" {width:.0%} x {height:.0%} of its picture"
    )
    matched = (
        f"matched queries tell the right class in {measures['matched_right']:.0%} and overlap their object by"
        f" {measures['matched_overlap']:.2f} (from -1 to 1), a picture is miscounted by"
        f" {measures['miscounted']:.1f} objects"
    )
    advice = _advice(marked, measures, _patience(step, config, plain=plain), step)
    return f"nothing found: AP50 {measures['ap50']:.4f}; {matched}; {annotated}; {advice}"


def one_class_only(measures: Mapping[str, float], config: TrainConfig, step: int) -> str | None:
    """What is wrong with the measures of a segmenter: one class for all pixels is as good. None where it is
    not so, or where the task does not say what one class for all reaches."""
    guess = measures.get("guessing_iou")
    if guess is None or measures["mean_iou"] > guess + NOTHING_FOUND or guess + NOTHING_FOUND > 1:
        return None
    return (
        f"nothing told apart: mean IoU {measures['mean_iou']:.4f}, and one class for all pixels reaches"
        f" {guess:.4f}; {_patience(step, config)}, then look at the maps with vitreous doctor"
    )


def _advice(marked: Marked, measures: Mapping[str, float], patience: str, step: int) -> str:
    """The likeliest reason, and what to do."""
    if not marked.boxes:
        return "the training pictures have no boxes: look at the annotations with vitreous doctor"
    if marked.whole > MANY:
        return (
            f"{marked.whole:.0%} of the boxes cover nearly the whole picture: are they in the format that the"
            " layout wants (COCO left, top, width, height in pixels; YOLO centre and sides as shares)?"
        )
    if marked.specks > MANY:
        return (
            f"{marked.specks:.0%} of the boxes are specks of {SPECK:g} pixels: shares where pixels are"
            " wanted? (COCO and VOC want pixels, YOLO shares)"
        )
    near = measures["matched_overlap"] >= LIE_ON and measures["matched_right"] < KNOWN
    if near and step >= FEW_STEPS:  # early on boxes lie where they were put
        absent = f" (none of {', '.join(marked.absent[:5])} among them)" if marked.absent else ""
        return (
            f"boxes lie near their objects and classes are not learnt: are the class ids those of the"
            f" names{absent}? else {patience}"
        )
    return patience


def _patience(step: int, config: TrainConfig, *, plain: bool = False) -> str:
    rate = config.optimizer.learning_rate
    faster = "; --set model.options.references=boxes learns in fewer steps" if plain else ""
    if step < FEW_STEPS:
        return f"{many(step, 'step')} are few: train on{faster}"
    return f"try another optimizer.learning_rate than {rate:g}, a third of it first{faster}"
