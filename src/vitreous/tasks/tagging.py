"""Which of K classes does a picture show, of which it may show several, or none? A sigmoid for each class.

Binary cross-entropy of every class by itself ("Large-scale Multi-label Text Classification - Revisiting
Neural Networks", arXiv:1312.5419), with the labels smoothed as those of a choice between two
(arXiv:1512.00567, section 7). Where classes are rare, pictures that show one may count as much as all that do
not: of n pictures n_c show class c, and weigh n / (2 n_c) for it, the others n / (2 (n - n_c)), so that the
mean weight is 1 (King and Zeng, Political Analysis 9, 2001). Average precision is the area under the steps of
the precision over the recall, equal scores taken at once.

Shapes: B pictures; K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.tasks.task import Loss

STEPS = 64  # of the logit to 1, into which it is rounded where average precision is counted
LARGEST = 16  # logit that is told from larger ones; its sigmoid is 1 - 1e-7
BINS = 2 * LARGEST * STEPS + 1
SHOWN, OTHERS = "shown ", "others "  # ahead of "class bin": pictures that show the class, and that do not
RIGHT, GUESSED = "right of ", "guessed "  # ahead of a class's number: said and true; said


class Tagging:
    """Labels (B, K), 0 or 1 or what mixing makes of them, against logits (B, K). ``counts`` says how many of
    the training ``pictures`` show each class, and where it is given classes are weighed by it."""

    masks: Masks | None = None
    calibrated = False

    def __init__(self, smoothing: float = 0.0, *, counts: Sequence[int] = (), pictures: int = 0) -> None:
        self.smoothing = smoothing
        self.weights = presence_weights(counts, pictures) if counts else None

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean over classes and pictures, in nats."""
        logits = model(batch.images).logits.float()
        total = binary_cross_entropy_with_logits(
            logits, self._smoothed(batch.labels), self._weights(batch.labels)
        )
        return Loss(total, {"cross_entropy": total})

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, those that are right in all classes, cross-entropy without
        smoothing or weights; of every class how often it was said (a score above one half) and rightly, and
        at how many pictures that show it, and others, its logit was about so large."""
        logits = model(batch.images).logits.float()
        shown, guess = batch.labels > 0.5, logits > 0
        entropy = binary_cross_entropy_with_logits(logits, batch.labels.float(), reduction="none")
        sums = {
            "pictures": float(len(logits)),
            "exact": float((shown == guess).all(1).sum()),
            "cross_entropy": float(entropy.mean(1).sum()),
        }
        for title, counts in ((GUESSED, guess.sum(0)), (RIGHT, (guess & shown).sum(0))):
            sums |= {f"{title}{number}": float(count) for number, count in enumerate(counts.tolist())}
        place = ((logits.nan_to_num().clamp(-LARGEST, LARGEST) + LARGEST) * STEPS).round().long()
        place = place + torch.arange(place.shape[1], device=place.device) * BINS  # (B, K)
        for title, chosen in ((SHOWN, place[shown]), (OTHERS, place[~shown])):
            found, counts = chosen.cpu().unique(return_counts=True)
            for code, count in zip(found.tolist(), counts.tolist(), strict=True):
                sums[f"{title}{code // BINS} {code % BINS}"] = float(count)
        return sums

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Mean average precision over the classes that some picture shows, of logits rounded to 1/64; F1 of
        all answers together (micro) and its mean over those classes (macro), at a score of one half; the
        share of pictures that are right in all classes; and the mean cross-entropy in nats. What no picture
        has to show for is 0."""
        classes = sum(name.startswith(GUESSED) for name in sums)
        shown, others = (_counted(sums, title, classes) for title in (SHOWN, OTHERS))  # (K, bins)
        said, right = (
            np.array([sums[f"{title}{number}"] for number in range(classes)]) for title in (GUESSED, RIGHT)
        )
        support = shown.sum(1)
        present = support > 0
        precisions = [average_precision(*rows) for rows in zip(shown, others, strict=True) if rows[0].any()]
        both = support + said
        f1 = np.divide(2 * right, both, out=np.zeros(classes), where=both > 0)
        return {
            "mean_average_precision": float(np.mean(precisions)) if precisions else 0.0,
            "micro_f1": float(2 * right.sum() / both.sum()) if both.any() else 0.0,
            "macro_f1": float(f1[present].mean()) if present.any() else 0.0,
            "exact_match": sums["exact"] / sums["pictures"],
            "validation_loss": sums["cross_entropy"] / sums["pictures"],
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Mean average precision; among equals the lower loss."""
        return measures["mean_average_precision"], -measures["validation_loss"]

    def _smoothed(self, labels: Tensor) -> Tensor:
        return labels.float() * (1 - self.smoothing) + self.smoothing / 2

    def _weights(self, labels: Tensor) -> Tensor | None:
        """(B, K); a mixed picture weighs by the shares of both."""
        if self.weights is None:
            return None
        shown, others = self.weights.to(labels.device)  # (K,) each
        return others + (shown - others) * labels.float()


def presence_weights(counts: Sequence[int], pictures: int) -> Tensor:
    """Pictures that show each class, and all of them -> what those weigh for it, and the others: (2, K)."""
    shown = torch.tensor(list(counts), dtype=torch.float64)
    return (pictures / (2 * torch.stack([shown, pictures - shown]).clamp(min=1))).float()


def average_precision(shown: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """How many pictures that show a class, and others, have each score, from the lowest (bins,) -> from 0 to
    1. Some picture must show it."""
    hits = np.cumsum(shown[::-1])
    taken = hits + np.cumsum(others[::-1])
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return float((shown[::-1] * precision).sum() / hits[-1])


def _counted(sums: Mapping[str, float], title: str, classes: int) -> NDArray[np.float64]:
    """(K, bins)."""
    found = np.zeros((classes, BINS))
    for name, count in sums.items():
        if name.startswith(title):
            number, place = name.removeprefix(title).split(" ")
            found[int(number), int(place)] = count
    return found
