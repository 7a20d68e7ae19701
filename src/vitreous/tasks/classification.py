"""Which of K classes does a picture show? Cross-entropy, with label smoothing (arXiv:1512.00567,
section 7)."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.tasks.task import Loss


class Classification:
    """Labels (B,) or shares of classes (B, K) against logits (B, K)."""

    masks: Masks | None = None
    calibrated = True

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean cross-entropy of a batch, in nats."""
        logits = model(batch.images).logits
        total = cross_entropy(logits.float(), batch.labels, label_smoothing=self.smoothing)
        return Loss(total, {"cross_entropy": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, right answers, cross-entropy without smoothing."""
        logits = model(batch.images).logits.float()
        right = (logits.argmax(1) == batch.labels).sum()
        entropy = cross_entropy(logits, batch.labels, reduction="sum")
        return {
            "pictures": float(len(logits)),
            "right": right.item(),
            "cross_entropy": entropy.item(),
        }

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Accuracy from 0 to 1, and the mean cross-entropy in nats."""
        pictures = sums["pictures"]
        return {
            "accuracy": sums["right"] / pictures,
            "validation_loss": sums["cross_entropy"] / pictures,
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Accuracy; among equals the lower loss: a small validation part is soon all right."""
        return measures["accuracy"], -measures["validation_loss"]
