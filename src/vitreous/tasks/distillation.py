"""Learning from a teacher beside the labels.

A DeiT's class token learns from the labels and its distillation token from the teacher ("Training
data-efficient image transformers & distillation through attention", arXiv:2012.12877, section 4, eq. 2 and
3); any other classifier learns both from the same logits ("Distilling the Knowledge in a Neural Network",
arXiv:1503.02531, section 2). What the teacher says is not smoothed, nor weighted by class.

Features may be held against the teacher's, too, as hints (arXiv:1412.6550, eq. 3). Nothing is learnt for it
that is no part of the model: the wider of two vectors is projected by a fixed random matrix with orthonormal
columns (orthogonal for the reasons of arXiv:2403.06213, section 3; there it is learnt), and each vector is
normalised by itself, without scale and shift (arXiv:2205.14141, section 3). All of it concerns one picture at
a time, so that it depends neither on micro-batches nor on the number of processes.

Shapes: B pictures; K classes; D, E widths of two models.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, layer_norm, log_softmax

from vitreous.data.draws import seed_of
from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.models.deit import DistilledLogits
from vitreous.models.pooled import catching
from vitreous.tasks.classification import Classification
from vitreous.tasks.config import DistillationConfig
from vitreous.tasks.task import Loss


class Lesson(NamedTuple):
    """What a teacher says of a batch: logits (B, K) in the order of the data's classes, and its pooled
    features (B, E) where they are asked for."""

    logits: Tensor
    features: Tensor | None = None


Teaches = Callable[[Labelled], Lesson]


class Distillation:
    """(1 - share) x what ``labels`` asks for + share x what the teacher does. It is judged by the labels
    alone."""

    masks: Masks | None = None
    calibrated = True

    def __init__(self, config: DistillationConfig, labels: Classification, teacher: Teaches) -> None:
        self.config = config
        self.labels = labels
        self.teacher = teacher
        self.projection: Tensor | None = None

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The mean over the pictures of a batch."""
        lesson = self.teacher(batch)
        if self.config.features and lesson.features is not None:
            itself: Any = getattr(model, "module", model)  # where processes share it
            with catching(itself) as given:
                answer = model(batch.images)
        else:
            answer = model(batch.images)
        own = taught = answer.logits
        if isinstance(answer, DistilledLogits):
            own, taught = answer.class_logits, answer.distillation_logits
        # Both stay in the sum at a share of 0 or 1: processes wait for the gradient of every parameter.
        parts = {"labels": self.labels.entropy(own, batch.labels), "teacher": self._taught(taught, lesson)}
        total = (1 - self.config.share) * parts["labels"] + self.config.share * parts["teacher"]
        if self.config.features and lesson.features is not None:
            parts["features"] = self._distance(given[-1], lesson.features)  # of DeiT's distillation token
            total = total + self.config.features * parts["features"]
        return Loss(total, parts)

    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """As ``Classification``; of a DeiT the mean of both heads is judged."""
        return self.labels.tally(model, batch)

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """As ``Classification``."""
        return self.labels.measures(sums)

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """As ``Classification``."""
        return self.labels.rank(measures)

    def _taught(self, logits: Tensor, lesson: Lesson) -> Tensor:
        """Logits (B, K) -> (): the cross-entropy with the teacher's answer (eq. 3), or how far the softened
        distribution is from the teacher's (eq. 2), in nats."""
        logits, wanted = logits.float(), lesson.logits.float()
        if self.config.targets == "hard":
            return cross_entropy(logits, wanted.argmax(1))
        softness = self.config.temperature
        own, wanted = log_softmax(logits / softness, 1), log_softmax(wanted / softness, 1)
        # The square makes up for gradients that shrink with it.
        return softness**2 * kl_div(own, wanted, reduction="batchmean", log_target=True)

    def _distance(self, own: Tensor, wanted: Tensor) -> Tensor:
        """(B, D), (B, E) -> (): the mean squared difference of two normalised vectors, from 0 to 4, which is
        twice what their correlation lacks of 1."""
        with torch.autocast(own.device.type, enabled=False):
            own, wanted = _alone(own), _alone(wanted)
            if own.shape[1] > wanted.shape[1]:
                own = _alone(own @ self._projection(own, wanted))
            elif own.shape[1] < wanted.shape[1]:
                wanted = _alone(wanted @ self._projection(wanted, own))
            return (own - wanted).square().mean()

    def _projection(self, wide: Tensor, narrow: Tensor) -> Tensor:
        """From the width of one to that of the other, (E, D)."""
        if self.projection is None:
            self.projection = semi_orthogonal(wide.shape[1], narrow.shape[1]).to(wide.device)
        return self.projection


def semi_orthogonal(rows: int, columns: int) -> Tensor:
    """A random (rows, columns) matrix with orthonormal columns, the same each time."""
    generator = torch.Generator().manual_seed(seed_of("projection", rows, columns))
    drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.float()


def _alone(vectors: Tensor) -> Tensor:
    """(B, D): each with a mean of 0 and a deviation of 1."""
    return layer_norm(vectors.float(), vectors.shape[1:])
