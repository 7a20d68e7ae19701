"""Which of K classes does a picture show? Cross-entropy, with label smoothing (arXiv:1512.00567,
section 7).

Where classes have unequally many pictures, each may count as much as any other: a picture of class c weighs
n / (K n_c), n_c of all n being of that class, so that the mean weight is 1 (after King and Zeng, "Logistic
regression in rare events data", Political Analysis 9, 2001; scikit-learn's "balanced"). Balanced accuracy is
the mean recall of the classes (Brodersen et al., "The balanced accuracy and its posterior distribution",
ICPR 2010).

Shapes: B pictures; K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.tasks.config import Balance
from vitreous.tasks.task import Loss

RIGHT, PICTURES = "right of class ", "pictures of class "  # ahead of a class's number, where it is counted


class Classification:
    """Labels (B,) or shares of classes (B, K) against logits (B, K). ``counts`` are the training pictures of
    every class, which ``balance`` "loss" weighs by; with any balance the mean recall of the classes decides
    which weights are best, not accuracy."""

    masks: Masks | None = None
    calibrated = True

    def __init__(
        self, smoothing: float = 0.0, *, balance: Balance = "none", counts: Sequence[int] = ()
    ) -> None:
        self.smoothing = smoothing
        self.balance = balance
        self.weights = class_weights(counts) if balance == "loss" else None

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean cross-entropy of a batch, in nats."""
        total = self.entropy(model(batch.images).logits, batch.labels)
        return Loss(total, {"cross_entropy": total})

    def entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, K), labels (B,) or shares of classes (B, K) -> (), what ``loss`` is of them.

        The mean is over pictures, whatever they weigh, so that parts of a batch add up to the whole. A mixed
        picture weighs for each of its classes what that class does.
        """
        if self.weights is None:
            return cross_entropy(logits.float(), labels, label_smoothing=self.smoothing)
        classes = logits.shape[1]
        shares = one_hot(labels, classes).float() if labels.ndim == 1 else labels.float()  # (B, K)
        weighed = shares * self.weights.to(logits.device)
        smooth = weighed.sum(1, keepdim=True) * self.smoothing / classes  # torch's would weigh all alike
        return cross_entropy(logits.float(), weighed * (1 - self.smoothing) + smooth)

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: pictures, right answers, both for every class that occurs, and
        cross-entropy without smoothing or weights."""
        logits = model(batch.images).logits.float()
        right = logits.argmax(1) == batch.labels
        entropy = cross_entropy(logits, batch.labels, reduction="sum")
        sums = {
            "pictures": float(len(logits)),
            "right": right.sum().item(),
            "cross_entropy": entropy.item(),
        }
        for title, labels in ((PICTURES, batch.labels), (RIGHT, batch.labels[right])):
            counts = Counter(labels.tolist())
            sums |= {f"{title}{number}": float(count) for number, count in sorted(counts.items())}
        return sums

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Accuracy from 0 to 1; balanced accuracy, in which a class without pictures takes no part; and the
        mean cross-entropy in nats."""
        pictures = sums["pictures"]
        recalls = [
            sums.get(RIGHT + key.removeprefix(PICTURES), 0.0) / count
            for key, count in sums.items()
            if key.startswith(PICTURES)
        ]
        return {
            "accuracy": sums["right"] / pictures,
            "balanced_accuracy": sum(recalls) / len(recalls),
            "validation_loss": sums["cross_entropy"] / pictures,
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Accuracy, or the balanced one; among equals the lower loss: a small validation part is soon all
        right."""
        decisive = "accuracy" if self.balance == "none" else "balanced_accuracy"
        return measures[decisive], -measures["validation_loss"]


def class_weights(counts: Sequence[int]) -> Tensor:
    """Pictures of each class -> what a picture of it weighs, (K,); the mean over all pictures is 1."""
    pictures = torch.tensor(list(counts), dtype=torch.float64)
    return (pictures.sum() / (len(pictures) * pictures)).float()
