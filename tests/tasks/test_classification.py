"""The objective falls on fixed data; its tally is what it says."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy, one_hot

from vitreous.data.loader import Labelled
from vitreous.models import catalog
from vitreous.models.classifier import Classifier
from vitreous.tasks.classification import Classification, class_weights
from vitreous.tasks.config import Balance


def small() -> Classifier:
    torch.manual_seed(0)
    options = {"width": 16, "depth": 2, "heads": 2}
    return catalog.build(catalog.configure("vit_tiny", classes=3, image_size=8, options=options))


def batch(count: int = 12) -> Labelled:
    return Labelled(torch.randn(count, 3, 8, 8), torch.arange(count) % 3, torch.arange(count))


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_falls_on_a_fixed_batch(soft: bool) -> None:
    model, fixed, task = small(), batch(), Classification(smoothing=0.1)
    if soft:
        fixed = fixed._replace(labels=one_hot(fixed.labels, 3).float())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = task.loss(model, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.6 * losses[0]


def test_hard_labels_and_their_shares_have_one_loss() -> None:
    model, fixed, task = small(), batch(), Classification(smoothing=0.2)
    shares = fixed._replace(labels=one_hot(fixed.labels, 3).float())
    assert task.loss(model, fixed).total.item() == pytest.approx(
        task.loss(model, shares).total.item(), rel=1e-5
    )


def test_tallies_of_pieces_add_up_to_the_whole() -> None:
    model, fixed, task = small().eval(), batch(), Classification()
    pieces = [
        task.tally(model, Labelled(*(part[cut] for part in fixed[:3]))) for cut in (slice(5), slice(5, None))
    ]
    sums = {name: sum(piece[name] for piece in pieces) for name in pieces[0]}
    measures = task.measures(sums)
    logits = model(fixed.images).logits
    assert measures["accuracy"] == (logits.argmax(1) == fixed.labels).sum().item() / 12
    assert measures["validation_loss"] == pytest.approx(cross_entropy(logits, fixed.labels).item(), rel=1e-5)
    assert task.rank(measures) > task.rank({**measures, "validation_loss": 9.0})
    assert task.rank(measures) > task.rank({**measures, "accuracy": 0.1, "validation_loss": 0.0})
    guesses = logits.argmax(1)
    assert measures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(fixed.labels, guesses))


def test_a_class_without_held_out_pictures_takes_no_part_in_balanced_accuracy() -> None:
    model, fixed, task = small().eval(), batch(), Classification()
    two = fixed._replace(labels=fixed.labels.clamp(max=1))
    wanted = balanced_accuracy_score(two.labels, two.labels.clone().fill_(1))

    class Always(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> object:
            answer = model(images)
            return answer._replace(logits=torch.tensor([0.0, 1.0, 0.0]).expand_as(answer.logits))

    measures = task.measures(task.tally(Always(), two))
    assert measures["balanced_accuracy"] == wanted == 0.5
    assert measures["accuracy"] == pytest.approx(8 / 12)


def test_weights_are_scikit_learns_and_one_on_average() -> None:
    counts = (90, 9, 1)
    labels = [number for number, count in enumerate(counts) for _ in range(count)]
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = class_weights(counts)
    assert weights.tolist() == pytest.approx(wanted.tolist())
    assert weights[labels].mean().item() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_picture_weighs_what_its_class_does_whatever_part_it_is_in(smoothing: float) -> None:
    logits, labels = torch.randn(12, 3), torch.arange(12) % 3
    task = Classification(smoothing, balance="loss", counts=(60, 30, 10))
    each = cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    wanted = (each * class_weights((60, 30, 10))[labels]).mean()
    assert task.entropy(logits, labels).item() == pytest.approx(wanted.item(), rel=1e-5)
    parts = [task.entropy(logits[cut], labels[cut]) for cut in (slice(4), slice(4, 8), slice(8, 12))]
    assert torch.stack(parts).mean().item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_mixed_picture_weighs_for_each_class_what_that_class_does() -> None:
    logits, first, second = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 1, 0, 1, 0])
    task = Classification(0.1, balance="loss", counts=(60, 30, 10))
    mixed = one_hot(first, 3) * 0.7 + one_hot(second, 3) * 0.3
    wanted = 0.7 * task.entropy(logits, first) + 0.3 * task.entropy(logits, second)
    assert task.entropy(logits, mixed).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_equal_classes_weigh_as_without_weights() -> None:
    logits, labels = torch.randn(12, 3), torch.arange(12) % 3
    balanced = Classification(0.1, balance="loss", counts=(7, 7, 7))
    assert balanced.entropy(logits, labels).item() == pytest.approx(
        Classification(0.1).entropy(logits, labels).item(), rel=1e-5
    )


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_what_is_balanced_is_ranked_by_balanced_accuracy(balance: Balance) -> None:
    fair = {"accuracy": 0.8, "balanced_accuracy": 0.8, "validation_loss": 0.5}
    skewed = {"accuracy": 0.9, "balanced_accuracy": 0.5, "validation_loss": 0.3}
    assert Classification().rank(skewed) > Classification().rank(fair)
    task = Classification(balance=balance, counts=(9, 1))
    assert task.rank(fair) > task.rank(skewed)
