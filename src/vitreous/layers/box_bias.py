"""Attention that knows where a query's box is, "DETR Doesn't Need Multi-Scale or Locality Design"
(arXiv:2308.01904), section 4.1: what is added to the score of a query and a cell follows from how far that
cell lies from the left and the right edge of the box, and from its top and its bottom.

Shapes: B pictures; Q queries; rows x cols cells of a map; h heads; D width. Boxes are centre x, centre y,
width, height as shares of the picture.
"""

from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.layers.placed_attention import TEMPERATURE

SPREAD = 8.0  # near an edge a step counts more than far from it: the logarithm of so many times the distance


class Axes(NamedTuple):
    """Where the middles of cells are, as shares of their own picture: ``down`` (B, rows), ``across`` (B,
    cols)."""

    down: Tensor
    across: Tensor


class BoxBias(nn.Module):
    """A small network for each axis, which sees two distances and no picture."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, heads))
        self.across = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, heads))

    def forward(self, boxes: Tensor, axes: Axes) -> Tensor:
        """boxes (B, Q, 4), the middles of cells -> (B, h, Q, rows * cols), to be added to scores."""
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        (left, top), (right, bottom) = (centre - half).unbind(-1), (centre + half).unbind(-1)  # (B, Q) each
        down = self.down(_distances(axes.down, top, bottom).to(boxes.dtype))  # (B, Q, rows, h)
        across = self.across(_distances(axes.across, left, right).to(boxes.dtype))  # (B, Q, cols, h)
        bias = down[:, :, :, None] + across[:, :, None]  # (B, Q, rows, cols, h)
        return bias.flatten(2, 3).permute(0, 3, 1, 2)


def axes_of(seen: Tensor) -> Axes:
    """Which cells are of the picture, (B, rows, cols) bool, the first of each row and column among them ->
    where their middles are; beyond the picture above 1."""
    rows, cols = seen[:, :, 0].sum(1, keepdim=True), seen[:, 0].sum(1, keepdim=True)  # (B, 1)
    down = (torch.arange(seen.shape[1], device=seen.device) + 0.5) / rows
    across = (torch.arange(seen.shape[2], device=seen.device) + 0.5) / cols
    return Axes(down, across)


def sine_boxes(boxes: Tensor, width: int) -> Tensor:
    """(B, Q, 4) -> (B, Q, 2 D): each of the four numbers as D / 2 sines and cosines in turn, as cells are
    told where they are (DAB-DETR, arXiv:2201.12329, section 4.1). ``width`` must be a multiple of 4."""
    share = torch.arange(0, width // 2, 2, dtype=boxes.dtype, device=boxes.device) / (width // 2)
    angles = (boxes * (2 * pi))[..., None] * TEMPERATURE**-share  # (B, Q, 4, D / 4)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(2)


def _distances(middles: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Middles (B, n), two edges (B, Q) each -> (B, Q, n, 2), how far behind each edge, on a scale of
    logarithms."""
    apart = middles[:, None, :, None] - torch.stack([first, last], dim=-1)[:, :, None]  # (B, Q, n, 2)
    return apart.sign() * (apart.abs() * SPREAD + 1).log() / log(SPREAD + 1)
