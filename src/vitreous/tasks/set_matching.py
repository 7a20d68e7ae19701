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
from torch.nn.utils.rnn import pad_sequence

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
    cost = _costs(logits, boxes, targets, costs).nan_to_num(WORST, WORST, WORST).cpu().numpy()  # (B, Q, n)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for picture, target in enumerate(targets):
        if not len(target.labels):
            continue
        query, thing = map(torch.as_tensor, linear_sum_assignment(cost[picture, :, : len(target.labels)]))
        found.append((torch.full_like(query, picture), query, thing))
    if not found:
        empty = torch.zeros(0, dtype=torch.long, device=logits.device)
        return Pairs(empty, empty, empty)
    return Pairs(*(torch.cat(parts).to(logits.device) for parts in zip(*found, strict=True)))


def _costs(logits: Tensor, boxes: Tensor, targets: Sequence[Target], costs: Weights) -> Tensor:
    """logits (B, Q, K + 1), boxes (B, Q, 4) -> (B, Q, n), n being the most objects of a picture; where one
    has fewer, what stands there means nothing."""
    labels = pad_sequence([target.labels for target in targets], batch_first=True)  # (B, n)
    told = exact(boxes)
    true = pad_sequence([target.boxes for target in targets], batch_first=True).to(told)  # (B, n, 4)
    shares = exact(logits).softmax(-1)  # (B, Q, K + 1)
    chosen = shares.gather(2, labels[:, None].expand(-1, shares.shape[1], -1))  # (B, Q, n)
    overlap = generalised_overlaps(corners(told)[:, :, None], corners(true)[:, None])  # (B, Q, n)
    return -costs.classes * chosen + costs.boxes * torch.cdist(told, true, p=1) - costs.overlap * overlap


def generalised_overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Corners (..., 4) of two sorts of boxes, which broadcast -> (...)."""
    sides = [(part[..., 2:] - part[..., :2]).prod(-1) for part in (boxes, others)]
    common = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    around = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    both = common.clamp(min=0).prod(-1)
    either, hull = sides[0] + sides[1] - both, around.prod(-1)
    return both / either - (hull - either) / hull
