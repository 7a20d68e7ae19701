"""What a batch is: pictures, what is true of them, and which pixels are picture and not padding.

Shapes: B pictures; C channels; H x W pixels; K classes; n objects of a picture.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Target(NamedTuple):
    """What is marked on one picture, as its view shows it.

    boxes   (n, 4) float32: centre x, centre y, width, height as shares of the view itself, before any padding
    labels  (n,) int64
    masks   (n, h, w) bool in pixels of the view, where they were asked for
    region  (h, w) int64 indices of classes, 255 (65535 of more than 255 classes) where a pixel takes no part
    size    (2,) int64: height and width of the source

    Of objects there are none where only a region is told. Crowds are left out, and what the view does not
    show.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None
    region: Tensor | None
    size: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "Target":
        """The same with every tensor changed."""
        masks, region = (None if part is None else change(part) for part in (self.masks, self.region))
        return Target(change(self.boxes), change(self.labels), masks, region, change(self.size))


class Labelled(NamedTuple):
    """images (B, C, H, W); labels (B,), -1 where there are none, or (B, K), shares of classes, of pictures
    that may show several 0 or 1 for each; indices (B,) into the collection; masks (B, P), where the task
    hides patches; views (B,): which random view of which picture this is, ``Order.draws`` says its number,
    number * pictures + picture, where it is one; targets, one for each picture, where objects or regions are
    marked; valid (B, H, W) bool, True where a pixel is picture and not padding, where views have sizes of
    their own (None: all is picture). Padding is at the right and at the bottom, zero, and in ``region``
    of a target there is none: that is as large as its own view."""

    images: Tensor
    labels: Tensor
    indices: Tensor
    masks: Tensor | None = None
    views: Tensor | None = None
    targets: tuple[Target, ...] | None = None
    valid: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Labelled":
        """The same with every tensor changed: on another device, for one."""
        masks, views, valid = (
            None if part is None else change(part) for part in (self.masks, self.views, self.valid)
        )
        targets = None if self.targets is None else tuple(target.map(change) for target in self.targets)
        images, labels, indices = change(self.images), change(self.labels), change(self.indices)
        return Labelled(images, labels, indices, masks, views, targets, valid)

    def rows(self, places: Tensor) -> "Labelled":
        """The pictures at these places, (m,), with all that belongs to them."""
        targets = None if self.targets is None else tuple(self.targets[place] for place in places.tolist())
        return self._replace(targets=None).map(lambda part: part[places])._replace(targets=targets)

    def tensors(self) -> Iterator[Tensor]:
        """All tensors of it."""
        targets: list[Tensor | None] = [part for target in self.targets or () for part in target]
        alone = (self.images, self.labels, self.indices, self.masks, self.views, self.valid)
        yield from (part for part in (*alone, *targets) if part is not None)


def padded(images: Sequence[Tensor], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Views (C, h, w) of any sizes -> (B, C, H, W), and valid (B, H, W), True where a pixel is picture.

    H and W are the largest of them, up to the next ``multiple``; what is added is zero, at the right and at
    the bottom.
    """
    height, width = (
        -(-max(image.shape[axis] for image in images) // multiple) * multiple for axis in (-2, -1)
    )
    valid = torch.zeros(len(images), height, width, dtype=torch.bool)
    for row, image in zip(valid, images, strict=True):
        row[: image.shape[-2], : image.shape[-1]] = True
    joined = [pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
    return torch.stack(joined), valid


def padded_regions(targets: Sequence[Target], size: tuple[int, int], ignored: int) -> Tensor:
    """The regions of targets -> (B, H, W) of ``size``, ``ignored`` where there is only padding."""
    regions = [target.region for target in targets if target.region is not None]
    joined = [
        pad(region, (0, size[1] - region.shape[1], 0, size[0] - region.shape[0]), value=ignored)
        for region in regions
    ]
    return torch.stack(joined)
