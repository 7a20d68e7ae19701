"""Scores held against scikit-learn and torchmetrics, and against what must not change them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitreous.errors import DataError, VitreousError
from vitreous.evaluation.classification import (
    TEMPERATURES,
    calibrate,
    calibration_error,
    fit_temperature,
    intervals,
    nll,
    reliability,
    scores,
    softmax,
)


def made(n: int = 400, classes: int = 7, seed: int = 0, temperature: float = 2.5):
    """Logits that are too sure by ``temperature``, labels drawn from the honest probabilities."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(size=(n, classes)) * 2
    labels = np.array([generator.choice(classes, p=row) for row in softmax(honest)])
    return honest * temperature, labels, tuple(f"class {index}" for index in range(classes))


def test_accuracy_and_tables_equal_scikit_learn() -> None:
    from sklearn import metrics

    logits, labels, classes = made()
    result = scores(logits, labels, classes)
    guess = logits.argmax(1)
    assert result["n"] == 400
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guess))
    assert result["top5"] == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=5))
    assert result["top5_k"] == 5
    assert result["confusion"] == metrics.confusion_matrix(labels, guess).tolist()
    assert result["nll"] == pytest.approx(metrics.log_loss(labels, softmax(logits)))
    table = metrics.precision_recall_fscore_support(labels, guess, zero_division=0)
    for key, column in zip(("precision", "recall", "f1", "support"), table, strict=True):
        assert [row[key] for row in result["per_class"]] == pytest.approx(list(column))
    macro = metrics.precision_recall_fscore_support(labels, guess, average="macro", zero_division=0)
    assert [result["macro"][key] for key in ("precision", "recall", "f1")] == pytest.approx(macro[:3])


def test_calibration_error_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels, classes = made()
    wanted = multiclass_calibration_error(
        torch.from_numpy(softmax(logits)), torch.from_numpy(labels), num_classes=7, n_bins=15, norm="l1"
    )
    assert scores(logits, labels, classes)["ece"] == pytest.approx(float(wanted), abs=1e-6)


def test_classes_without_pictures_or_answers_score_zero_and_do_not_count() -> None:
    logits = np.eye(4)[[0, 0, 1, 1]] * 3.0
    result = scores(logits, [0, 0, 1, 2], ("a", "b", "c", "d"))
    by_name = {row["class"]: row for row in result["per_class"]}
    assert by_name["c"] == {"class": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert by_name["d"]["support"] == 0
    assert result["macro"]["recall"] == pytest.approx((1 + 1 + 0) / 3)


def test_few_classes_shorten_top_five() -> None:
    result = scores([[1.0, 0.0], [0.0, 1.0]], [1, 1], ("a", "b"))
    assert (result["accuracy"], result["top5"], result["top5_k"]) == (0.5, 1.0, 2)


def test_equal_logits_count_the_first_class_as_the_answer() -> None:
    result = scores(np.zeros((2, 6)), [0, 5], tuple("abcdef"))
    assert result["accuracy"] == 0.5
    assert result["top5"] == 0.5


def test_the_temperature_is_found_again() -> None:
    logits, labels, _ = made(n=20_000, temperature=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)


def test_the_temperature_is_the_minimum_that_scipy_finds() -> None:
    from scipy.optimize import minimize_scalar

    logits, labels, _ = made(seed=3)
    found = minimize_scalar(
        lambda value: expected_nll(logits / np.exp(value), labels), bounds=(-3, 3), method="bounded"
    )
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(found.x), rel=1e-4)


def expected_nll(logits, labels) -> float:
    """The negative log-likelihood where a label is right with (n + 1) / (n + 2), else any other class."""
    n, classes = logits.shape
    every = [nll(logits, np.full(n, label)) for label in range(classes)]
    other = (sum(every) - nll(logits, labels)) / (classes - 1)
    return (n + 1) / (n + 2) * nll(logits, labels) + other / (n + 2)


def test_a_few_right_answers_are_no_proof_of_certainty() -> None:
    logits, labels = np.eye(3)[[0, 1, 2]] * 4, np.array([0, 1, 2])
    few = fit_temperature(logits, labels)
    # Each label counts 4/5, so the likeliest softmax gives it that.
    assert softmax(logits / few)[0, 0] == pytest.approx(4 / 5)
    assert fit_temperature(np.tile(logits, (50, 1)), np.tile(labels, 50)) < few
    assert fit_temperature(logits, [1, 2, 0]) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(logits * 0.01, labels) == pytest.approx(TEMPERATURES[0])


def test_calibration_lowers_the_error_of_pictures_that_it_was_not_fitted_on() -> None:
    logits, labels, classes = made(n=4000)
    result = scores(logits, labels, classes)
    assert result["ece"] > 0.1
    assert result["ece_calibrated"] < 0.03
    assert result["nll_calibrated"] < result["nll"]
    assert result["temperature_from"] == "two halves of these pictures"


def test_each_half_is_judged_by_the_temperature_of_the_other() -> None:
    logits, labels, _ = made()
    order = np.random.default_rng(5).permutation(len(labels))
    first, second = order[:200], order[200:]
    found = calibrate(logits, labels, seed=5).logits
    assert np.allclose(found[first], logits[first] / fit_temperature(logits[second], labels[second]))
    assert np.allclose(found[second], logits[second] / fit_temperature(logits[first], labels[first]))


def test_a_given_temperature_is_used_as_it_is() -> None:
    logits, labels, classes = made()
    result = scores(logits, labels, classes, temperature=2.5)
    assert (result["temperature"], result["temperature_from"]) == (2.5, "checkpoint")
    assert result["ece_calibrated"] == pytest.approx(calibration_error(softmax(logits / 2.5), labels))


def test_the_interval_of_accuracy_is_that_of_the_binomial_it_resamples() -> None:
    from scipy.stats import binom

    logits, labels, _ = made()
    right = logits.argmax(1) == labels
    low, high = intervals(softmax(logits), right, right)["accuracy"]
    wanted = binom.ppf([0.025, 0.975], len(labels), right.mean()) / len(labels)
    assert [low, high] == pytest.approx(wanted, abs=0.006)
    assert low < right.mean() < high


def test_intervals_depend_on_the_seed_alone() -> None:
    logits, labels, classes = made(n=60)
    first, again, other = (scores(logits, labels, classes, seed=seed)["intervals"] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_reliability_bins_hold_every_picture_and_give_the_error() -> None:
    logits, labels, _ = made()
    bins = reliability(softmax(logits), labels)
    assert sum(row["n"] for row in bins) == len(labels)
    total = sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in bins if row["n"])
    assert total / len(labels) == pytest.approx(calibration_error(softmax(logits), labels))
    assert all(row["low"] < row["confidence"] <= row["high"] for row in bins if row["n"])


def test_a_result_is_json() -> None:
    logits, labels, classes = made(n=20)
    result = scores(logits, labels, classes)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@settings(max_examples=25, deadline=None)
@given(
    logits=arrays(np.float64, (12, 4), elements=st.floats(-20, 20, width=16)),
    labels=arrays(np.int64, 12, elements=st.integers(0, 3)),
    shift=arrays(np.float64, (12, 1), elements=st.integers(-50, 50)),
)
def test_what_is_added_to_a_row_changes_nothing(logits, labels, shift) -> None:
    first, second = (scores(z, labels, tuple("abcd")) for z in (logits, logits + shift))
    assert first["confusion"] == second["confusion"]
    for key in ("accuracy", "top5", "nll", "temperature"):
        assert first[key] == pytest.approx(second[key], rel=1e-6, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    logits=arrays(np.float64, (9, 5), elements=st.floats(-30, 30, width=16)),
    labels=arrays(np.int64, 9, elements=st.integers(0, 4)),
)
def test_no_other_temperature_is_likelier(logits, labels) -> None:
    best = expected_nll(logits / fit_temperature(logits, labels), labels)
    for other in (0.05, 0.3, 1.0, 3.0, 20.0):
        assert best <= expected_nll(logits / other, labels) + 1e-9


@pytest.mark.parametrize(
    ("logits", "labels", "wanted"),
    [
        (np.zeros((0, 2)), [], "nothing to judge"),
        (np.zeros((2, 3)), [0, 1], "do not fit"),
        (np.zeros((2, 2)), [0, 2], "labels must lie in 0..1"),
        (np.zeros((2, 2)), [-1, 0], "labels must lie in 0..1"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, wanted) -> None:
    with pytest.raises(DataError, match=wanted):
        scores(logits, labels, ("a", "b"))


def test_answers_that_are_not_finite_are_refused_and_counted() -> None:
    with pytest.raises(VitreousError, match="not finite for 1 of 2 pictures"):
        scores([[0.0, np.nan], [0.0, 1.0]], [0, 1], ("a", "b"))
