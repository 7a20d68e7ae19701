"""Views -> the objects on their pictures: what each query of a detector says, back in source pixels.

Shapes: B pictures; C channels; h x w view pixels; Q queries; K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vitreous.data.batch import padded
from vitreous.data.preprocess import Placement, View
from vitreous.errors import CheckpointError, VitreousError
from vitreous.evaluation.detection import Found
from vitreous.models.detr import best_of
from vitreous.predictor.answers import ObjectsAnswer

Floats = NDArray[np.float32]

THRESHOLD = 0.5


@torch.inference_mode()
def find(model: nn.Module, views: Sequence[View], classes: int, device: torch.device) -> list[Found]:
    """All that a detector says of each view: the likeliest class of every query, the surest first.

    Views of several sizes are padded to one, and answered as each would be alone.

    Raises:
        CheckpointError: the model tells another number of classes.
    """
    images, valid = padded([view.image for view in views])  # (B, C, H, W), (B, H, W)
    mask = None if bool(valid.all()) else valid.to(device)
    answer = model(images.to(device), mask)
    told = answer.logits.shape[-1] - 1
    if told != classes:
        raise CheckpointError(
            f"the model tells {told} classes of objects and knows {classes}; wanted a detector with a name"
            " for every class"
        )
    scores, labels, boxes = (part.float().cpu().numpy() for part in best_of(answer))  # (B, Q), (B, Q, 4)
    return [
        _found(scores[place], labels[place], boxes[place], view.where) for place, view in enumerate(views)
    ]


def surest(
    found: Found, size: tuple[int, int], classes: Sequence[str], threshold: float | None = None
) -> ObjectsAnswer:
    """What scores above the ``threshold``, one half by default, of a picture of (H, W) pixels.

    Raises:
        VitreousError: the model answered with numbers that are not finite.
    """
    if not (np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()):
        raise VitreousError(
            "the model answered with numbers that are not finite; its weights are damaged, or training"
            " diverged"
        )
    keep = np.flatnonzero(found.scores > (THRESHOLD if threshold is None else threshold))
    indices = found.labels[keep]
    labels = tuple(classes[index] for index in indices)
    return ObjectsAnswer(found.boxes[keep], labels, indices, found.scores[keep], size)


def _found(scores: Floats, labels: Floats, boxes: Floats, where: Placement) -> Found:
    """Scores and labels (Q,), boxes (Q, 4) as centre and size in shares of the view -> in source pixels."""
    height, width = where.view
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], axis=1) * (width, height, width, height)
    order = np.argsort(-scores, kind="stable")
    return Found.of(where.back_boxes(corners)[order], labels[order], scores[order])
