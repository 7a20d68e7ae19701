"""One call from a picture file to a map in its own pixels."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitreous.data.images import as_rgb, open_picture
from vitreous.errors import ConfigError, nearest
from vitreous.explain.attention import attention_map, pool_of, rollout
from vitreous.explain.recording import recording
from vitreous.explain.saliency import relevance

METHODS = ("relevance", "rollout", "attention")


class Placed(Protocol):
    """The way back from a view to its picture; ``vitreous.data.preprocess.Placement`` is one."""

    def back(self, heat: Any) -> NDArray[np.float32]:
        """Heat (rows, cols) over the whole view -> (H, W) in source pixels."""
        ...


class Seen(Protocol):
    """A picture made ready for the model; ``vitreous.data.preprocess.View`` is one."""

    @property
    def image(self) -> Tensor:
        """(C, h, w)."""
        ...

    @property
    def where(self) -> Placed:
        """Where in the source its pixels came from."""
        ...


class Answered(Protocol):
    """What was said of a view; ``vitreous.predictor.Answer`` is one."""

    @property
    def index(self) -> int:
        """The class with the highest score."""
        ...

    @property
    def scores(self) -> Sequence[float] | NDArray[Any]:
        """(K,) probabilities."""
        ...


class Explainable(Protocol):
    """A model with its preprocessing and classes; ``vitreous.predictor.Predictor`` is one."""

    @property
    def model(self) -> nn.Module:
        """The model, on its device."""
        ...

    @property
    def prepare(self) -> Callable[[Image.Image], Seen]:
        """Picture -> view."""
        ...

    @property
    def answer(self) -> Callable[[Any], Answered]:
        """View -> answer."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The names of the logits, in order."""
        ...

    @property
    def device(self) -> Any:
        """Where the model is."""
        ...


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the model looked.

    heat (H, W) float32, in the source picture's pixels, zero where the model's crop saw nothing; grid
    (rows, cols) float32, the same by patches, the padded ones included. The units are the method's: shares
    of attention ("attention", "rollout"), or the logit's gradient times such shares ("relevance").
    ``index``, ``label`` and ``score`` (a probability) are of the class that was asked about.
    ``layer`` and ``head``, counted from 0, are set for "attention" alone; head None is the mean of all.
    """

    heat: NDArray[np.float32] = field(repr=False)
    grid: NDArray[np.float32] = field(repr=False)
    index: int
    label: str
    score: float
    method: str
    layer: int | None
    head: int | None


def explain(
    predictor: Explainable,
    picture: str | os.PathLike[str] | Image.Image,
    method: str = "relevance",
    target: int | str | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> Explanation:
    """Say where a model looked in a picture, given as a file or as a PIL picture.

    Args:
        method: "relevance" (for the asked class, arXiv:2103.15679), "rollout" (arXiv:2005.00928), or
            "attention" (one layer's raw weights; the last one by default, the mean over heads).
        target: a class, by index or name; the answer by default. Only relevance depends on it.

    Raises:
        ConfigError: an unknown method or class, a layer or head that the model does not have, or a model
            that is no classifier on a plain ViT.
        PictureError: a file that cannot be read.
    """
    if method not in METHODS:
        raise ConfigError(
            f"unknown method {method!r}; wanted {', '.join(METHODS[:-1])} or {METHODS[-1]}"
            f"{nearest(method, METHODS)}"
        )
    pool = pool_of(predictor.model)  # a model that cannot be explained is refused before it runs
    if method != "attention" and (layer, head) != (None, None):
        raise ConfigError(f"{method} goes through all layers and heads; layer and head are for 'attention'")
    picture = as_rgb(picture) if isinstance(picture, Image.Image) else open_picture(os.fspath(picture))
    view = predictor.prepare(picture)
    answer = predictor.answer(view)
    index = answer.index if target is None else class_index(predictor.classes, target, len(answer.scores))
    images = view.image[None].to(predictor.device)
    if method == "relevance":
        grid = relevance(predictor.model, images, index)[0]
    else:
        with torch.inference_mode(), recording(predictor.model) as record:
            predictor.model(images)
            if method == "rollout":
                grid = rollout(record, pool)[0]
            else:
                layer = _within("layer", layer, len(record.layers), default=len(record.layers) - 1)
                heads = attention_map(record, layer, pool)[0]  # (heads, rows, cols)
                if head is None:
                    grid = heads.mean(dim=0)
                else:
                    grid = heads[_within("head", head, len(heads), default=0)]
    label = predictor.classes[index] if predictor.classes else str(index)
    cells = grid.float().cpu()
    heat = to_source(cells, view, patch_of(predictor.model))
    return Explanation(heat, cells.numpy(), index, label, float(answer.scores[index]), method, layer, head)


def to_source(grid: Tensor, view: Seen, patch: int) -> NDArray[np.float32]:
    """One value for each patch (rows, cols) -> heat (H, W) in source pixels, the crop undone.

    Where the model padded the view to whole patches, the part of the grid beyond the view is cut off; where
    it left out a part of a patch at the edge, that is zero.
    """
    height, width = view.image.shape[-2:]
    rows, cols = grid.shape
    covered = (rows * patch, cols * patch)
    if covered == (height, width):
        return view.where.back(grid)
    spread = interpolate(grid[None, None], size=covered, mode="bilinear", align_corners=False)[0, 0]
    seen = spread.new_zeros(height, width)
    seen[: covered[0], : covered[1]] = spread[:height, :width]
    return view.where.back(seen)


def class_index(classes: Sequence[str], target: int | str, count: int) -> int:
    """A class by name or index -> its index among ``count``. ConfigError where there is none."""
    if isinstance(target, str):
        if target in classes:
            return list(classes).index(target)
        raise ConfigError(
            f"unknown class {target!r}{nearest(target, classes) or f'; the model knows {_some(classes)}'}"
        )
    if not 0 <= target < count:
        raise ConfigError(f"no class {target}; the model has {count}, from 0 to {count - 1}")
    return int(target)


def patch_of(model: nn.Module) -> int:
    """Pixels from one cell of the last map to the next: the patch size of a plain ViT."""
    backbone: Any = model.backbone
    return int(backbone.strides[-1])


def _within(what: str, value: int | None, count: int, default: int) -> int:
    if value is None:
        return default
    if not 0 <= value < count:
        raise ConfigError(f"no {what} {value}; the model has {count} {what}s, from 0 to {count - 1}")
    return value


def _some(classes: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in classes[:5])
    return f"{shown} and {len(classes) - 5} more" if len(classes) > 5 else shown or "none by name"
