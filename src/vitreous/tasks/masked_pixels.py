"""SimMIM: squares of a picture are hidden, and the model is held to their pixels.

"SimMIM: A Simple Framework for Masked Image Modeling" (arXiv:2111.09886), section 3: the mean absolute error
on the hidden pixels alone.

Shapes: B pictures of C channels and H x W pixels; P patches of p x p pixels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.models.config import SimMIMConfig
from vitreous.tasks.config import MaskedPixelsConfig
from vitreous.tasks.task import Loss


class MaskedPixels:
    """The error of the rebuilt pixels, per pixel and channel."""

    calibrated = False

    def __init__(self, config: MaskedPixelsConfig, model: SimMIMConfig) -> None:
        self.backbone = model.backbone
        self.masks: Masks | None = config.masks(model.backbone)

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean absolute error over the hidden pixels of each picture, and over the pictures: the paper's
        mean over all of them where squares divide pictures, so that each hides as many pixels."""
        wanted, hidden = self._targets(batch)
        total = _mean(self._errors(model, batch, wanted), hidden).mean()
        return Loss(total, {"masked_error": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, their errors, and those of one colour for each picture."""
        wanted, hidden = self._targets(batch)
        errors = _mean(self._errors(model, batch, wanted), hidden)  # (B,)
        visible = ~hidden
        colour = (wanted * visible).sum((2, 3), keepdim=True) / visible.sum((2, 3), keepdim=True)
        guessed = _mean((wanted - colour).abs(), hidden)
        return {
            "pictures": float(len(errors)),
            "masked_error": errors.sum().item(),
            "guessing_error": guessed.sum().item(),
        }

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The mean absolute error on hidden pixels, in standard deviations of the data; and what the mean
        colour of the visible patches would have in their place."""
        return {name: sums[name] / sums["pictures"] for name in ("masked_error", "guessing_error")}

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The lower error is better."""
        return (-measures["masked_error"],)

    def _errors(self, model: nn.Module, batch: Labelled, wanted: Tensor) -> Tensor:
        """Absolute errors (B, C, h, w)."""
        rebuilt: Tensor = model(batch.images, batch.masks).images
        height, width = wanted.shape[-2:]
        return (rebuilt[..., :height, :width].float() - wanted).abs()

    def _targets(self, batch: Labelled) -> tuple[Tensor, Tensor]:
        """The pixels that can be rebuilt (B, C, h, w), and which of them are hidden (B, 1, h, w) bool. What
        ``cut_edges`` leaves of a picture is all that its patches know."""
        assert batch.masks is not None
        patch, (height, width) = self.backbone.patch, batch.images.shape[-2:]
        rows, cols = self.backbone.grid_at((height, width))
        cells = batch.masks.view(-1, 1, rows, cols)
        hidden = cells.repeat_interleave(patch, 2).repeat_interleave(patch, 3)  # (B, 1, rows * p, cols * p)
        height, width = min(height, rows * patch), min(width, cols * patch)
        return batch.images[..., :height, :width], hidden[..., :height, :width]


def _mean(errors: Tensor, hidden: Tensor) -> Tensor:
    """Errors (B, C, h, w), hidden (B, 1, h, w) -> the mean over the hidden ones of each picture, (B,)."""
    return (errors * hidden).sum((1, 2, 3)) / (hidden.sum((1, 2, 3)) * errors.shape[1])
