"""How good a classifier's answers are: accuracy, confusion, calibration, and how sure these figures are.

Calibration error and temperature are those of arXiv:1706.04599 (eq. 3 and section 4.2); intervals are
percentile bootstrap intervals over pictures. numpy only: nothing here knows a model or a file.

Shapes: n pictures; K classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitreous.errors import DataError, VitreousError

BINS = 15
RESAMPLES = 2000
LEVEL = 0.95
TEMPERATURES = (0.05, 20.0)
CONFUSED = 4000  # classes; a table of more would take gigabytes and nobody could read it

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Calibration(NamedTuple):
    """One temperature, where it came from, and the logits (n, K) divided by the one that fits each."""

    temperature: float
    origin: str
    logits: Floats


def scores(
    logits: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    temperature: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Logits (n, K) and labels (n,) -> every figure, as plain values that JSON can hold.

    Log-probabilities are logits too. ``temperature`` is one that was fitted on other pictures; without
    it one is fitted here, in two halves that each calibrate the other, so that no picture judges itself.
    ``top5`` counts the truth among the first ``top5_k`` = min(5, K) answers. ``confusion`` has the
    truth in rows; it is None above 4000 classes. A class that no picture was given, or none has, scores
    0; ``macro`` is the mean over the classes that have pictures. ``ece`` is the calibration error in 15
    bins of equal width. ``intervals`` hold 95% of 2000 resamples drawn from ``seed``.

    Raises:
        DataError: nothing to judge, or shapes and labels that do not fit one another.
        VitreousError: logits that are not finite.
    """
    z, truth = _checked(logits, labels, classes)
    probabilities = softmax(z)
    guess = probabilities.argmax(axis=1)
    rank = _rank(z, truth)
    top_k = min(5, len(classes))
    calibration = calibrate(z, truth, temperature=temperature, seed=seed)
    per_class = _per_class(truth, guess, classes)
    present = [row for row in per_class if row["support"]]
    right, near = rank == 0, rank < top_k
    return {
        "n": len(truth),
        "classes": list(classes),
        "accuracy": float(right.mean()),
        "top5": float(near.mean()),
        "top5_k": top_k,
        "macro": {
            key: float(np.mean([row[key] for row in present])) for key in ("precision", "recall", "f1")
        },
        "nll": nll(z, truth),
        "ece": calibration_error(probabilities, truth),
        "temperature": calibration.temperature,
        "temperature_from": calibration.origin,
        "nll_calibrated": nll(calibration.logits, truth),
        "ece_calibrated": calibration_error(softmax(calibration.logits), truth),
        "intervals": intervals(probabilities, right, near, seed=seed),
        "per_class": per_class,
        "confusion": _confusion(truth, guess, len(classes)) if len(classes) <= CONFUSED else None,
        "bins": reliability(probabilities, truth),
    }


def softmax(logits: Floats) -> Floats:
    """(n, K) -> (n, K), rows that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return normalised


def nll(logits: Floats, labels: Integers) -> float:
    """Logits (n, K), labels (n,) -> the mean negative log-likelihood in nats."""
    top = logits.max(axis=1)
    partition = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.mean(partition - logits[np.arange(len(labels)), labels]))


def reliability(probabilities: Floats, labels: Integers) -> list[dict[str, Any]]:
    """The bins of a reliability diagram: how sure the first answers were, and how often they were right.

    Bin i holds the confidences in (i/15, (i+1)/15]; an empty one has None for both means.
    """
    guess, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    bins = _bin(confidence)
    rows = []
    for index in range(BINS):
        inside = bins == index
        some = bool(inside.any())
        rows.append(
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "n": int(inside.sum()),
                "confidence": float(confidence[inside].mean()) if some else None,
                "accuracy": float((guess == labels)[inside].mean()) if some else None,
            }
        )
    return rows


def calibration_error(probabilities: Floats, labels: Integers) -> float:
    """The expected calibration error: |accuracy - confidence|, averaged over bins by their pictures."""
    confidence = probabilities.max(axis=1)
    gaps = confidence - (probabilities.argmax(axis=1) == labels)
    return _binned(_bin(confidence), gaps)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Logits (n, K), labels (n,) -> the temperature that makes the labels likeliest.

    A label counts for (n + 1) / (n + 2), and the rest is shared by the other classes: n right answers do
    not prove that the next one is right (Platt, "Probabilistic outputs for support vector machines",
    1999, section 2.2). Without that, the best temperature for a few pictures without a mistake is 0.
    The likelihood is concave in 1/temperature, so halving the range in which its slope changes sign
    finds the one best value, kept within 0.05 to 20.
    """
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    z = z - z.max(axis=1, keepdims=True)  # what is added to a row must not decide by its rounding
    own = (label_shares(truth, z.shape[1]) * z).sum(axis=1)
    low, high = np.log(1 / TEMPERATURES[1]), np.log(1 / TEMPERATURES[0])
    for _ in range(60):
        middle = (low + high) / 2
        expected = (softmax(z * np.exp(middle)) * z).sum(axis=1)
        if np.mean(expected - own) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def label_shares(labels: Integers, classes: int) -> Floats:
    """Labels (n,) -> what each class counts for in fitting a temperature, (n, K); rows sum to 1."""
    count = len(labels)
    other = 1 / (count + 2) / max(1, classes - 1)
    shares = np.full((count, classes), other)
    shares[np.arange(count), labels] = 1 - other * (classes - 1)
    return shares


def calibrate(
    logits: Floats, labels: Integers, *, temperature: float | None = None, seed: int = 0
) -> Calibration:
    """Divide logits (n, K) by a temperature that none of the pictures it is used on helped to fit.

    Without a given one the pictures fall into two halves drawn from ``seed``; each half is divided by
    the temperature of the other. The temperature that is reported is fitted to all of them.
    """
    if temperature is not None:
        return Calibration(temperature, "checkpoint", logits / temperature)
    if len(labels) < 2:
        return Calibration(1.0, "too few pictures to fit one", logits)
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    calibrated = np.empty_like(logits)
    for half, other in (halves, halves[::-1]):
        calibrated[half] = logits[half] / fit_temperature(logits[other], labels[other])
    return Calibration(fit_temperature(logits, labels), "two halves of these pictures", calibrated)


def intervals(
    probabilities: Floats, right: NDArray[np.bool_], near: NDArray[np.bool_], *, seed: int = 0
) -> dict[str, list[float]]:
    """Where accuracy, top-5 accuracy and calibration error fall when the pictures are drawn again."""
    confidence = probabilities.max(axis=1)
    bins, gaps = _bin(confidence), confidence - right
    generator = np.random.default_rng(seed)
    drawn = np.empty((RESAMPLES, 3))
    for row in drawn:
        again = generator.integers(len(right), size=len(right))
        row[:] = right[again].mean(), near[again].mean(), _binned(bins[again], gaps[again])
    tails = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tails, 1 - tails], axis=0).tolist()
    return {key: [low[i], high[i]] for i, key in enumerate(("accuracy", "top5", "ece"))}


def _checked(logits: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> tuple[Floats, Integers]:
    z, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if not truth.size:
        raise DataError("nothing to judge: wanted at least one labelled picture, got none")
    if z.shape != (len(truth), len(classes)):
        raise DataError(
            f"logits of shape {z.shape} do not fit {len(truth)} labels and {len(classes)} classes"
        )
    if truth.min() < 0 or truth.max() >= len(classes):
        raise DataError(f"labels must lie in 0..{len(classes) - 1}, got {truth.min()}..{truth.max()}")
    refuse_broken(z)
    return z, truth


def refuse_broken(logits: Floats) -> None:
    """(n, K): VitreousError where some are not finite."""
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise VitreousError(
            f"the model answered with numbers that are not finite for {broken} of {len(logits)} pictures;"
            " its weights are damaged, or training diverged"
        )


def _rank(logits: Floats, labels: Integers) -> Integers:
    """How many classes come before the truth; of equal ones the first comes first, as in argmax."""
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ahead: Integers = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return ahead


def _confusion(truth: Integers, guess: Integers, classes: int) -> list[list[int]]:
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


def _per_class(truth: Integers, guess: Integers, classes: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    counted = [
        np.bincount(labels, minlength=len(classes)).tolist()
        for labels in (truth[truth == guess], truth, guess)
    ]
    for name, hits, support, answered in zip(classes, *counted, strict=True):
        rows.append(
            {
                "class": name,
                "precision": hits / answered if answered else 0.0,
                "recall": hits / support if support else 0.0,
                "f1": 2 * hits / (support + answered) if support + answered else 0.0,
                "support": support,
            }
        )
    return rows


def _bin(confidence: Floats) -> Integers:
    # A confidence on a border belongs to the lower bin, as in the paper's (i/15, (i+1)/15].
    borders = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(borders, confidence, side="left").astype(np.int64)


def _binned(bins: Integers, gaps: Floats) -> float:
    return float(np.abs(np.bincount(bins, weights=gaps, minlength=BINS)).sum() / len(gaps))
