"""A linear probe: how well a linear layer tells classes apart from frozen features, solved to its optimum.

Multinomial logistic regression by L-BFGS (scikit-learn's) on features that are standardised with the mean and
deviation of the training part. It minimises the mean cross-entropy, in nats, plus ``penalty / 2`` times the
squared norm of the weights; the bias is free. The penalty is chosen from ``PENALTIES`` by stratified
cross-validation on the training part, then everything is fitted again on all of it. Standardising is a linear
map, so that weights and bias can take it in: the outcome is one ordinary linear layer.

Shapes: n pictures; D the width of their features; K classes.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from vitreous.errors import DataError, VitreousError

# From strong to weak, a factor of ten apart. The weak end is looked at only while it helps.
PENALTIES = tuple(10.0**power for power in range(1, -7, -1))
DEFAULT = 0.01  # where every class has one picture, so that nothing can be held out
FOLDS = 5
PATIENCE = 2  # penalties without a better score before the weaker ones are left out
ITERATIONS = (1000, 10_000)  # of the solver; the second where the first did not suffice
TOLERANCE = 1e-5  # of the gradient at the optimum
ROUGH = 1e-3  # where penalties are compared: it tells them apart as well, in a fifth of the time
CONSTANT = 1e-6  # a feature that varies by less than this share of its size tells only of rounding

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Tried(NamedTuple):
    """A penalty, and how the pictures were answered that it was not fitted on: accuracy from 0 to 1, and
    cross-entropy in nats; in a balanced probe both are means over classes."""

    penalty: float
    accuracy: float
    loss: float


class LinearProbe(NamedTuple):
    """logits = features @ weight.T + bias: ``weight`` (K, D), ``bias`` (K,), both float64.

    ``folds`` is 0 where the penalty is the default one; ``tried`` are the penalties as they were looked at;
    ``loss`` is the mean cross-entropy on the training part in nats; ``notes`` are sentences that a person
    should hear.
    """

    weight: Floats
    bias: Floats
    penalty: float
    folds: int
    tried: tuple[Tried, ...]
    loss: float
    notes: tuple[str, ...]

    def logits(self, features: ArrayLike) -> Floats:
        """(n, D) -> (n, K)."""
        found: Floats = np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias
        return found


def fit_probe(
    features: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    balanced: bool = False,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> LinearProbe:
    """Features (n, D) and labels (n,) of the training part -> the probe.

    ``balanced``: every class counts as much as any other, as in ``tasks.balance``. Of equally accurate
    penalties the one with the lower cross-entropy is taken. A class with one picture is learnt from in every
    fold and judged in none; a class with fewer pictures than folds is judged in as many folds as it has
    pictures.

    Raises:
        DataError: fewer than two classes, or a class without pictures.
        VitreousError: features that are not finite.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    counts = _checked(x, y, classes)
    scaled, scale, mean = _standardised(x)
    folds = min(FOLDS, int(counts.max()))
    notes: list[str] = []
    tried: list[Tried] = []
    penalty = DEFAULT
    if folds < 2:
        folds = 0
        notes.append(f"every class has one picture, so that none could be held out: penalty {penalty:g}")
    else:
        tried = _cross_validated(scaled, y, counts, folds, penalties, balanced, seed)
        penalty = max(tried, key=lambda one: (one.accuracy, -one.loss)).penalty
        if singles := int((counts == 1).sum()):
            notes.append(f"{_classes(singles)} one picture only, which was not judged in cross-validation")
    solver = _Solver(len(classes), balanced, TOLERANCE)
    weight, bias = solver.fit(scaled, y, penalty)
    if not solver.converged:
        notes.append(
            f"the solver had not settled after {ITERATIONS[1]} iterations; the probe is near its optimum,"
            " not at it"
        )
    loss = float(_losses(scaled @ weight.T + bias, y).mean())
    folded = weight / scale  # (K, D)
    return LinearProbe(folded, bias - folded @ mean, penalty, folds, tuple(tried), loss, tuple(notes))


def _checked(x: Floats, y: Integers, classes: Sequence[str]) -> Integers:
    """How many pictures each class has, (K,)."""
    counts = np.bincount(y, minlength=len(classes)).astype(np.int64)
    if len(classes) < 2:
        only = f", {classes[0]}" if classes else ""
        raise DataError(f"a probe tells classes apart and wants two or more, got {len(classes)}{only}")
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        raise DataError(f"no training picture of {', '.join(map(repr, empty[:8]))} can be used for the probe")
    if not np.isfinite(x).all():
        raise VitreousError(
            "the model's features are not finite for some pictures; its weights are damaged, or training"
            " diverged"
        )
    return counts


def _standardised(x: Floats) -> tuple[Floats, Floats, Floats]:
    """(n, D) -> the same with mean 0 and deviation 1, what it was divided by (D,) and its mean (D,)."""
    mean, deviation = x.mean(0), x.std(0)
    size = np.abs(mean) + np.sqrt(np.square(x).mean())
    # Dividing by infinity makes such a feature 0, and its weight in the folded layer, too.
    scale = np.where(deviation > CONSTANT * size, deviation, np.inf)
    return (x - mean) / scale, scale, mean


def _cross_validated(
    x: Floats,
    y: Integers,
    counts: Integers,
    folds: int,
    penalties: Sequence[float],
    balanced: bool,
    seed: int,
) -> list[Tried]:
    parts = list(_parts(y, counts, folds, seed))
    solvers = [_Solver(len(counts), balanced, ROUGH) for _ in parts]
    judged = np.concatenate([held for _, held in parts])
    shares = 1 / counts[y[judged]] if balanced else np.ones(len(judged))
    tried: list[Tried] = []
    for penalty in penalties:
        answers = []
        for solver, (own, held) in zip(solvers, parts, strict=True):
            weight, bias = solver.fit(x[own], y[own], penalty)
            answers.append(x[held] @ weight.T + bias)
        logits = np.concatenate(answers)
        right = logits.argmax(1) == y[judged]
        accuracy, loss = np.average(np.stack([right, _losses(logits, y[judged])]), axis=1, weights=shares)
        tried.append(Tried(penalty, float(accuracy), float(loss)))
        scores = [(one.accuracy, -one.loss) for one in tried]
        if len(tried) - 1 - scores.index(max(scores)) >= PATIENCE:
            break
    return tried


def _losses(logits: Floats, y: Integers) -> Floats:
    """The cross-entropy of each picture in nats, (n,)."""
    losses: Floats = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return losses


def _parts(y: Integers, counts: Integers, folds: int, seed: int) -> Iterator[tuple[Integers, Integers]]:
    """(places to learn from, places to judge) of each fold."""
    single = counts[y] == 1
    alone, several = np.flatnonzero(single), np.flatnonzero(~single)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Small classes are spread over as many folds as they have pictures, which is what is wanted.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        pairs = list(splitter.split(several, y[several]))
    for own, held in pairs:
        if len(held):
            yield np.concatenate([alone, several[own]]), several[held]


class _Solver:
    """L-BFGS from where the last penalty left off: from strong to weak, each is near the one before."""

    def __init__(self, classes: int, balanced: bool, tolerance: float) -> None:
        self.classes = classes
        self.tolerance = tolerance
        self.weights = "balanced" if balanced else None
        self.start: LogisticRegression | None = None
        self.converged = True

    def fit(self, x: Floats, y: Integers, penalty: float) -> tuple[Floats, Floats]:
        """Standardised features (n, D), labels (n,) -> weight (K, D), bias (K,).

        Of two classes the solver fits one row, the difference of both; each class is given half of it.
        """
        # Halves have half the squared norm of that row, so that it is held down half as much.
        rows = 2 if self.classes == 2 else 1
        model = LogisticRegression(
            C=rows / (penalty * len(y)),
            class_weight=self.weights,
            max_iter=ITERATIONS[0],
            tol=self.tolerance,
            warm_start=True,
        )
        if self.start is not None:
            model.coef_, model.intercept_ = self.start.coef_, self.start.intercept_
        for most in ITERATIONS:
            model.set_params(max_iter=most)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                model.fit(x, y)
            self.converged = not any(issubclass(one.category, ConvergenceWarning) for one in said)
            if self.converged:
                break
        self.start = model
        weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
        if self.classes == 2:
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return weight, bias


def _classes(count: int) -> str:
    return "a class has" if count == 1 else f"{count} classes have"
