"""MAE: most patches are hidden, and the model is held to their pixels.

"Masked Autoencoders Are Scalable Vision Learners" (arXiv:2111.06377), section 3: the mean squared error on
the hidden patches alone; with ``normalised_targets`` each patch first loses its own mean and deviation.

Shapes: B pictures of C channels; P patches of p x p pixels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks, RandomOrder
from vitreous.layers.patches import cut_to_patches, pad_to_patches, patchify
from vitreous.models.config import MAEConfig
from vitreous.tasks.task import Loss

EPSILON = 1e-6  # of a patch's variance: a flat patch has none


class MaskedAutoencoding:
    """The error of the rebuilt patches, per pixel and channel."""

    calibrated = False

    def __init__(self, config: MAEConfig) -> None:
        rows, cols = config.backbone.grid
        self.config = config
        self.masks: Masks | None = RandomOrder(rows * cols)

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean squared error over the hidden patches of a batch."""
        total = self._errors(model, batch).mean()
        return Loss(total, {"masked_error": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures and their errors."""
        errors = self._errors(model, batch)
        return {"pictures": float(len(errors)), "masked_error": errors.sum().item()}

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The mean squared error on hidden patches; 1 is what the mean colour of each patch would have,
        where targets are normalised."""
        return {"masked_error": sums["masked_error"] / sums["pictures"]}

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The lower error is better."""
        return (-measures["masked_error"],)

    def _errors(self, model: nn.Module, batch: Labelled) -> Tensor:
        """The error of each picture, (B,). As many patches are hidden in each."""
        rebuilt, hidden = model(batch.images, batch.masks)
        wanted = targets(batch.images, self.config)
        errors = (rebuilt.float() - wanted).square().mean(2)  # (B, P)
        return (errors * hidden).sum(1) / hidden.sum(1)


def targets(images: Tensor, config: MAEConfig) -> Tensor:
    """(B, C, H, W) -> (B, P, C * p * p): what the decoder is to paint."""
    patches = _cut(images, config)
    if not config.normalised_targets:
        return patches
    mean, deviation = _statistics(patches)
    return (patches - mean) / deviation


def painted(rebuilt: Tensor, images: Tensor, config: MAEConfig) -> Tensor:
    """Rebuilt patches (B, P, C * p * p) of these pictures as pixels: where targets are normalised, each patch
    gets back the mean and the deviation that it has in ``images``."""
    if not config.normalised_targets:
        return rebuilt
    mean, deviation = _statistics(_cut(images, config))
    return rebuilt * deviation + mean


def _cut(images: Tensor, config: MAEConfig) -> Tensor:
    """(B, C, H, W) -> (B, P, C * p * p)."""
    whole = cut_to_patches if config.backbone.cut_edges else pad_to_patches
    return patchify(whole(images, config.backbone.patch), config.backbone.patch)


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch, (B, P, 1)."""
    return patches.mean(2, keepdim=True), (patches.var(2, keepdim=True) + EPSILON).sqrt()
