"""Which objects does a picture show, and where? DETR's loss of sets (arXiv:2005.12872), section 3.1.

Every object is given one query (``set_matching``); that query is to tell its class and its box, and all
others that they have none. The box loses by its distance and by the overlap, so that small objects count too.

Shapes: B pictures; Q queries; K classes; n objects of a picture, m of all of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitreous.data.batch import Target
from vitreous.data.loader import Labelled
from vitreous.data.masks import Masks
from vitreous.models.detr import Detections, best_of
from vitreous.tasks.config import DetectionConfig
from vitreous.tasks.detection_counts import average_precisions, count_found
from vitreous.tasks.set_matching import Pairs, Weights, corners, exact, generalised_overlaps, match
from vitreous.tasks.task import Loss

LAYER = ("classes", "boxes", "overlap")


class Terms(NamedTuple):
    """Sums over a batch: the cross-entropy of all queries, each weighed, and the sum of those weights; the L1
    distances and the lacking generalised overlaps of the pairs, and how many objects there are."""

    classes: Tensor
    weights: Tensor
    boxes: Tensor
    overlap: Tensor
    objects: float

    def means(self) -> dict[str, Tensor]:
        """The paper's three terms, each (); where there is no object the last two are 0."""
        count = self.objects or 1.0
        return {
            "classes": self.classes / self.weights,
            "boxes": self.boxes / count,
            "overlap": self.overlap / count,
        }


class Detection:
    """Targets of boxes and labels against ``Detections``.

    ``objects`` is how many a training picture has in the mean. Sums are divided by what so many would be in
    the batch, not by how many it happens to have: so parts of a batch, in one process or in several, add up
    to the whole. Without it they are divided by what is there, as in the paper's own code.
    """

    masks: Masks | None = None
    calibrated = False

    def __init__(self, config: DetectionConfig | None = None, *, objects: float | None = None) -> None:
        config = config or DetectionConfig()
        self.objects = objects
        self.costs = Weights(config.class_cost, config.box_cost, config.overlap_cost)
        self.weights = Weights(config.class_weight, config.box_weight, config.overlap_weight)
        self.no_object = config.no_object

    def loss(self, model: nn.Module, batch: Labelled) -> Loss:
        """The sum over all layers of the decoder that answer; the parts are those of the last one, and what
        all layers before it lose (``auxiliary``)."""
        answer = model(batch.images, batch.valid)
        layers = self.layers(answer, targets_of(batch))
        if self.objects is not None:
            layers = [self._usual(terms, answer.logits, self.objects) for terms in layers]
        sums = [self._weighed(terms.means()) for terms in layers]
        parts = layers[-1].means()
        if len(sums) > 1:
            parts["auxiliary"] = torch.stack(sums[:-1]).sum()
        return Loss(torch.stack(sums).sum(), parts)

    def layers(self, answer: Detections, targets: Sequence[Target]) -> list[Terms]:
        """The terms of each layer that answers, first to last; each has a matching of its own."""
        told = (*answer.auxiliary, (answer.logits, answer.boxes))
        return [self._terms(exact(logits), exact(boxes), targets) for logits, boxes in told]

    @torch.no_grad()
    def tally(self, model: nn.Module, batch: Labelled) -> dict[str, float]:
        """Sums over a held-out batch: what the loss is made of, in the last layer alone; objects; how far the
        number of queries that tell one is from theirs; the overlaps of pairs, and how many of those tell the
        right class; and what average precision needs (``detection_counts``)."""
        answer, targets = model(batch.images, batch.valid), targets_of(batch)
        logits, boxes = exact(answer.logits), exact(answer.boxes)
        pairs = match(logits, boxes, targets, self.costs)
        terms = self._terms(logits, boxes, targets, pairs)
        told, classes = logits.argmax(-1), logits.shape[-1] - 1
        counts = torch.tensor([len(target.labels) for target in targets], device=told.device)
        right = told[pairs.picture, pairs.query] == _labels(targets, pairs)
        best = best_of(answer)
        return {
            "pictures": float(len(targets)),
            "objects": float(terms.objects),
            "class_loss": float(terms.classes),
            "class_weight": float(terms.weights),
            "box_loss": float(terms.boxes),
            "overlap_loss": float(terms.overlap),
            "pairs": float(len(pairs.query)),
            "right": float(right.sum()),
            "miscounted": float(((told != classes).sum(1) - counts).abs().sum()),
            **count_found(best.scores, best.labels, corners(best.boxes.float()), targets),
        }

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Average precision as COCO has it, of scores rounded to 1/500, over overlaps from 0.5 to 0.95
        (``ap``) and at two of them; the loss of the last layer; and of matching: the share of pairs that tell
        the right class, the mean generalised overlap of pairs, from -1 to 1, and by how many objects a
        picture is miscounted."""
        found = average_precisions(sums)
        objects, pairs, pictures = max(1.0, sums["objects"]), max(1.0, sums["pairs"]), sums["pictures"]
        loss = self.weights.classes * sums["class_loss"] / sums["class_weight"]
        loss += self.weights.boxes * sums["box_loss"] / objects
        loss += self.weights.overlap * sums["overlap_loss"] / objects
        return {
            **found,
            "validation_loss": loss,
            "matched_right": sums["right"] / pairs,
            "matched_overlap": 1 - sums["overlap_loss"] / pairs if sums["pairs"] else 0.0,
            "miscounted": sums["miscounted"] / pictures,
        }

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Average precision; among equals the lower loss."""
        return measures["ap"], -measures["validation_loss"]

    def _usual(self, terms: Terms, logits: Tensor, objects: float) -> Terms:
        """The same sums, and what they are divided by where every picture has so many objects."""
        pictures, queries = logits.shape[:2]
        told = min(objects, queries)
        weights = pictures * (told + (queries - told) * self.no_object)
        return terms._replace(weights=terms.weights.new_tensor(weights), objects=pictures * objects)

    def _weighed(self, means: Mapping[str, Tensor]) -> Tensor:
        parts = [weight * means[name] for name, weight in zip(LAYER, self.weights, strict=True)]
        return torch.stack(parts).sum()

    def _terms(
        self, logits: Tensor, boxes: Tensor, targets: Sequence[Target], pairs: Pairs | None = None
    ) -> Terms:
        pairs = match(logits, boxes, targets, self.costs) if pairs is None else pairs
        nothing = logits.shape[-1] - 1
        labels = torch.full(logits.shape[:2], nothing, device=logits.device)  # (B, Q)
        labels[pairs.picture, pairs.query] = _labels(targets, pairs)
        weights = logits.new_ones(nothing + 1)
        weights[-1] = self.no_object
        entropy = cross_entropy(logits.flatten(0, 1), labels.flatten(), weights, reduction="sum")
        told = boxes[pairs.picture, pairs.query]  # (m, 4)
        true = _true(targets, pairs).to(told)
        overlap = generalised_overlaps(corners(told), corners(true))  # (m,)
        objects = float(sum(len(target.labels) for target in targets))
        return Terms(entropy, weights[labels].sum(), (told - true).abs().sum(), (1 - overlap).sum(), objects)


def targets_of(batch: Labelled) -> tuple[Target, ...]:
    """What is marked on the pictures of a batch. ValueError where nothing is, which whoever reads data sees
    to."""
    if batch.targets is None:
        raise ValueError("a detector learns from pictures with boxes, and this batch has none")
    return batch.targets


def _labels(targets: Sequence[Target], pairs: Pairs) -> Tensor:
    """The classes of the objects of pairs, (m,)."""
    return torch.cat([target.labels for target in targets])[_places(targets, pairs)]


def _true(targets: Sequence[Target], pairs: Pairs) -> Tensor:
    """The boxes of the objects of pairs, (m, 4)."""
    return torch.cat([target.boxes for target in targets])[_places(targets, pairs)]


def _places(targets: Sequence[Target], pairs: Pairs) -> Tensor:
    """Where the objects of pairs stand among those of all pictures, (m,)."""
    counts = torch.tensor([len(target.labels) for target in targets], device=pairs.thing.device)
    return (counts.cumsum(0) - counts)[pairs.picture] + pairs.thing
