"""One call from a picture file to a map in its own pixels."""

import os
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vitreous.data.images import as_rgb, open_picture
from vitreous.errors import ConfigError
from vitreous.explain.attention import attention_map, pool_of, rollout
from vitreous.explain.explained import METHODS as METHODS
from vitreous.explain.explained import Explainable as Explainable
from vitreous.explain.explained import Explanation as Explanation
from vitreous.explain.explained import NotFound as NotFound
from vitreous.explain.explained import (
    Seen,
    check_method,
    class_index,
    name_of,
    says_of,
    to_source,
    within,
)
from vitreous.explain.objects import THRESHOLD, explain_object
from vitreous.explain.recording import recording
from vitreous.explain.regions import explain_region
from vitreous.explain.saliency import relevance

WAYS = {
    "relevance": "attention that raised the class's score, through all layers (arXiv:2103.15679), by patches",
    "rollout": "attention followed through all layers (arXiv:2005.00928), by patches",
    "attention": "one layer's attention, by patches",
}


def explain(
    predictor: Explainable,
    picture: str | os.PathLike[str] | Image.Image,
    method: str = "relevance",
    target: int | str | None = None,
    layer: int | None = None,
    head: int | None = None,
    *,
    at: tuple[float, float] | None = None,
    threshold: float = THRESHOLD,
) -> Explanation:
    """Say where a model looked in a picture, given as a file or as a PIL picture.

    Args:
        method: "relevance" (arXiv:2103.15679), for all models. Of a classifier also "rollout"
            (arXiv:2005.00928) and "attention" (one layer's raw weights; the last one by default, the mean
            over heads). Of a detector "attention" (of a decoder layer, from the object's query to the cells)
            and "gradient" (times activation, arXiv:2011.08891); of a segmenter "gradient".
        target: of a classifier a class, by index or name, the answer by default; rollout and attention do not
            depend on it. Of a detector an object, by its place in the answer, 0 being the surest, or by its
            class, whose surest object is meant. Of a segmenter a class, by index or name: of its whole region
            or, with ``at``, its logit there; the largest region by default.
        at: a place x, y in source pixels: the surest object whose box holds it, or what a segmenter says
            there.
        threshold: objects with lower scores are no part of a detector's answer.

    Raises:
        ConfigError: an unknown method or class, a layer or head that the model does not have, a place outside
            the picture, an object beyond the answer, or a classifier that is not on a plain ViT.
        NotFound: the picture does not show what was asked about.
        PictureError: a file that cannot be read.
    """
    model = predictor.model
    says = says_of(model)
    check_method(method, says)
    # A model that cannot be explained is refused before it runs.
    pool = pool_of(model) if says == "classes" else ""
    if method != "attention" and (layer, head) != (None, None):
        raise ConfigError(f"{method} goes through all layers and heads; layer and head are for 'attention'")
    if says == "classes" and at is not None:
        raise ConfigError("a classifier tells what the whole picture shows; places are for other models")
    picture = as_rgb(picture) if isinstance(picture, Image.Image) else open_picture(os.fspath(picture))
    view = predictor.prepare(picture)
    if says == "objects":
        return explain_object(predictor, view, method, target, at, (layer, head), threshold)
    if says == "regions":
        return explain_region(predictor, view, method, target, at)
    return _explain_class(predictor, view, method, target, layer, head, pool)


def _explain_class(
    predictor: Explainable,
    view: Seen,
    method: str,
    target: int | str | None,
    layer: int | None,
    head: int | None,
    pool: str,
) -> Explanation:
    answer = predictor.answer(view)
    index = answer.index if target is None else class_index(predictor.classes, target, len(answer.scores))
    images = view.image[None].to(predictor.device)
    if method == "relevance":
        grid: Tensor = relevance(predictor.model, images, index)[0]
    else:
        with torch.inference_mode(), recording(predictor.model) as record:
            predictor.model(images)
            if method == "rollout":
                grid = rollout(record, pool)[0]
            else:
                layer = within("layer", layer, len(record.layers), default=len(record.layers) - 1)
                heads = attention_map(record, layer, pool)[0]  # (heads, rows, cols)
                if head is None:
                    grid = heads.mean(dim=0)
                else:
                    grid = heads[within("head", head, len(heads), default=0)]
    cells = grid.float().cpu()
    heat = to_source(cells, view, patch_of(predictor.model))
    label, score = name_of(predictor.classes, index), float(answer.scores[index])
    return Explanation(heat, cells.numpy(), index, label, score, method, layer, head, way=WAYS[method])


def patch_of(model: nn.Module) -> int:
    """Pixels from one cell of the last map to the next: the patch size of a plain ViT."""
    backbone: Any = model.backbone
    return int(backbone.strides[-1])
