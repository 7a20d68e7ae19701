"""DETR's loss against transformers', matching, and average precision from sums."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from vitreous.data.batch import Labelled, Target
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.detr import Detections
from vitreous.tasks.config import DetectionConfig
from vitreous.tasks.detection import Detection, targets_of
from vitreous.tasks.detection_counts import _surest
from vitreous.tasks.set_matching import Weights, match

QUERIES, CLASSES = 9, 5


class Answers(nn.Module):
    """A model that has made up its mind."""

    def __init__(self, told: Detections) -> None:
        super().__init__()
        self.told = told

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Detections:
        return self.told


def drawn(layers: int, seed: int, pictures: int = 4) -> Detections:
    generator = torch.Generator().manual_seed(seed)
    told = [
        (
            torch.randn(pictures, QUERIES, CLASSES + 1, generator=generator, requires_grad=True),
            0.1 + 0.6 * torch.rand(pictures, QUERIES, 4, generator=generator),
        )
        for _ in range(layers)
    ]
    return Detections(*told[-1], tuple(told[:-1]))


def target(count: int, seed: int) -> Target:
    generator = torch.Generator().manual_seed(seed)
    boxes = 0.2 + 0.5 * torch.rand(count, 4, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return Target(boxes, labels, None, None, torch.tensor([8, 8]))


def batch(*targets: Target) -> Labelled:
    count = len(targets)
    return Labelled(torch.zeros(count, 3, 8, 8), torch.zeros(count), torch.arange(count), targets=targets)


@pytest.mark.parametrize("counts", [(3, 0, 5, 1), (0, 0, 0, 0), (12, 1, 2, 3)])
def test_the_loss_is_that_of_transformers(counts: tuple[int, ...]) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

    told = drawn(3, seed=0)
    targets = tuple(target(count, seed) for seed, count in enumerate(counts))
    config = transformers.DetrConfig(num_labels=CLASSES, auxiliary_loss=True, decoder_layers=3)
    layers = (*told.auxiliary, (told.logits, told.boxes))
    labels = [{"class_labels": one.labels, "boxes": one.boxes} for one in targets]
    logits, boxes = (torch.stack(parts) for parts in zip(*layers, strict=True))
    total, parts, _ = ForObjectDetectionLoss(
        logits[-1], labels, "cpu", boxes[-1], config, outputs_class=logits, outputs_coord=boxes
    )
    task = Detection()
    loss = task.loss(Answers(told), batch(*targets))
    assert_close(loss.total, total, atol=1e-5, rtol=1e-6)
    for number, terms in enumerate(task.layers(told, targets)):
        ending = "" if number == 2 else f"_{number}"
        for name, theirs in (("classes", "loss_ce"), ("boxes", "loss_bbox"), ("overlap", "loss_giou")):
            assert_close(terms.means()[name], parts[theirs + ending], atol=1e-5, rtol=1e-6)
    measures = task.measures(task.tally(Answers(told), batch(*targets)))
    last = parts["loss_ce"] + 5 * parts["loss_bbox"] + 2 * parts["loss_giou"]
    assert measures["validation_loss"] == pytest.approx(last.item(), rel=1e-5)
    assert measures["miscounted"] == pytest.approx(parts["cardinality_error"].item())


def test_each_object_has_a_query_of_its_own_and_the_cheapest_are_taken() -> None:
    true = target(4, seed=3)
    boxes = torch.full((1, QUERIES, 4), 0.05)
    boxes[0, [7, 2, 5, 0]] = true.boxes
    pairs = match(torch.zeros(1, QUERIES, CLASSES + 1), boxes, [true], Weights())
    assert dict(zip(pairs.query.tolist(), pairs.thing.tolist(), strict=True)) == {7: 0, 2: 1, 5: 2, 0: 3}


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """However their objects are spread, in one process or in two."""
    told, targets = drawn(2, seed=3), [target(count, count) for count in (4, 0, 1, 3)]
    task = Detection(objects=2.0)
    whole = task.loss(Answers(told), batch(*targets)).total
    halves = []
    for part in (slice(0, 2), slice(2, 4)):
        cut = Detections(
            told.logits[part],
            told.boxes[part],
            tuple((logits[part], boxes[part]) for logits, boxes in told.auxiliary),
        )
        halves.append(task.loss(Answers(cut), batch(*targets[part])).total)
    assert_close(torch.stack(halves).mean(), whole)
    few = Detection(objects=0.25)  # most pictures are empty, and so are most parts
    parts = [
        few.loss(Answers(Detections(told.logits[n : n + 1], told.boxes[n : n + 1])), batch(targets[n])).total
        for n in range(4)
    ]
    together = few.loss(Answers(Detections(told.logits, told.boxes)), batch(*targets)).total
    assert_close(torch.stack(parts).mean(), together)
    plain = Detection()
    assert_close(
        plain.loss(Answers(told), batch(*targets)).parts["boxes"],
        task.loss(Answers(told), batch(*targets)).parts["boxes"],
    )  # 8 objects on 4 pictures, as told


def test_costs_of_pictures_together_are_those_of_each_alone() -> None:
    told, targets = drawn(1, seed=6), [target(count, count) for count in (3, 0, 7, 1)]
    together = match(told.logits, told.boxes, targets, Weights())
    for number, one in enumerate(targets):
        alone = match(told.logits[number : number + 1], told.boxes[number : number + 1], [one], Weights())
        here = together.picture == number
        assert sorted(
            zip(together.query[here].tolist(), together.thing[here].tolist(), strict=True)
        ) == sorted(zip(alone.query.tolist(), alone.thing.tolist(), strict=True))


def test_what_is_no_number_is_matched_last() -> None:
    told = drawn(1, seed=1, pictures=1)
    logits = told.logits.detach().clone()
    logits[0, :4] = float("nan")
    pairs = match(logits, told.boxes, [target(5, seed=0)], Weights())
    assert pairs.query.min() == 4


def test_gradients_reach_queries_without_objects_too() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("detr_vit_tiny", classes=CLASSES)).train()
    empty = Labelled(torch.randn(2, 3, 64, 64), torch.zeros(2), torch.arange(2), targets=(target(0, 0),) * 2)
    loss = Detection().loss(model, empty)
    loss.total.backward()
    assert loss.total.isfinite() and set(loss.parts) == {"classes", "boxes", "overlap", "auxiliary"}
    assert loss.parts["boxes"] == 0 and model.query_places.grad.abs().sum() > 0


def test_a_perfect_answer_scores_one_and_sums_add_up() -> None:
    targets = tuple(target(3, seed) for seed in range(4))
    logits = torch.zeros(4, QUERIES, CLASSES + 1)
    logits[..., -1] = 9.0
    boxes = torch.full((4, QUERIES, 4), 0.1)
    for row, one in enumerate(targets):
        boxes[row, :3] = one.boxes
        logits[row, :3, -1] = 0
        logits[row, torch.arange(3), one.labels] = 12.0
    task = Detection()

    def sums(rows: slice) -> dict[str, float]:
        return task.tally(Answers(Detections(logits[rows], boxes[rows])), batch(*targets[rows]))

    halves: dict[str, float] = {}
    for part in (sums(slice(0, 2)), sums(slice(2, 4))):
        for name, value in part.items():
            halves[name] = halves.get(name, 0.0) + value
    whole = task.measures(sums(slice(0, 4)))
    assert task.measures(halves) == pytest.approx(whole)
    for name in ("ap", "ap50", "ap75", "matched_right"):
        assert whole[name] == pytest.approx(1)
    assert whole["miscounted"] == 0 and whole["matched_overlap"] == pytest.approx(1, abs=1e-5)
    assert task.rank(whole) > task.rank({"ap": 0.0, "validation_loss": 0.0})


def test_average_precision_is_that_of_coco() -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    generator = torch.Generator().manual_seed(5)
    pictures = 30
    targets = tuple(target(1 + seed % 6, seed) for seed in range(pictures))
    logits = torch.randn(pictures, QUERIES, CLASSES + 1, generator=generator)
    boxes = 0.1 + 0.6 * torch.rand(pictures, QUERIES, 4, generator=generator)
    for row, one in enumerate(targets):  # some of them nearly right
        noise = 0.05 * torch.rand(len(one.labels), 4, generator=generator)
        boxes[row, : len(one.labels)] = one.boxes + noise
        logits[row, torch.arange(len(one.labels)), one.labels] += 2
    told = Detections(logits, boxes)
    task = Detection()
    ours = task.measures(task.tally(Answers(told), batch(*targets)))

    def corners(box: Tensor) -> list[float]:
        x, y, width, height = (1000 * box).tolist()
        return [x - width / 2, y - height / 2, width, height]

    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": row, "width": 1000, "height": 1000} for row in range(pictures)],
        "categories": [{"id": label, "name": str(label)} for label in range(CLASSES)],
        "annotations": [
            {
                "id": 1 + 100 * row + place,
                "image_id": row,
                "category_id": int(one.labels[place]),
                "bbox": corners(one.boxes[place]),
                "area": 1e6 * float(one.boxes[place, 2:].prod()),
                "iscrowd": 0,
            }
            for row, one in enumerate(targets)
            for place in range(len(one.labels))
        ],
    }
    truth.createIndex()
    shares, labels = logits.softmax(-1)[..., :-1].max(-1)
    said = [
        {
            "image_id": row,
            "category_id": int(labels[row, query]),
            "bbox": corners(boxes[row, query]),
            "score": round(float(shares[row, query]) * 500) / 500,
        }
        for row in range(pictures)
        for query in range(QUERIES)
    ]
    judge = COCOeval_faster(truth, truth.loadRes(said), iouType="bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    # What has the same score is taken at once here, and in some order there.
    assert np.allclose([ours["ap"], ours["ap50"], ours["ap75"]], judge.stats[:3], atol=0.01)
    assert 0.1 < ours["ap"] < 0.9


def test_the_hundred_surest_of_each_class_take_part() -> None:
    labels = torch.tensor([0] * 130 + [1] * 5)
    order = torch.arange(135).flip(0)
    kept = _surest(order, labels)
    assert kept[:5].tolist() == [134, 133, 132, 131, 130]
    assert kept[5:].tolist() == list(range(129, 29, -1))
    assert _surest(order[:7], labels).tolist() == order[:7].tolist()


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="learns from pictures with boxes"):
        targets_of(batch()._replace(targets=None))
    with pytest.raises(ConfigError, match=r"task\.no_object must be above 0"):
        DetectionConfig(no_object=0.0)
    with pytest.raises(ConfigError, match="all costs of matching are 0"):
        DetectionConfig(class_cost=0.0, box_cost=0.0, overlap_cost=0.0)
    with pytest.raises(ConfigError, match=r"task\.box_weight must be 0 or more"):
        DetectionConfig(box_weight=-1.0)
