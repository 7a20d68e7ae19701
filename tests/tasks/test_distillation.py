"""Both losses are what their formulas say, reach the heads that they are meant for, and fall."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vitreous.data.loader import Labelled
from vitreous.models import catalog
from vitreous.models.classifier import Logits
from vitreous.models.deit import DistilledLogits
from vitreous.models.model import Model
from vitreous.models.pooled import catching
from vitreous.tasks.classification import Classification
from vitreous.tasks.config import DistillationConfig
from vitreous.tasks.distillation import Distillation, Lesson, semi_orthogonal

CLASSES, COUNT = 3, 12


class Says(nn.Module):
    """A model that gives the same answer to whatever it is shown."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer


def task(lesson: Lesson | Tensor, *, smoothing: float = 0.0, **options: Any) -> Distillation:
    """Distillation by a teacher that always says the same."""
    said = Lesson(lesson) if isinstance(lesson, Tensor) else lesson
    config = DistillationConfig(teacher="someone", smoothing=smoothing, **options)
    return Distillation(config, Classification(smoothing), lambda batch: said)


def labelled(labels: Tensor, images: Tensor | None = None) -> Labelled:
    count = len(labels)
    return Labelled(torch.zeros(count, 3, 8, 8) if images is None else images, labels, torch.arange(count))


def small(name: str) -> Model:
    torch.manual_seed(0)
    if name == "resnet_18":
        return catalog.build(catalog.configure(name, classes=CLASSES, image_size=32))
    options = {"depths": (1, 1, 1)} if name == "swin_tiny" else {"width": 16, "depth": 2, "heads": 2}
    side = 16 if name == "swin_tiny" else 8
    return catalog.build(catalog.configure(name, classes=CLASSES, image_size=side, options=options))


def fixed(model: Model) -> Labelled:
    torch.manual_seed(1)
    return labelled(torch.arange(COUNT) % CLASSES, torch.randn(COUNT, 3, *model.config.image_size))


def other(width: int = 20) -> Lesson:
    """A teacher with opinions of its own."""
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn(COUNT, CLASSES, generator=generator)
    return Lesson(logits, torch.randn(COUNT, width, generator=generator))


def test_hard_targets_by_hand() -> None:
    quarter = torch.tensor([[0.0, np.log(3)]])  # probabilities 1/4 and 3/4
    student = Says(DistilledLogits(quarter, quarter, -quarter))  # the distillation head says 3/4 and 1/4
    teacher = torch.tensor([[1.0, 5.0]])  # its answer is class 1
    loss = task(teacher, share=0.25).loss(student, labelled(torch.tensor([0])))
    assert loss.parts["labels"].item() == pytest.approx(np.log(4))
    assert loss.parts["teacher"].item() == pytest.approx(np.log(4))
    student = Says(DistilledLogits(quarter, quarter, quarter))
    loss = task(teacher, share=0.25).loss(student, labelled(torch.tensor([0])))
    assert loss.total.item() == pytest.approx(0.75 * np.log(4) + 0.25 * np.log(4 / 3))


@pytest.mark.parametrize("heads", ["one", "two"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_soft_targets_are_the_formula_of_the_paper(temperature: float, heads: str) -> None:
    own, taught = other(4).logits, other(5).logits.flip(0)
    teacher, labels = torch.randn(COUNT, CLASSES), torch.arange(COUNT) % CLASSES
    answer = Logits(taught) if heads == "one" else DistilledLogits((own + taught) / 2, own, taught)
    distilled = task(teacher, targets="soft", temperature=temperature, share=0.3, smoothing=0.1)
    loss = distilled.loss(Says(answer), labelled(labels))
    shares = 0.9 * np.eye(CLASSES)[labels.numpy()] + 0.1 / CLASSES
    first = taught if heads == "one" else own
    labels_part = -(shares * log_softmax(first.double().numpy(), 1)).sum(1).mean()
    theirs = softmax(teacher.double().numpy() / temperature, 1)
    ours = softmax(taught.double().numpy() / temperature, 1)
    teacher_part = temperature**2 * rel_entr(theirs, ours).sum(1).mean()
    assert loss.parts["labels"].item() == pytest.approx(labels_part, rel=1e-5)
    assert loss.parts["teacher"].item() == pytest.approx(teacher_part, rel=1e-5)
    assert loss.total.item() == pytest.approx(0.7 * labels_part + 0.3 * teacher_part, rel=1e-5)


def test_the_gradient_of_soft_targets_does_not_shrink_with_the_temperature() -> None:
    norms = []
    for temperature in (10.0, 100.0):
        logits = other().logits.flip(1).requires_grad_()
        task(other(), targets="soft", temperature=temperature, share=1.0).loss(
            Says(Logits(logits)), labelled(torch.zeros(COUNT, dtype=torch.long))
        ).total.backward()
        assert logits.grad is not None
        norms.append(logits.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.2)


def test_without_a_share_the_labels_alone_count_and_with_all_the_teacher_alone() -> None:
    model = small("vit_tiny")
    batch = fixed(model)
    plain = Classification(0.1).loss(model, batch).total
    for targets in ("hard", "soft"):
        loss = task(other(), smoothing=0.1, share=0.0, targets=targets).loss(model, batch)
        assert torch.equal(loss.total, plain)
        loss = task(other(), smoothing=0.1, share=1.0, targets=targets).loss(model, batch)
        assert torch.equal(loss.total, loss.parts["teacher"])


def test_shares_of_classes_are_labels_too() -> None:
    model = small("deit_tiny")
    batch = fixed(model)
    mixed = batch._replace(labels=one_hot(batch.labels, CLASSES).float())
    one, two = (task(other(), share=0.4).loss(model, labels).total for labels in (batch, mixed))
    assert one.item() == pytest.approx(two.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("share", "labels_reach", "teacher_reaches"), [(0.0, True, False), (0.5, True, True), (1.0, False, True)]
)
def test_gradients_reach_the_heads_that_they_are_meant_for(
    share: float, labels_reach: bool, teacher_reaches: bool
) -> None:
    model = small("deit_tiny")
    task(other(), share=share).loss(model, fixed(model)).total.backward()
    assert bool(model.head.weight.grad.any()) == labels_reach
    assert bool(model.distillation_head.weight.grad.any()) == teacher_reaches
    assert model.backbone.encoder.blocks[0].attention.qkv.weight.grad.any()
    # Processes that share a model wait for every one of them.
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_features_teach_the_backbone_and_no_head() -> None:
    model = small("deit_tiny")
    parts = task(other(), features=1.0).loss(model, fixed(model)).parts
    parts["features"].backward()
    assert model.head.weight.grad is None and model.distillation_head.weight.grad is None
    assert model.backbone.encoder.blocks[0].attention.qkv.weight.grad.any()


FALLS = [
    ("deit_tiny", {"targets": "hard"}),
    ("deit_tiny", {"targets": "soft", "features": 1.0}),
    ("vit_tiny", {"targets": "soft", "share": 1.0}),
    ("beit_tiny", {"targets": "hard", "features": 0.5}),
    ("swin_tiny", {"targets": "soft"}),
]


@pytest.mark.parametrize(("name", "options"), FALLS, ids=lambda value: str(value))
def test_the_loss_falls_on_a_fixed_batch(name: str, options: dict[str, Any]) -> None:
    model = small(name)
    batch = fixed(model)
    lesson = Lesson(4 * one_hot(batch.labels, CLASSES).float(), other().features)
    distilled = task(lesson, **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = distilled.loss(model, batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def normal(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(1, keepdims=True)
    return centred / np.sqrt(centred.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("width", [8, 16, 20])
def test_features_are_held_against_the_teachers_by_the_formula(width: int) -> None:
    model = small("vit_tiny").eval()
    batch, lesson = fixed(model), other(width)
    part = task(lesson, features=2.0).loss(model, batch)
    assert lesson.features is not None
    own = normal(model.features(batch.images).detach().double().numpy())
    wanted = normal(lesson.features.double().numpy())
    matrix = semi_orthogonal(max(width, 16), min(width, 16)).double().numpy()
    if width > 16:
        wanted = normal(wanted @ matrix)
    elif width < 16:
        own = normal(own @ matrix)
    distance = ((own - wanted) ** 2).mean()
    assert part.parts["features"].item() == pytest.approx(distance, rel=1e-4)
    rest = 0.5 * part.parts["labels"] + 0.5 * part.parts["teacher"]
    assert part.total.item() == pytest.approx(rest.item() + 2 * distance, rel=1e-4)


def distance_of(own: Tensor, wanted: Tensor) -> float:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = catalog.CATALOG["vit_tiny"]
            self.head = nn.Linear(own.shape[1], CLASSES)

        def forward(self, images: Tensor) -> Logits:
            return Logits(self.head(own))

    lesson = Lesson(torch.zeros(len(own), CLASSES), wanted)
    batch = labelled(torch.zeros(len(own), dtype=torch.long))
    return task(lesson, features=1.0).loss(Headed(), batch).parts["features"].item()


@settings(max_examples=40)
@given(
    scale=st.floats(0.1, 50),
    shift=st.floats(-9, 9),
    wide=st.integers(4, 40),
    narrow=st.integers(3, 40),
    seed=st.integers(0, 99),
)
def test_a_distance_knows_neither_scale_nor_shift_and_is_four_at_most(
    scale: float, shift: float, wide: int, narrow: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    own, wanted = (10 * torch.randn(5, width, generator=generator) for width in (narrow, wide))
    distance = distance_of(own, wanted)
    assert 0 <= distance <= 4.001
    assert distance_of(scale * own + shift, wanted) == pytest.approx(distance, abs=2e-2)
    assert distance_of(own, scale * own + shift) == pytest.approx(0, abs=1e-3)
    assert distance_of(own, -own) == pytest.approx(4, abs=1e-2)


def test_a_distance_is_the_mean_of_its_pictures() -> None:
    own, wanted = other(16).features, other(24).features
    assert own is not None and wanted is not None
    pieces = [distance_of(own[cut], wanted[cut]) * size for cut, size in ((slice(5), 5), (slice(5, 12), 7))]
    assert distance_of(own, wanted) == pytest.approx(sum(pieces) / COUNT, rel=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(64, 16), (9, 9), (512, 3)])
def test_a_projection_has_orthonormal_columns_and_is_always_the_same(rows: int, columns: int) -> None:
    matrix = semi_orthogonal(rows, columns)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(columns), atol=1e-6, rtol=0)
    assert torch.equal(matrix, semi_orthogonal(rows, columns))


@pytest.mark.parametrize("name", ["deit_tiny", "vit_tiny", "swin_tiny", "resnet_18"])
def test_features_cost_no_second_forward_and_leave_no_hook(name: str) -> None:
    model = small(name).eval()
    batch, calls = fixed(model), []
    handle = model.register_forward_hook(lambda *arguments: calls.append(1))
    with torch.no_grad():
        loss = task(other(), features=1.0).loss(model, batch)
    assert len(calls) == 1 and loss.parts["features"] > 0
    handle.remove()
    assert not any(module._forward_pre_hooks for module in model.modules())
    with catching(model) as given, torch.no_grad():
        model(batch.images)
    caught = torch.stack(given).mean(0)
    torch.testing.assert_close(caught, model.features(batch.images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["deit_tiny", "vit_tiny"])
def test_it_is_judged_as_a_classifier_by_the_mean_of_both_heads(name: str) -> None:
    model = small(name).eval()
    batch, distilled, plain = fixed(model), task(other()), Classification()
    sums = distilled.tally(model, batch)
    assert sums == plain.tally(model, batch)
    measures = distilled.measures(sums)
    assert distilled.rank(measures) == plain.rank(plain.measures(sums))
    answer = model(batch.images)
    logits = answer.logits if name == "vit_tiny" else (answer.class_logits + answer.distillation_logits) / 2
    assert measures["accuracy"] == (logits.argmax(1) == batch.labels).sum().item() / COUNT
    assert distilled.masks is None and distilled.calibrated


def test_the_teacher_is_asked_about_the_very_batch() -> None:
    model = small("vit_tiny")
    asked: list[Labelled] = []

    def teacher(batch: Labelled) -> Lesson:
        asked.append(batch)
        return other()

    ask: Callable[[Labelled], Lesson] = teacher
    batch = fixed(model)
    Distillation(DistillationConfig(teacher="someone"), Classification(), ask).loss(model, batch)
    assert len(asked) == 1 and asked[0] is batch
