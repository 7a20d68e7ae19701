"""Binary cross-entropy falls on fixed data; what is told of it is what scikit-learn says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.tasks.test_classification import small
from vitreous.data.loader import Labelled
from vitreous.models.classifier import Logits
from vitreous.tasks.tagging import STEPS, Tagging, average_precision, presence_weights


class Fixed(nn.Module):
    """A model whose pictures are logits."""

    def forward(self, images: Tensor) -> Logits:
        return Logits(images)


def batch(count: int = 12) -> Labelled:
    labels = (torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    return Labelled(torch.randn(count, 3, 8, 8), labels, torch.arange(count))


@pytest.mark.parametrize("task", [Tagging(0.1), Tagging(0.0, counts=(3, 6, 1), pictures=12)])
def test_the_loss_falls_on_a_fixed_batch(task: Tagging) -> None:
    torch.manual_seed(0)
    model, fixed = small(), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = task.loss(model, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.75 * losses[0]


def test_smoothing_draws_both_answers_to_one_half() -> None:
    logits, labels = torch.randn(5, 3), (torch.rand(5, 3) < 0.5).float()
    found = Tagging(0.2).loss(Fixed(), Labelled(logits, labels, torch.arange(5))).total
    wanted = binary_cross_entropy_with_logits(logits, labels * 0.8 + 0.1)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_weights_make_presence_and_absence_count_alike() -> None:
    counts, pictures = (2, 30, 0), 40
    shown, others = presence_weights(counts, pictures).double()
    both = torch.tensor(counts) * shown + (pictures - torch.tensor(counts)) * others
    torch.testing.assert_close(both[:2], torch.full((2,), 40.0, dtype=torch.float64))  # the mean weight is 1
    torch.testing.assert_close((torch.tensor(counts) * shown)[:2], torch.full((2,), 20.0).double())
    labels = torch.zeros(pictures, 3)
    for number, count in enumerate(counts):
        labels[:count, number] = 1
    level = Labelled(torch.zeros(pictures, 3), labels, torch.arange(pictures))
    task = Tagging(counts=counts, pictures=pictures)
    # At logits of 0 every answer costs log 2, and the third class, which nobody shows, half of that.
    assert task.loss(Fixed(), level).total.item() == pytest.approx(np.log(2) * 2.5 / 3, rel=1e-6)


def tallied(logits: np.ndarray, labels: np.ndarray, cut: int) -> dict[str, float]:
    sums: dict[str, float] = {}
    for rows in (slice(cut), slice(cut, None)):
        images, truth = torch.from_numpy(logits[rows]).float(), torch.from_numpy(labels[rows]).float()
        if len(images):
            for name, value in Tagging().tally(Fixed(), Labelled(images, truth, truth)).items():
                sums[name] = sums.get(name, 0.0) + value
    return sums


grid = st.integers(-300, 300).map(lambda place: place / STEPS)


@settings(max_examples=50, deadline=None)
@given(arrays(float, (14, 3), elements=grid), arrays(bool, (14, 3)), st.integers(0, 14))
def test_sums_of_pieces_give_what_scikit_learn_says(logits: np.ndarray, labels: np.ndarray, cut: int) -> None:
    measures = Tagging().measures(tallied(logits, labels, cut))
    present = labels.any(axis=0)
    guess = logits > 0
    if present.any():
        wanted = average_precision_score(labels[:, present], logits[:, present], average="macro")
        assert measures["mean_average_precision"] == pytest.approx(wanted, abs=1e-9)
        scores = f1_score(labels, guess, average=None, zero_division=0)
        assert measures["macro_f1"] == pytest.approx(scores[present].mean())
        assert measures["micro_f1"] == pytest.approx(
            f1_score(labels, guess, average="micro", zero_division=0)
        )
    else:
        assert measures["mean_average_precision"] == measures["macro_f1"] == 0
    assert measures["exact_match"] == pytest.approx((guess == labels).all(axis=1).mean())
    loss = binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(labels).double())
    assert measures["validation_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_rounding_costs_average_precision_little() -> None:
    random = np.random.default_rng(0)
    labels = random.random((2000, 4)) < 0.1
    logits = random.normal(0, 2, labels.shape) + 3 * labels
    found = Tagging().measures(tallied(logits, labels, 700))["mean_average_precision"]
    assert found == pytest.approx(average_precision_score(labels, logits, average="macro"), abs=2e-3)


def test_larger_average_precision_is_better_and_among_equals_the_lower_loss() -> None:
    rank = Tagging().rank
    low, high, surer = (
        rank({"mean_average_precision": precision, "validation_loss": loss})
        for precision, loss in ((0.5, 0.1), (0.6, 0.9), (0.6, 0.8))
    )
    assert low < high < surer


def test_logits_that_are_no_numbers_do_not_pass_for_measures() -> None:
    labels = torch.tensor([[1.0, 0.0]])
    sums = Tagging().tally(Fixed(), Labelled(torch.full((1, 2), torch.nan), labels, torch.arange(1)))
    assert not np.isfinite(Tagging().rank(Tagging().measures(sums))).all()


def test_equal_scores_are_taken_at_once() -> None:
    assert average_precision(np.array([0.0, 2.0]), np.array([0.0, 6.0])) == pytest.approx(0.25)
    assert average_precision(np.array([0.0, 2.0]), np.array([6.0, 0.0])) == 1.0
