"""From what is marked on a picture to what is true of its view.

Shapes: n objects; H x W source pixels; h x w view pixels.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.data.annotation import Objects, Regions, extent, ignored_of
from vitreous.data.batch import Target
from vitreous.data.preprocess import Placement

LEAST_SEEN = 0.1  # of an object's box; a sliver at the edge of a view teaches nothing about the object
_LEAST_SIDE = 1e-3  # of a view's pixel


def target_of(
    objects: Objects | None,
    region: Regions | None,
    where: Placement,
    *,
    classes: int,
    outlines: bool = False,
) -> Target:
    """What is marked in source pixels -> the target of the view that ``where`` tells of.

    ``outlines`` asks for masks of objects too. Objects of which the view shows less than ``LEAST_SEEN`` of
    the box are left out, and crowds.
    """
    found = Objects.of([], []) if objects is None else objects.select(~objects.crowd)
    boxes = where.forth_boxes(found.boxes.astype(np.float64))
    masks = None
    if outlines and found.masks is not None:
        masks = np.zeros((len(found), *where.view), dtype=bool)
        for place, mask in enumerate(found.masks):
            masks[place] = where.onto_mask(mask.decode())
    told = None
    if region is not None:
        told = where.onto_mask(region.astype(np.int64), fill=ignored_of(classes))
    return seen_target(boxes, found.labels, masks, told, view=where.view, source=where.source)


def seen_target(
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    masks: NDArray[np.bool_] | None,
    region: NDArray[np.int64] | None,
    *,
    view: tuple[int, int],
    source: tuple[int, int],
) -> Target:
    """Boxes (n, 4) in view pixels, which may lie outside, and what belongs to them -> what is seen of them.

    With ``masks`` (n, h, w) the box of an object that the view cuts is that of its mask.
    """
    height, width = view
    clipped = np.clip(boxes, 0, [width, height, width, height])
    areas, seen = _area(boxes), _area(clipped)
    sides = clipped[:, 2:] - clipped[:, :2]
    keep = (seen >= LEAST_SEEN * areas) & (sides > _LEAST_SIDE).all(axis=1)
    if masks is not None:
        keep &= masks.any(axis=(1, 2))
        for place in np.flatnonzero(keep & (seen < areas)):
            clipped[place] = extent(masks[place])
    shares = torch.from_numpy(centred(clipped[keep], view))
    return Target(
        shares,
        torch.from_numpy(labels[keep]),
        None if masks is None else torch.from_numpy(masks[keep]),
        None if region is None else torch.from_numpy(region),
        torch.tensor(source),
    )


def centred(boxes: NDArray[np.float64], view: tuple[int, int]) -> NDArray[np.float32]:
    """(n, 4) left, top, right, bottom in pixels -> centre x, centre y, width, height as shares of the
    view."""
    height, width = view
    low, high = boxes[:, :2], boxes[:, 2:]
    found = np.concatenate([(low + high) / 2, high - low], axis=1) / [width, height, width, height]
    return found.astype(np.float32)


def cornered(shares: Tensor, view: tuple[int, int]) -> Tensor:
    """(..., 4) shares of the view, as a target has them -> left, top, right, bottom in pixels of the view."""
    height, width = view
    centre, half = shares[..., :2], shares[..., 2:] / 2
    corners = torch.cat([centre - half, centre + half], dim=-1)
    return corners * corners.new_tensor([width, height, width, height])


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found
