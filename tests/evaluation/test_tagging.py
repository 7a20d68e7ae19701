"""Figures for several labels against scikit-learn's, and intervals that are what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, log_loss, precision_recall_fscore_support

from vitreous.errors import DataError, VitreousError
from vitreous.evaluation import tagging
from vitreous.evaluation.tagging import mistakes, scores

CLASSES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "RESAMPLES", 50)


@settings(max_examples=25, deadline=None)
@given(arrays(float, (12, 3), elements=st.integers(-4, 4).map(float)), arrays(bool, (12, 3)))
def test_figures_are_those_of_scikit_learn(logits: np.ndarray, truth: np.ndarray) -> None:
    found = scores(logits, truth, CLASSES)
    guess = logits > 0
    table = precision_recall_fscore_support(truth, guess, zero_division=0)
    for number, row in enumerate(found["per_class"]):
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(
            [values[number] for values in table]
        )
        if truth[:, number].any():
            wanted = average_precision_score(truth[:, number], logits[:, number])
            assert row["average_precision"] == pytest.approx(wanted)
        else:
            assert row["average_precision"] is None
    own = [row["average_precision"] for row in found["per_class"] if row["average_precision"] is not None]
    assert found["mean_average_precision"] == pytest.approx(np.mean(own) if own else 0.0)
    micro = precision_recall_fscore_support(truth, guess, average="micro", zero_division=0)[:3]
    assert [found["micro"][key] for key in ("precision", "recall", "f1")] == pytest.approx(micro)
    assert found["exact_match"] == pytest.approx((truth == guess).all(axis=1).mean())
    probabilities = 1 / (1 + np.exp(-logits))
    losses = [log_loss(truth[:, k], probabilities[:, k], labels=[0, 1]) for k in range(3)]
    assert found["nll"] == pytest.approx(np.mean(losses))


@settings(max_examples=25, deadline=None)
@given(
    arrays(float, (8, 3), elements=st.integers(-3, 3).map(float)),
    arrays(bool, (8, 3)),
    arrays(np.int64, 8, elements=st.integers(0, 3)),
)
def test_a_picture_that_counts_twice_is_one_that_is_there_twice(
    logits: np.ndarray, truth: np.ndarray, times: np.ndarray
) -> None:
    if not times.any():
        times[0] = 1
    ranking = tagging._Ranking(logits, truth)
    whole, each = tagging._figures(ranking, logits > 0, truth, times.astype(float))
    again = np.repeat(np.arange(8), times)
    wanted = scores(logits[again], truth[again], CLASSES)
    assert whole[0] == pytest.approx(wanted["mean_average_precision"])
    assert whole[1] == pytest.approx(wanted["micro"]["f1"])
    assert whole[2] == pytest.approx(wanted["macro"]["f1"])
    assert whole[3] == pytest.approx(wanted["exact_match"])
    for number, row in enumerate(wanted["per_class"]):
        assert each[3, number] == pytest.approx(row["f1"])
        assert np.isnan(each[0, number]) == (row["average_precision"] is None)


def test_intervals_hold_the_value_and_shrink_with_more_pictures() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (60, 960):
        truth = random.random((count, 3)) < 0.3
        found = scores(random.normal(0, 2, truth.shape) + 2 * truth, truth, CLASSES)
        for name in tagging.WHOLE[:1]:
            low, high = found["intervals"][name]
            assert low <= found[name] <= high
        for row in found["per_class"]:
            for key in tagging.OF_CLASS:
                low, high = row["intervals"][key]
                assert low <= row[key] <= high
        low, high = found["intervals"]["mean_average_precision"]
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]


def test_the_surest_mistakes_come_first() -> None:
    logits = np.array([[3.0, -1.0, 2.0], [-5.0, 0.5, -1.0]])
    truth = np.array([[1, 1, 0], [1, 1, 0]])
    assert mistakes(["x", "y"], logits, truth, CLASSES) == [
        {"name": "y", "class": "a", "shown": True, "score": pytest.approx(1 / (1 + np.exp(5)))},
        {"name": "x", "class": "c", "shown": False, "score": pytest.approx(1 / (1 + np.exp(-2)))},
        {"name": "x", "class": "b", "shown": True, "score": pytest.approx(1 / (1 + np.exp(1)))},
    ]


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to judge"):
        scores(np.empty((0, 3)), np.empty((0, 3)), CLASSES)
    with pytest.raises(DataError, match="do not fit"):
        scores(np.zeros((2, 3)), np.zeros((2, 2)), CLASSES)
    with pytest.raises(VitreousError, match="not finite for 1 of 2 pictures"):
        scores([[0, 0, 0], [0, np.nan, 0]], np.zeros((2, 3)), CLASSES)
