"""Which class does each pixel show? Cross-entropy over the pixels of a picture that take part.

As SegFormer learns (arXiv:2105.15203, section 4.1): its logits, coarser than the picture, are enlarged to the
pixels of the truth and compared there. The mean is first over the pixels of a picture that take part, then
over pictures, so that parts of a batch add up to the whole, however many pixels of each take part.

Where classes have few pixels, theirs may weigh more: 1 / ln(1.02 + p) for a class that has the share p of
all pixels (ENet, arXiv:1606.02147, section 5.2), which stays bounded as p falls; here such that the mean
weight of a pixel is 1. Soft Dice (V-Net, arXiv:1606.04797, section 3) measures the overlap of each class that
a picture shows, however few its pixels. An auxiliary head learns the same (PSPNet, arXiv:1612.01105,
section 4).

Shapes: B pictures; K classes; H x W pixels of the views; h x w cells of the logits.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vitreous.data.annotation import ignored_of
from vitreous.data.batch import Labelled, padded_regions
from vitreous.data.confusion import mean_of, overlaps, weighed_by
from vitreous.data.masks import Masks
from vitreous.errors import DataError
from vitreous.tasks.config import SegmentationConfig
from vitreous.tasks.task import Loss

SOFTENED = 1.02  # what ENet adds to a share before the logarithm
SAID = "pixels "  # ahead of "truth guess", two classes' numbers, where pixels are counted


class Segmentation:
    """Regions (H, W) of targets against logits (B, K, h, w). ``counts`` are the pixels of every class in the
    training regions, which ``balance`` "loss" weighs by."""

    masks: Masks | None = None
    calibrated = False

    def __init__(self, config: SegmentationConfig | None = None, *, counts: Sequence[int] = ()) -> None:
        self.config = SegmentationConfig() if config is None else config
        self.weights: Tensor | None = None
        if self.config.balance == "loss":
            self.weights = pixel_weights(counts)

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """Cross-entropy in nats, and what the configuration adds to it, by their names."""
        answer = model(batch.images)
        truth = truths(batch, answer.logits.shape[1])
        logits = enlarged(answer.logits, truth)
        parts = {"cross_entropy": self.entropy(logits, truth)}
        total = parts["cross_entropy"]
        if self.config.dice:
            parts["dice"] = soft_dice(logits, truth)
            total = total + self.config.dice * parts["dice"]
        auxiliary = getattr(answer, "auxiliary", None)
        if self.config.auxiliary and auxiliary is not None:
            parts["auxiliary"] = self.entropy(enlarged(auxiliary, truth), truth)
            total = total + self.config.auxiliary * parts["auxiliary"]
        return Loss(total, parts)

    def entropy(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Logits (B, K, H, W), truth (B, H, W) -> (), 0 of a picture of which no pixel takes part."""
        classes = logits.shape[1]
        weights = None if self.weights is None else self.weights.to(logits.device)
        each = cross_entropy(
            logits.float(), truth, weights, ignore_index=ignored_of(classes), reduction="none"
        )
        counted = (truth != ignored_of(classes)).flatten(1).sum(1)
        return (each.flatten(1).sum(1) / counted.clamp(min=1)).mean()

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, the cross-entropy without weights, pixels that take part, and
        of each pair of classes that occurs how many pixels of the one were said to be the other."""
        logits = model(batch.images).logits
        classes = logits.shape[1]
        truth = truths(batch, classes)
        logits = enlarged(logits, truth).float()
        taking_part = truth != ignored_of(classes)
        entropy = cross_entropy(logits, truth, ignore_index=ignored_of(classes), reduction="sum")
        sums = {
            "pictures": float(len(truth)),
            "cross_entropy": entropy.item(),
            "taking part": float(taking_part.sum()),
        }
        codes = (truth * classes + logits.argmax(1))[taking_part]
        found, counts = codes.cpu().unique(return_counts=True)
        for code, count in zip(found.tolist(), counts.tolist(), strict=True):
            sums[f"{SAID}{code // classes} {code % classes}"] = float(count)
        return sums

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Mean intersection over union of the classes that some pixel has, or was said to have; the share of
        pixels that are right; the mean IoU with each class counting as it has pixels; and the mean
        cross-entropy of a pixel in nats. Pixels are those of the views. All are 0 where none takes part."""
        pairs = np.array(
            [
                (*map(int, name.removeprefix(SAID).split(" ")), count)
                for name, count in sums.items()
                if name.startswith(SAID)
            ],
            dtype=np.int64,
        ).reshape(-1, 3)
        classes = int(pairs[:, :2].max(initial=-1)) + 1
        hits, truth, guess = (
            np.bincount(rows[:, column], weights=rows[:, 2], minlength=classes)
            for rows, column in ((pairs[pairs[:, 0] == pairs[:, 1]], 0), (pairs, 0), (pairs, 1))
        )
        shares = overlaps(hits, truth, guess)
        pixels = max(1.0, sums["taking part"])
        return {
            "mean_iou": float(mean_of(shares)),
            "pixel_accuracy": float(hits.sum()) / pixels,
            "frequency_weighted_iou": float(weighed_by(shares, truth)),
            "guessing_iou": float(truth.max(initial=0)) / pixels / max(1, int((truth > 0).sum())),
            "validation_loss": sums["cross_entropy"] / pixels,
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Mean IoU; among equals the lower loss."""
        return measures["mean_iou"], -measures["validation_loss"]


def truths(batch: Labelled, classes: int) -> Tensor:
    """A batch with regions -> (B, H, W) of its views, ``ignored_of(classes)`` where a pixel takes no part.
    DataError where there are no regions."""
    targets = batch.targets or ()
    if len(targets) != len(batch.images) or any(target.region is None for target in targets):
        raise DataError(
            "every picture must have a map of classes for its pixels to be learnt; give such data"
        )
    height, width = batch.images.shape[-2:]
    return padded_regions(targets, (height, width), ignored_of(classes))


def enlarged(logits: Tensor, truth: Tensor) -> Tensor:
    """(B, K, h, w) -> (B, K, H, W) of the truth (B, H, W)."""
    if logits.shape[-2:] == truth.shape[-2:]:
        return logits
    return interpolate(logits, size=truth.shape[-2:], mode="bilinear", align_corners=False)


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Logits (B, K, H, W), truth (B, H, W) -> (), from 0 where all classes are met to 1; the mean over the
    classes that each picture shows, then over pictures; 0 of a picture of which no pixel takes part."""
    pictures, classes = logits.shape[:2]
    taking_part = (truth != ignored_of(classes))[:, None]  # (B, 1, H, W)
    scores = logits.float().softmax(1) * taking_part
    shown = torch.where(taking_part, truth[:, None], 0)
    own = scores.gather(1, shown).flatten(1)  # (B, H W); of a pixel that takes no part 0
    nothing = scores.new_zeros(pictures, classes)
    both = nothing.scatter_add(1, shown.flatten(1), own)
    pixels = nothing.scatter_add(1, shown.flatten(1), taking_part.flatten(1).to(own.dtype))
    apart = 1 - 2 * both / (scores.square().sum((2, 3)) + pixels).clamp(min=1e-6)
    present = (pixels > 0).to(own.dtype)
    return ((apart * present).sum(1) / present.sum(1).clamp(min=1)).mean()


def pixel_weights(counts: Sequence[int]) -> Tensor:
    """Pixels of each class -> what one of it weighs, (K,); the mean over all pixels is 1."""
    pixels = torch.tensor(list(counts), dtype=torch.float64)
    shares = pixels / pixels.sum()
    weights = 1 / torch.log(SOFTENED + shares)
    return (weights / (weights * shares).sum()).float()
