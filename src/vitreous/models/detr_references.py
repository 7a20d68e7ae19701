"""Queries that start from a box and better it, layer after layer.

A query of the paper has to learn by itself which part of pictures it looks at, which takes hundreds of
epochs. Here each has a box of its own, learnt, from which it is told where to look, and every layer of the
decoder tells how that box is to be changed: "DAB-DETR: Dynamic Anchor Boxes are Better Queries for DETR"
(arXiv:2201.12329), section 4; refinement as in "Deformable DETR" (arXiv:2010.04159), appendix A.4; the edges
of the box weigh the attention (``layers/box_bias.py``). In training there may be several groups of such
queries, each of which is matched with all objects by itself and knows nothing of the others: "Group DETR"
(arXiv:2207.13085), section 3.2. They share all weights but their own start, so that every step teaches those
as many times; at inference there is only the first group.

Shapes: B pictures; N cells of the map; G groups of Q queries; K classes; D width.
"""

from collections.abc import Callable, Iterator
from math import ceil, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.layers.box_bias import Axes, BoxBias, sine_boxes
from vitreous.models.detr_config import DetrConfig
from vitreous.models.detr_decoder import Transformer

FIRST_SIDE = 0.3  # of all boxes before anything is learnt, as a share of the picture's
NEAR = 1e-4  # to 0 and to 1, beyond which a box is not told more closely


class Held(NamedTuple):
    """After a layer of the decoder: what queries hold, normalised (B, G Q, D), and the boxes that they
    started that layer from, (B, G Q, 4)."""

    queries: Tensor
    boxes: Tensor


class References(nn.Module):
    """Where queries start, what they hold at first, and how they are told where they are."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.queries, self.groups, width = config.queries, config.groups, config.width
        self.width = width
        self.boxes = nn.Parameter(logits_of(_spread(config.queries, config.groups)))  # (G Q, 4)
        self.contents = nn.Parameter(torch.randn(config.groups * config.queries, width) * 0.02)
        self.place = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
        self.biases = nn.ModuleList(BoxBias(width, config.heads) for _ in range(config.decoder_depth))

    def decode(
        self,
        transformer: Transformer,
        locate: Callable[[Tensor], Tensor],
        cells: Tensor,
        places: Tensor,
        axes: Axes,
        mask: Tensor | None,
    ) -> Iterator[Held]:
        """Encoded cells and their places (B, N, D), the middles of cells, mask (B, 1, 1, N) -> what is held
        after each layer. ``locate`` tells from it how the logits of boxes are to be changed, (B, G Q, 4)."""
        groups = self.groups if self.training else 1
        count = groups * self.queries
        boxes = self.boxes[:count].sigmoid().repeat(len(cells), 1, 1)  # (B, G Q, 4)
        queries = self.contents[:count].repeat(len(cells), 1, 1)  # (B, G Q, D)
        held: Tensor | None = None
        for layer, bias in zip(transformer.decoder, self.biases, strict=True):
            if held is not None:
                boxes = moved(boxes, locate(held)).detach()
            told = self.place(sine_boxes(boxes, self.width))  # (B, G Q, D)
            scores = bias(boxes, axes)  # (B, heads, G Q, N)
            scores = scores if mask is None else scores + mask
            queries = layer(queries, told, cells, places, scores, groups)
            held = transformer.norm(queries)
            yield Held(held, boxes)


def moved(boxes: Tensor, change: Tensor) -> Tensor:
    """Boxes (..., 4) as shares, how their logits are to be changed -> boxes."""
    return (logits_of(boxes) + change).sigmoid()


def logits_of(boxes: Tensor) -> Tensor:
    """The inverse of a sigmoid."""
    return boxes.clamp(NEAR, 1 - NEAR).logit()


def _spread(queries: int, groups: int) -> Tensor:
    """(G Q, 4): boxes on a grid, so that together they cover a picture; each group with a grid of its own, a
    little shifted."""
    side = ceil(sqrt(queries))
    numbers = torch.arange(queries)
    grid = torch.stack([numbers % side, numbers // side], dim=-1)  # (Q, 2)
    cells = torch.tensor([side, ceil(queries / side)])
    shifts = (torch.arange(groups) + 0.5) / groups  # (G,)
    centres = (grid[None] + shifts[:, None, None]) / cells  # (G, Q, 2)
    return torch.cat([centres, torch.full_like(centres, FIRST_SIDE)], dim=-1).flatten(0, 1)
