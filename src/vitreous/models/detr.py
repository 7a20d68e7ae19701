"""DETR: the objects of a picture as a set, without anchors and without suppression of doubles.

"End-to-End Object Detection with Transformers" (arXiv:2005.12872), section 3.2. It reads the last map of any
backbone. Pictures of several sizes may share a batch: each is answered as it would be alone.

Shapes: B pictures of C channels and H x W pixels; D width; N cells of the last map; Q queries; K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.backbones.interface import Backbone
from vitreous.layers.box_bias import Axes, axes_of
from vitreous.layers.placed_attention import key_mask, sine_places
from vitreous.models.alike import alike
from vitreous.models.detr_config import DetrConfig
from vitreous.models.detr_decoder import Transformer
from vitreous.models.detr_references import References, moved
from vitreous.models.model import Model, mean_of_patches


class Detections(NamedTuple):
    """``logits`` (B, Q, K + 1), the last of which says that there is no object; ``boxes`` (B, Q, 4), centre
    x, centre y, width, height as shares of the picture itself, before any padding; ``auxiliary``, in training
    only, the same two after each decoder layer but the last, and of each group of queries but the first."""

    logits: Tensor
    boxes: Tensor
    auxiliary: tuple[tuple[Tensor, Tensor], ...] = ()


class Best(NamedTuple):
    """What each query says: ``scores`` and ``labels`` (B, Q) of its likeliest class, and ``boxes`` (B, Q,
    4)."""

    scores: Tensor
    labels: Tensor
    boxes: Tensor


class Detr(Model):
    """A backbone, a transformer over its last map and a fixed number of queries, and two heads."""

    def __init__(self, config: DetrConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        width = config.width
        self.project = nn.Conv2d(config.backbone.out_channels, width, 1)
        self.transformer = Transformer(config)
        self.references: References | None = None
        if config.references == "none":
            self.query_places = nn.Parameter(torch.randn(config.queries, width))
        else:
            self.references = References(config)
        self.classify = nn.Linear(width, config.classes + 1)
        self.locate = BoxHead(width)
        for part in (self.project, self.transformer, self.classify, self.locate):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        if self.references is not None:
            self.locate.stay()

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Detections:
        """images (B, C, H, W), valid (B, H, W) bool, True where a pixel is picture and not padding, which
        stands at the right and at the bottom; None: all is picture -> logits (B, Q, K + 1), boxes (B, Q,
        4)."""
        grid, seen = self.maps(images, valid)  # (B, D', rows, cols), (B, rows, cols)
        cells = self.project(grid).flatten(2).transpose(1, 2)  # (B, N, D)
        places = sine_places(seen, self.config.width, cells.dtype)  # (B, N, D)
        mask = None if valid is None else key_mask(seen.flatten(1), cells.dtype)
        cells = self.transformer.encode(cells, places, mask)  # (B, N, D)
        if self.references is not None:
            return self._bettered(self.references, cells, places, axes_of(seen), mask)
        query_places = self.query_places.repeat(len(images), 1, 1)  # (B, Q, D)
        held = self.transformer.decode(cells, places, query_places, mask)
        told = [(self.classify(part), self.locate(part)) for part in (held if self.training else held[-1:])]
        return Detections(*told[-1], tuple(told[:-1]))

    def _bettered(
        self, references: References, cells: Tensor, places: Tensor, axes: Axes, mask: Tensor | None
    ) -> Detections:
        """Encoded cells and their places (B, N, D) -> what queries with boxes of their own tell."""
        change = self.locate.change
        held = list(references.decode(self.transformer, change, cells, places, axes, mask))
        told: list[tuple[Tensor, Tensor]] = []
        for queries, boxes in held if self.training else held[-1:]:
            answers = (self.classify(queries), moved(boxes, change(queries)))
            told += reversed(
                list(zip(*(part.split(self.config.queries, 1) for part in answers), strict=True))
            )
        return Detections(*told[-1], tuple(told[:-1]))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D'): the mean of the backbone's last map."""
        return mean_of_patches(self.backbone(images).maps[-1])

    def maps(self, images: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """images (B, C, H, W), valid (B, H, W) -> the backbone's last map (B, D', rows, cols), and which of
        its cells are of the picture (B, rows, cols) bool.

        A backbone sees padding as well: convolutions and windows reach into it, and positions are those of
        the padded grid. So it sees each size alone, and maps are padded in the place of pictures.
        """
        if valid is None:
            grid = self.backbone(images).maps[-1]
            return grid, grid.new_ones(len(grid), *grid.shape[-2:], dtype=torch.bool)
        groups, order = alike(valid)
        found = [self.backbone(group.of(images)).maps[-1] for group in groups]
        high, wide = (max(grid.shape[axis] for grid in found) for axis in (-2, -1))
        seen = torch.zeros(len(images), high, wide, dtype=torch.bool, device=images.device)
        padded = []
        for group, grid in zip(groups, found, strict=True):
            seen[group.rows, : grid.shape[-2], : grid.shape[-1]] = True
            padded.append(nn.functional.pad(grid, (0, wide - grid.shape[-1], 0, high - grid.shape[-2])))
        return torch.cat(padded)[order], seen


class BoxHead(nn.Module):
    """Three layers, the last of which tells a box (appendix A.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def forward(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> boxes (B, Q, 4), shares of the picture from 0 to 1."""
        return self.change(queries).sigmoid()

    def stay(self) -> None:
        """Tell no change: a box that is bettered is where it was until something is learnt."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def change(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> the logits of boxes, or how those are to be changed, (B, Q, 4)."""
        first, second, last = self.layers
        changed: Tensor = last(second(first(queries).relu()).relu())
        return changed


def best_of(detections: Detections) -> Best:
    """What each query says: the likeliest class but "no object", and how likely that is. Nothing is left out:
    whoever draws boxes sets a threshold."""
    scores, labels = detections.logits.float().softmax(-1)[..., :-1].max(-1)
    return Best(scores, labels, detections.boxes)
