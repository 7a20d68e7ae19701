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
        total = self._errors(model, batch)[0].mean()
        return Loss(total, {"masked_error": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, their errors, and those of a guess for each picture."""
        errors, wanted, hidden = self._errors(model, batch)
        guessed = _mean((self._guess(wanted, ~hidden) - wanted).square(), hidden)
        return {
            "pictures": float(len(errors)),
            "masked_error": errors.sum().item(),
            "guessing_error": guessed.sum().item(),
        }

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The mean squared error on hidden patches; and what one colour in the place of each would have: the
        mean of the visible patches, or, where targets are normalised, its own mean, which they lack."""
        return {name: sums[name] / sums["pictures"] for name in ("masked_error", "guessing_error")}

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The lower error is better."""
        return (-measures["masked_error"],)

    def _errors(self, model: nn.Module, batch: Labelled) -> tuple[Tensor, Tensor, Tensor]:
        """The error of each picture (B,), the targets (B, P, C * p * p), and which patches are hidden
        (B, P)."""
        rebuilt, hidden = model(batch.images, batch.masks)
        wanted = targets(batch.images, self.config)
        return _mean((rebuilt.float() - wanted).square(), hidden), wanted, hidden

    def _guess(self, wanted: Tensor, visible: Tensor) -> Tensor:
        """Targets (B, P, C * p * p), which patches are visible (B, P) -> one colour for each picture, in the
        shape of its patches (B, 1, C * p * p)."""
        if self.config.normalised_targets:
            return torch.zeros_like(wanted[:, :1])
        seen = (wanted * visible[..., None]).sum(1, keepdim=True) / visible.sum(1)[:, None, None]
        channels = seen.view(len(seen), 1, self.config.backbone.channels, -1)  # (B, 1, C, p * p)
        return channels.mean(3, keepdim=True).expand_as(channels).flatten(2)


def _mean(errors: Tensor, hidden: Tensor) -> Tensor:
    """Errors (B, P, C * p * p), hidden (B, P) -> the mean over the hidden patches of each picture, (B,): as
    many are hidden in each."""
    return (errors.mean(2) * hidden).sum(1) / hidden.sum(1)


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
