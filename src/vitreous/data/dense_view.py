"""The random view of training that moves boxes, masks and maps of classes along with the picture.

What it does is what ``AugmentConfig`` says of any training view, by torchvision's v2 transforms, with two
differences: of RandAugment there is only what leaves everything in its place (brightness, contrast,
saturation, up to the magnitude as a share of 31); and pictures are not mixed, since a mixture has no boxes.

Shapes: C channels; h x w view pixels; n objects.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitreous.data.annotation import Mask, Objects, Regions, Rle, extent, ignored_of
from vitreous.data.preprocess import INTERPOLATIONS, Placement
from vitreous.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from vitreous.data.augment import AugmentConfig, TrainingView
    from vitreous.data.batch import Target
    from vitreous.data.collection import Collection
    from vitreous.data.preprocess import Preprocess

_ASPECT = 4 / 3  # of a random crop, either way
_TRIES = 10  # for a crop that fits into the picture


class DenseView:
    """PIL picture and what is marked on it -> (C, h, w) float32, normalised as ``prepare`` does, and its
    target.

    The view is as large as ``prepare`` makes it: ``size``, or with ``longest`` as the picture's own sides
    have it. ``outlines`` asks for masks of objects too. It draws from torch's global generator; whoever
    calls it does so inside ``draws.drawing``.

    Raises:
        ConfigError: mixup, cutmix or erase, which have no meaning for places.
    """

    def __init__(
        self, config: AugmentConfig, prepare: Preprocess, *, classes: int, outlines: bool = False
    ) -> None:
        from torchvision.transforms import v2

        from vitreous.data.affine import SubpixelAffine

        if config.mixes or config.erase:
            raise ConfigError(
                "augment.mixup, augment.cutmix and augment.erase change what whole pictures show; wanted 0"
                " each where boxes or pixels are learnt"
            )
        self.config = config
        self.prepare = prepare
        self.classes = classes
        self.outlines = outlines
        self.jitter: Any = None
        if config.rand_augment is not None and config.rand_augment[0] and config.rand_augment[1]:
            share = config.rand_augment[1] / 31
            self.jitter = v2.ColorJitter(brightness=share, contrast=share, saturation=share)
        self.affine: Any = None
        if config.rotate or config.shift or config.zoom:
            self.affine = SubpixelAffine(
                config.rotate,
                translate=(config.shift, config.shift) if config.shift else None,
                scale=(1 - config.zoom, 1 + config.zoom) if config.zoom else None,
                interpolation=v2.InterpolationMode.BILINEAR,
            )

    def __call__(
        self, picture: Image.Image, objects: Objects | None, region: Regions | None
    ) -> tuple[Tensor, Target]:
        """The view, (C, h, w), and what is true of it."""
        import torch

        from vitreous.data.targets import target_of

        source = (picture.height, picture.width)
        # A box that turns with its picture would grow: its mask says how far the object really reaches.
        with_outlines = self.outlines or self.affine is not None
        if objects is not None and not with_outlines:
            objects = replace(objects, masks=None)
        picture, objects, region = self._cropped(picture, objects, region)
        if self.config.crop is None:
            where = self.prepare.placement((picture.height, picture.width))
            cut = self.prepare.cut(picture)
        else:
            cut, where = self._resized(picture)
        target = target_of(objects, region, where, classes=self.classes, outlines=with_outlines)
        cut, target = self._moved(cut, target)
        if self.jitter is not None:
            cut = self.jitter(cut)
        if not self.outlines:
            target = target._replace(masks=None)
        return self.prepare.normalised(cut), target._replace(size=torch.tensor(source))

    def _cropped(
        self, picture: Image.Image, objects: Objects | None, region: Regions | None
    ) -> tuple[Image.Image, Objects | None, Regions | None]:
        """A random part of the picture, with what is marked there."""
        if self.config.crop is None:
            return picture, objects, region
        left, top, right, bottom = self._window(picture.width, picture.height)
        if objects is not None:
            objects = _shifted(objects, left, top, right, bottom)
        if region is not None:
            region = region[top:bottom, left:right]
        return picture.crop((left, top, right, bottom)), objects, region

    def _window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of a random crop: a share of the area, a ratio of sides, a place."""
        import torch

        least, most = self.config.crop or (1.0, 1.0)
        for _ in range(_TRIES):
            share, ratio, across, down = torch.rand(4).tolist()
            area = (least + (most - least) * share) * width * height
            aspect = exp((2 * ratio - 1) * log(_ASPECT)) * width / height
            wide, tall = round(sqrt(area * aspect)), round(sqrt(area / aspect))
            if 0 < wide <= width and 0 < tall <= height:
                left, top = int(across * (width - wide + 1)), int(down * (height - tall + 1))
                return left, top, left + wide, top + tall
        return 0, 0, width, height

    def _resized(self, picture: Image.Image) -> tuple[Image.Image, Placement]:
        """What was cropped, as large as a view: squashed to a fixed size, or with its own ratio of sides."""
        source = (picture.height, picture.width)
        where = self.prepare.placement(source)
        if self.prepare.longest is None:
            size = self.prepare.size
            where = Placement(source, size, (0, 0), size)
        method = INTERPOLATIONS[self.prepare.interpolation]
        return picture.resize((where.view[1], where.view[0]), method), where

    def _moved(self, picture: Image.Image, target: Target) -> tuple[Image.Image, Target]:
        """Mirrored, turned, shifted and zoomed, picture and target alike."""
        import torch
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import functional

        from vitreous.data.targets import cornered, seen_target

        mirrored = bool(self.config.flip) and bool(torch.rand(()) < self.config.flip)
        if not mirrored and self.affine is None:
            return picture, target
        view = (picture.height, picture.width)
        ignored = ignored_of(self.classes)
        boxes = tv_tensors.BoundingBoxes(
            cornered(target.boxes.double(), view), format="XYXY", canvas_size=view, clamping_mode=None
        )
        parts: list[Any] = [picture, boxes]
        if target.masks is not None:
            parts.append(tv_tensors.Mask(target.masks.to(torch.uint8)))
        if target.region is not None:
            # On the way a pixel that takes no part is 0, which is also what comes in from outside.
            region = torch.where(target.region == ignored, 0, target.region + 1)
            parts.append(tv_tensors.Mask(region.to(torch.int32)[None]))
        if mirrored:
            parts = [functional.horizontal_flip(part) for part in parts]
        if self.affine is not None:
            parts = list(self.affine(*parts))
        rest = parts[2:]
        masks = rest.pop(0).numpy().astype(bool) if target.masks is not None else None
        told = None
        if target.region is not None:
            told = rest[0][0].numpy().astype(np.int64) - 1
            told[told < 0] = ignored
        corners = parts[1].as_subclass(torch.Tensor).numpy().astype(np.float64)
        if masks is not None and self.affine is not None:
            corners = _tightened(corners, masks)
        height, width = target.size.tolist()
        moved = seen_target(corners, target.labels.numpy(), masks, told, view=view, source=(height, width))
        return parts[0], moved


def training_view(
    config: AugmentConfig, prepare: Preprocess, collection: Collection
) -> TrainingView | DenseView:
    """The random view for what is told of the pictures of a collection.

    Raises:
        ConfigError: something that has no meaning for places, where those are told.
    """
    from vitreous.data.augment import TrainingView

    if collection.detects or collection.segments:
        return DenseView(config, prepare, classes=len(collection.classes))
    return TrainingView(config, prepare)


def _tightened(corners: NDArray[np.float64], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 4) boxes of the masks (n, h, w); where a mask is empty, the box that was there."""
    tight = [extent(mask) if mask.any() else tuple(old) for mask, old in zip(masks, corners, strict=True)]
    return np.array(tight, dtype=np.float64).reshape(-1, 4)


def _shifted(objects: Objects, left: int, top: int, right: int, bottom: int) -> Objects:
    """Objects as a part of the picture has them; boxes may reach beyond it."""
    boxes = objects.boxes - np.array([left, top, left, top], dtype=np.float32)
    inside = (boxes[:, 2:] > 0).all(axis=1)
    inside &= (boxes[:, 0] < right - left) & (boxes[:, 1] < bottom - top)
    kept = objects.select(inside)
    masks: list[Mask] | None = None
    if kept.masks is not None:
        masks = [Rle.of(mask.decode()[top:bottom, left:right]) for mask in kept.masks]
    return Objects.of(boxes[inside], kept.labels, crowd=kept.crowd, masks=masks, areas=kept.areas)
