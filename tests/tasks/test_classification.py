"""The objective falls on fixed data; its tally is what it says."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from vitreous.data.loader import Labelled
from vitreous.models import catalog
from vitreous.models.classifier import Classifier
from vitreous.tasks.classification import Classification


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
    assert task.rank(measures) > task.rank({"accuracy": 0.1, "validation_loss": 0.0})
