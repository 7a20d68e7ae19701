"""Why this object: what a detector's query looked at, and what of it spoke for the class of its answer.

How that is found depends on the model: ``decoding.py`` for DETR, ``asking.py`` for YOLOS. Both answer with
the same three kinds of map.

Shapes: Q queries; K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.explain import asking, decoding
from vitreous.explain.explained import (
    Explainable,
    Explanation,
    NotFound,
    Seen,
    Told,
    checked_place,
    class_index,
    name_of,
    some,
    to_source,
    within,
)
from vitreous.explain.looking import Look
from vitreous.models.detr import Detections, Detr, best_of
from vitreous.models.yolos import Yolos

Detector = Detr | Yolos

THRESHOLD = 0.5  # of the score of an object; less sure ones are no part of the answer


@dataclass(frozen=True)
class Object:
    """One query's answer: which query, its likeliest class and how likely it is, and the box in source
    pixels, left, top, right, bottom."""

    query: int
    index: int
    score: float
    box: tuple[float, float, float, float]


def objects_in(detections: Detections, view: Seen) -> list[Object]:
    """What all queries say of one picture, the surest first."""
    best = best_of(detections)
    high, wide = view.image.shape[-2:]
    x, y, width, height = best.boxes[0].detach().double().cpu().numpy().T
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    boxes = view.where.back_boxes(corners * np.array([wide, high, wide, high]))
    scores, labels = best.scores[0].detach().cpu().numpy(), best.labels[0].tolist()
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        Object(query, int(labels[query]), float(scores[query]), tuple(boxes[query].tolist()))
        for query in order
    ]


def chosen(
    found: Sequence[Object],
    classes: Sequence[str],
    count: int,
    target: int | str | None = None,
    at: tuple[float, float] | None = None,
    threshold: float = THRESHOLD,
) -> int:
    """The place in the answer of the object that is meant: ``target`` is that place, or a class whose surest
    object is meant; ``at`` a point x, y in source pixels that lies in its box; the surest of what is left.

    Raises:
        ConfigError: a class that the model does not know, or a place beyond the answer.
        NotFound: nothing that is meant was found.
    """
    sure = [thing for thing in found if thing.score > threshold]
    index = class_index(classes, target, count) if isinstance(target, str) else None
    if not sure:
        raise NotFound(f"nothing was found above {threshold:g}{_surest(found, classes)}")
    if isinstance(target, int):
        if not 0 <= target < len(sure):
            told = "1 object was" if len(sure) == 1 else f"{len(sure)} objects were"
            raise ConfigError(f"no object {target}; {told} found above {threshold:g}, counted from 0")
        return target
    for number, thing in enumerate(sure):
        left, top, right, bottom = thing.box
        here = at is None or (left <= at[0] + 0.5 < right and top <= at[1] + 0.5 < bottom)
        if here and index in (None, thing.index):
            return number
    what = "object" if index is None else repr(name_of(classes, index))
    where = "" if at is None else f" at {at[0]:g},{at[1]:g}"
    if index is not None:
        found = [thing for thing in found if thing.index == index]
    shown = list(dict.fromkeys(name_of(classes, thing.index) for thing in sure))
    raise NotFound(
        f"no {what} was found{where} above {threshold:g}"
        + (f"{_surest(found, classes)}; the picture shows {some(shown)}" if at is None else "")
    )


def look_for_objects(model: Detector, images: Tensor) -> Look:
    """One picture (1, C, H, W) looked at, and what its objects are told from kept."""
    return asking.look_at(model, images) if isinstance(model, Yolos) else decoding.look_at(model, images)


def object_relevance(model: Detector, looked: Look, query: int, index: int) -> Told:
    """How much each patch spoke for the logit of class ``index`` in the answer of a query; zero or more."""
    if isinstance(model, Yolos):
        return asking.relevance(model, looked, query, index)
    return decoding.relevance(model, looked, query, index)


def query_attention(model: Detector, images: Tensor, layer: int | None = None) -> tuple[Tensor, int]:
    """(1, C, H, W) -> what queries attend to in one layer, the last by default, (heads, Q, rows, cols), and
    which layer it was. ConfigError for a layer that is not there."""
    if isinstance(model, Yolos):
        return asking.attention(model, images, layer)
    return decoding.attention(model, images, layer)


def attention_of(model: Detector, weights: Tensor, query: int, head: int | None = None) -> Told:
    """What ``query_attention`` found, for one query and one head, or the mean of all. ConfigError for a head
    that is not there."""
    heads = weights[:, query]  # (heads, rows, cols)
    grid = heads.mean(dim=0) if head is None else heads[within("head", head, len(heads), default=0)]
    way = asking.ATTENDS if isinstance(model, Yolos) else decoding.ATTENDS
    return Told(grid, int(model.backbone.strides[-1]), way)


def object_gradient(model: Detector, looked: Look, query: int, index: int) -> Told:
    """Gradient times activation on the last map that the answer is read from."""
    if isinstance(model, Yolos):
        return asking.gradient(model, looked, query, index)
    return decoding.gradient(model, looked, query, index)


def explain_object(
    predictor: Explainable,
    view: Seen,
    method: str,
    target: int | str | None,
    at: tuple[float, float] | None,
    attention: tuple[int | None, int | None],
    threshold: float,
) -> Explanation:
    """One object of a detector's answer; ``attention`` is the layer and the head of the method of that name.
    See ``explanation.explain``."""
    model = predictor.model
    if not isinstance(model, Detector):
        raise ConfigError(f"a {type(model).__name__} finds no objects; wanted a detector")
    if at is not None:
        checked_place(at, view)
    images = view.image[None].to(predictor.device)
    looked = look_for_objects(model, images)
    found = objects_in(looked.answer, view)
    number = chosen(found, predictor.classes, model.config.classes, target, at, threshold)
    thing = found[number]
    layer, head = attention
    if method == "attention":
        weights, layer = query_attention(model, images, layer)
        shown = attention_of(model, weights, thing.query, head)
    elif method == "gradient":
        shown = object_gradient(model, looked, thing.query, thing.index)
    else:
        shown = object_relevance(model, looked, thing.query, thing.index)
    cells = shown.grid.detach().float().cpu()
    return Explanation(
        to_source(cells, view, shown.stride),
        cells.numpy(),
        thing.index,
        name_of(predictor.classes, thing.index),
        thing.score,
        method,
        layer,
        head,
        way=shown.way,
        number=number,
        box=thing.box,
        at=at,
    )


def _surest(found: Sequence[Object], classes: Sequence[str]) -> str:
    if not found:
        return ""
    return f"; the surest is {name_of(classes, found[0].index)!r} with {found[0].score:.4f}"
