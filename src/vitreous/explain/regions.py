"""Why this class at this place: what a segmenter read for a pixel, and where in the picture that came from.

The head reads maps. How much it read from each cell for the logit of a class is gradient times activation,
where that is above zero; what is in a cell has come from patches through the backbone's attention, and so
relevance is carried back as in arXiv:2103.15679, the reading in the place of a decoder's attention (eq. 10).
So the method is one for all backbones: a plain ViT, read once or after several of its blocks, Swin and Mix
Transformers.

Gradient times activation alone would say little here: SegFormer's head reads each place's own cells and no
others.

Shapes: K classes; h x w cells of the logits; H x W source pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from vitreous.errors import ConfigError
from vitreous.explain.carrying import carried_back
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
)
from vitreous.explain.looking import Look, gradient_map, look, reading_of
from vitreous.explain.paths import path_of
from vitreous.explain.recording import gradients_on
from vitreous.models.segformer import SegFormer
from vitreous.models.upernet import UPerNet

Segmenter = SegFormer | UPerNet


@dataclass(frozen=True)
class Asked:
    """What was asked about: a class by its index, its logit at a place or its mean over a region, (), and its
    probability there."""

    index: int
    logit: Tensor
    score: float


def look_for_regions(model: Segmenter, images: Tensor) -> Look:
    """One picture (1, C, H, W) looked at, with the maps kept that its head was given."""
    return look(model, images, model.scales if isinstance(model, UPerNet) else model.head)


def logits_at(looked: Look, place: tuple[float, float]) -> Tensor:
    """(K,) at a place across and down, as shares of the view, as enlarging the logits to it would give
    them."""
    logits: Tensor = looked.answer.logits  # (1, K, h, w)
    grid = logits.new_tensor(place).view(1, 1, 1, 2) * 2 - 1
    return grid_sample(logits, grid, "bilinear", "border", align_corners=False)[0, :, 0, 0]


def at_place(looked: Look, place: tuple[float, float], index: int | None = None) -> Asked:
    """A class at a place (``logits_at``), by default the likeliest there."""
    with gradients_on():
        logits = logits_at(looked, place)
        index = int(logits.argmax()) if index is None else index
        return Asked(index, logits[index], float(logits.detach().softmax(0)[index]))


def over_region(looked: Look, index: int) -> Asked | None:
    """A class where it is the likeliest one: the means over all such cells, None where there is none."""
    with gradients_on():
        logits = looked.answer.logits[0]  # (K, h, w)
        here = logits.argmax(dim=0) == index  # (h, w)
        if not here.any():
            return None
        score = logits.detach().softmax(dim=0)[index][here].mean()
        return Asked(index, logits[index][here].mean(), float(score))


def region_relevance(model: Segmenter, looked: Look, logit: Tensor) -> Told:
    """How much each patch spoke for a logit, zero or more."""
    gradients = looked.gradients(logit)
    with gradients_on(), torch.no_grad():
        path = path_of(model, looked.size, looked.record, gradients.attention)
        ends = model.config.taps if isinstance(model, UPerNet) else path.maps
        readings: dict[int, Tensor] = {}
        for end, grid, gradient in zip(ends, looked.maps, gradients.maps, strict=True):
            reading = path.reading(reading_of(grid, gradient))
            readings[end] = readings[end] + reading if end in readings else reading
        grid = path.on_grid(carried_back(path.layers, readings))
    way = (
        "what the head read, gradient times activation, carried back through attention (arXiv:2103.15679) to"
        f" {path.told}"
    )
    return Told(grid, path.stride, way)


def region_gradient(looked: Look, logit: Tensor) -> Told:
    """Gradient times activation on the maps that the head was given, at the finest one's cells."""
    grid = gradient_map(looked, looked.gradients(logit))
    stride = -(-looked.size[0] // grid.shape[0])
    way = "gradient times activation (arXiv:2011.08891) on all maps that the head was given"
    return Told(grid, stride, way)


def explain_region(
    predictor: Explainable,
    view: Seen,
    method: str,
    target: int | str | None,
    at: tuple[float, float] | None,
) -> Explanation:
    """The class of a place or of its whole region; see ``explanation.explain``."""
    model = predictor.model
    if not isinstance(model, Segmenter):
        raise ConfigError(f"a {type(model).__name__} tells no regions; wanted a SegFormer or a UPerNet")
    place = None if at is None else checked_place(at, view)
    classes, count = predictor.classes, model.config.classes
    index = None if target is None else class_index(classes, target, count)
    looked = look_for_regions(model, view.image[None].to(predictor.device))
    asked = _region(looked, index, classes) if place is None else at_place(looked, place, index)
    if method == "gradient":
        told = region_gradient(looked, asked.logit)
    else:
        told = region_relevance(model, looked, asked.logit)
    cells = told.grid.detach().float().cpu()
    return Explanation(
        to_source(cells, view, told.stride),
        cells.numpy(),
        asked.index,
        name_of(classes, asked.index),
        asked.score,
        method,
        way=told.way,
        at=at,
    )


def _region(looked: Look, index: int | None, classes: Sequence[str]) -> Asked:
    """The region of a class, the largest by default. NotFound where there is none."""
    logits = looked.answer.logits[0]
    counts = torch.bincount(logits.argmax(dim=0).flatten(), minlength=len(logits))
    index = int(counts.argmax()) if index is None else index
    asked = over_region(looked, index)
    if asked is None:
        names = [name_of(classes, int(kind)) for kind in counts.argsort(descending=True) if counts[kind]]
        raise NotFound(f"no place is told to be {name_of(classes, index)!r}; the picture shows {some(names)}")
    return asked
