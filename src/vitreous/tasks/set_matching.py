"""Which query is to tell which object: the cheapest way to give every object a query of its own.

DETR (arXiv:2005.12872), section 3.1 and appendix A.2; generalised overlap, "Generalized Intersection over
Union" (arXiv:1902.09630), algorithm 1. The assignment is the Hungarian method's, by scipy.

Shapes: B pictures; Q queries; K classes; n objects of a picture. Boxes are centre x, centre y, width, height
as shares of the picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from vitreous.data.batch import Target

WORST = torch.finfo(torch.float32).max


class Weights(NamedTuple):
    """How much each term counts, of a cost or of a loss."""

    classes: float = 1.0
    boxes: float = 5.0
    overlap: float = 2.0


class Pairs(NamedTuple):
    """Pairs of all pictures of a batch: ``picture``, ``query`` and ``thing`` (m,), the last of which counts
    the objects of that picture."""

    picture: Tensor
    query: Tensor
    thing: Tensor


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre x, centre y, width, height -> left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def exact(tensor: Tensor) -> Tensor:
    """At least in float32, whatever the model computes in."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: Sequence[Target], costs: Weights) -> Pairs:
    """logits (B, Q, K + 1), boxes (B, Q, 4) -> pairs. Where a picture has more objects than queries, some of
    them have none. A cost that is no number is the worst there is, so that it is paid last."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for picture, target in enumerate(targets):
        if not len(target.labels):
            continue
        shares = exact(logits[picture]).softmax(-1)  # (Q, K + 1)
        told, true = exact(boxes[picture]), target.boxes.to(exact(boxes))
        cost = -costs.classes * shares[:, target.labels]  # (Q, n)
        cost = cost + costs.boxes * torch.cdist(told, true, p=1)
        cost = cost - costs.overlap * generalized_box_iou(corners(told), corners(true))
        cost = cost.nan_to_num(WORST, WORST, WORST).cpu()
        query, thing = map(torch.as_tensor, linear_sum_assignment(cost.numpy()))
        found.append((torch.full_like(query, picture), query, thing))
    if not found:
        empty = torch.zeros(0, dtype=torch.long, device=logits.device)
        return Pairs(empty, empty, empty)
    return Pairs(*(torch.cat(parts).to(logits.device) for parts in zip(*found, strict=True)))
