"""A probe is scikit-learn's optimum, folded into one layer."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vitreous.errors import DataError, VitreousError
from vitreous.evaluation import probe
from vitreous.evaluation.probe import PENALTIES, fit_probe

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def made(count: int, width: int, classes: int, *, seed: int = 0, far: float = 1.0) -> tuple[Floats, Integers]:
    """Clouds around a centre for each class, each feature of another size and place."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width)) * far
    sizes, places = np.geomspace(0.01, 100, width), np.linspace(-50, 50, width)
    return (centres[labels] + random.normal(size=(count, width))) * sizes + places, labels


def names(count: int) -> list[str]:
    return [f"class {number}" for number in range(count)]


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("balanced", [False, True])
def test_it_is_scikit_learns_optimum_on_standardised_features(classes: int, balanced: bool) -> None:
    x, y = made(90, 6, classes)
    kept = (y != 0) | (np.arange(len(y)) % 3 == 0)  # the first class is rare
    x, y = x[kept], y[kept]
    found = fit_probe(x, y, names(classes), balanced=balanced)
    peer = make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=(2 if len(set(y)) == 2 else 1) / (found.penalty * len(y)),
            class_weight="balanced" if balanced else None,
            tol=1e-10,
            max_iter=10_000,
        ),
    ).fit(x, y)
    queries, _ = made(40, 6, classes, seed=1)
    logits, wanted = found.logits(queries), peer.decision_function(queries)
    if classes == 2:
        np.testing.assert_allclose(logits[:, 1] - logits[:, 0], wanted, atol=1e-3)
        np.testing.assert_allclose(logits.sum(1), 0, atol=1e-9)
    else:
        np.testing.assert_allclose(logits, wanted, atol=1e-3)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(chances, peer.predict_proba(queries), atol=1e-3)
    assert found.loss == pytest.approx(-peer.predict_log_proba(x)[np.arange(len(y)), y].mean(), abs=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_weights_are_where_the_stated_objective_is_flat(classes: int) -> None:
    x, y = made(90, 6, classes)
    found = fit_probe(x, y, names(classes))
    scaled = (x - x.mean(0)) / x.std(0)
    weight = found.weight * x.std(0)
    logits = found.logits(x)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    slope = (chances - np.eye(classes)[y]).T @ scaled / len(y) + found.penalty * weight
    np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_the_penalty_is_the_one_that_did_best_on_pictures_it_was_not_fitted_on() -> None:
    x, y = made(120, 8, 4, far=0.7)
    found = fit_probe(x, y, names(4))
    assert found.folds == 5
    best = max(found.tried, key=lambda one: (one.accuracy, -one.loss))
    assert found.penalty == best.penalty
    assert [one.penalty for one in found.tried] == list(PENALTIES[: len(found.tried)])
    # Where the classes are mere noise, more than a guess would be a leak.
    noise = fit_probe(np.random.default_rng(0).normal(size=(400, 30)), np.arange(400) % 4, names(4))
    assert max(one.accuracy for one in noise.tried) < 0.35


def test_the_same_seed_gives_the_same_bits_and_another_gives_other_folds() -> None:
    x, y = made(60, 5, 3, far=0.5)
    one, two, other = (fit_probe(x, y, names(3), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.weight, two.weight) and one.tried == two.tried
    assert one.tried != other.tried


def test_small_classes_have_fewer_folds_and_a_single_picture_is_learnt_from() -> None:
    x, y = made(9, 4, 3, far=4)
    few = fit_probe(x, y, names(3))
    assert few.folds == 3 and few.notes == ()
    x, y = made(31, 4, 3, far=4)
    kept = [*range(30)][:25]
    x, y = x[kept], y[kept]
    y[y == 2] = 0
    y[0], x[0] = 2, x.mean(0) + 40  # one picture, far from the others
    single = fit_probe(x, y, names(3))
    assert single.folds == 5
    assert any("one picture only" in note for note in single.notes)
    assert single.logits(x[:1]).argmax() == 2


def test_with_one_picture_of_every_class_the_usual_penalty_is_taken_and_said() -> None:
    x, y = made(3, 4, 3, far=4)
    found = fit_probe(x, y, names(3))
    assert (found.folds, found.tried, found.penalty) == (0, (), probe.DEFAULT)
    assert "one picture" in found.notes[0]
    assert found.logits(x).argmax(1).tolist() == [0, 1, 2]


def test_features_that_never_vary_have_no_weight() -> None:
    x, y = made(60, 5, 3)
    x = np.concatenate([x, np.full((60, 1), 7.0), np.full((60, 1), 1e4) + np.arange(60)[:, None] * 1e-9], 1)
    found = fit_probe(x, y, names(3))
    assert not found.weight[:, 5:].any()
    assert np.abs(found.weight).max() < 1e4


def test_a_solver_that_has_not_settled_is_given_longer_and_then_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = made(60, 5, 3)
    monkeypatch.setattr(probe, "ITERATIONS", (1, 2))
    assert any("had not settled after 2" in note for note in fit_probe(x, y, names(3)).notes)
    monkeypatch.setattr(probe, "ITERATIONS", (2, 1000))
    assert fit_probe(x, y, names(3)).notes == ()


def test_rare_classes_count_as_much_where_it_is_balanced() -> None:
    random = np.random.default_rng(0)
    y = np.array([0] * 190 + [1] * 10)
    x = random.normal(size=(200, 3)) + 1.2 * y[:, None]
    plain, balanced = (fit_probe(x, y, names(2), balanced=said) for said in (False, True))
    recalls = [(found.logits(x).argmax(1)[y == 1] == 1).mean() for found in (plain, balanced)]
    assert recalls[1] > recalls[0] + 0.2


def test_what_cannot_be_told_apart_is_refused() -> None:
    x, y = made(12, 4, 3)
    with pytest.raises(DataError, match="two or more, got 1, class 0"):
        fit_probe(x, np.zeros(12, dtype=np.int64), names(1))
    with pytest.raises(DataError, match="no training picture of 'class 3'"):
        fit_probe(x, y, names(4))
    x[3, 1] = np.inf
    with pytest.raises(VitreousError, match="not finite"):
        fit_probe(x, y, names(3))
