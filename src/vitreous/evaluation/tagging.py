"""How good answers are where a picture may show several classes: average precision, F1, and how sure it is.

Average precision is exact: the area under the steps of the precision over the recall, equal scores taken at
once. Intervals are percentile bootstrap intervals over pictures, as in ``classification.py``. numpy only.

Shapes: n pictures; K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitreous.errors import DataError
from vitreous.evaluation.classification import LEVEL, RESAMPLES, refuse_broken

MISTAKES = 50  # how many of the surest wrong answers are named
WHOLE = ("mean_average_precision", "micro_f1", "macro_f1", "exact_match")
OF_CLASS = ("average_precision", "precision", "recall", "f1")

Floats = NDArray[np.float64]
Truth = NDArray[Any]


def scores(logits: ArrayLike, truth: ArrayLike, classes: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Logits and truth of 0 and 1, both (n, K) -> every figure, as plain values that JSON can hold.

    A class is said where its logit is above 0, its score above one half. ``micro`` is over all answers
    together, ``macro`` the mean over the classes that some picture shows, as ``mean_average_precision`` is;
    ``exact_match`` the share of pictures that are right in all classes; ``nll`` the mean over pictures and
    classes in nats. A class that no picture shows has the average precision None. ``intervals``, of the whole
    and of each class, hold 95% of 2000 resamples drawn from ``seed``.

    Raises:
        DataError: nothing to judge, or shapes that do not fit one another.
        VitreousError: logits that are not finite.
    """
    z, shown = _checked(logits, truth, classes)
    ranking = _Ranking(z, shown)
    weights = np.ones(len(z))
    whole, each = _figures(ranking, z > 0, shown, weights)
    low, high = _resampled(ranking, z > 0, shown, seed)
    said = (z > 0).sum(axis=0)
    return {
        "n": len(z),
        "classes": list(classes),
        "answers": "several",
        "mean_average_precision": float(whole[0]),
        "micro": _prf(z > 0, shown),
        "macro": {
            name: float(each[place, shown.any(axis=0)].mean()) if shown.any() else 0.0
            for place, name in enumerate(OF_CLASS)
            if place
        },
        "exact_match": float(whole[3]),
        "nll": float((np.logaddexp(0, z) - z * shown).mean()),
        "intervals": {name: [low[0][i], high[0][i]] for i, name in enumerate(WHOLE)},
        "per_class": [
            {
                "class": name,
                **{key: _plain(each[place, number]) for place, key in enumerate(OF_CLASS)},
                "support": int(shown[:, number].sum()),
                "said": int(said[number]),
                "intervals": {
                    key: [_plain(low[1][place, number]), _plain(high[1][place, number])]
                    for place, key in enumerate(OF_CLASS)
                },
            }
            for number, name in enumerate(classes)
        ],
    }


def mistakes(
    names: Sequence[str], logits: ArrayLike, truth: ArrayLike, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The surest wrong answers of pictures (n,): a class that was said and is not shown, or the reverse."""
    z, shown = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=bool)
    rows, columns = np.nonzero((z > 0) != shown)
    order = np.argsort(-np.abs(z[rows, columns]), kind="stable")[:MISTAKES]
    return [
        {
            "name": names[rows[place]],
            "class": classes[columns[place]],
            "shown": bool(shown[rows[place], columns[place]]),
            "score": float(1 / (1 + np.exp(-z[rows[place], columns[place]]))),
        }
        for place in order
    ]


class _Ranking:
    """Pictures of each class from the highest logit down; ``last`` is the place of the last one as high."""

    def __init__(self, logits: Floats, shown: Truth) -> None:
        self.order = np.argsort(-logits, axis=0, kind="stable")  # (n, K)
        ranked = np.take_along_axis(logits, self.order, axis=0)
        self.shown = np.take_along_axis(shown, self.order, axis=0)
        places = np.arange(len(logits))[:, None]
        ends = np.vstack([ranked[1:] != ranked[:-1], np.ones((1, ranked.shape[1]), dtype=bool)])
        marked = np.where(ends, places, len(logits))
        self.last = np.minimum.accumulate(marked[::-1], axis=0)[::-1]

    def average_precision(self, weights: Floats) -> Floats:
        """How often each picture counts (n,) -> (K,); NaN where none shows a class."""
        counts = weights[self.order]
        own = counts * self.shown
        hits, taken = own.cumsum(axis=0), counts.cumsum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.take_along_axis(hits / taken, self.last, axis=0)
            found: Floats = np.where(own > 0, own * precision, 0).sum(axis=0) / hits[-1]
        return found


def _figures(ranking: _Ranking, said: Truth, shown: Truth, weights: Floats) -> tuple[Floats, Floats]:
    """Those of ``WHOLE`` (4,), and of ``OF_CLASS`` (4, K), of pictures that count so often (n,)."""
    right = weights @ (said & shown)  # (K,)
    answered, support = weights @ said, weights @ shown
    each = np.stack(
        [
            ranking.average_precision(weights),
            _over(right, answered),
            _over(right, support),
            _over(2 * right, answered + support),
        ]
    )
    present = support > 0
    exact = weights @ (said == shown).all(axis=1) / weights.sum()
    micro = _over(2 * right.sum(), answered.sum() + support.sum())
    means = (each[0, present].mean(), each[3, present].mean()) if present.any() else (0.0, 0.0)
    return np.array([means[0], micro, means[1], exact]), each


def _resampled(ranking: _Ranking, said: Truth, shown: Truth, seed: int) -> tuple[list[Any], list[Any]]:
    """The ends of the intervals of both results of ``_figures``, [whole, each] below and above."""
    generator = np.random.default_rng(seed)
    count = len(said)
    whole, each = np.empty((RESAMPLES, len(WHOLE))), np.empty((RESAMPLES, len(OF_CLASS), said.shape[1]))
    for place in range(RESAMPLES):
        again = np.bincount(generator.integers(count, size=count), minlength=count).astype(np.float64)
        whole[place], each[place] = _figures(ranking, said, shown, again)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    seldom = np.isnan(each).all(axis=0)  # a class that no picture shows
    ends = np.quantile(whole, tails, axis=0), np.nanquantile(np.where(seldom, 0, each), tails, axis=0)
    ends[1][:, seldom] = np.nan
    return [ends[0][0].tolist(), ends[1][0]], [ends[0][1].tolist(), ends[1][1]]


def _prf(said: Truth, shown: Truth) -> dict[str, float]:
    """Precision, recall and F1 of all answers together."""
    right, answered, support = (int(table.sum()) for table in (said & shown, said, shown))
    return {
        "precision": right / answered if answered else 0.0,
        "recall": right / support if support else 0.0,
        "f1": 2 * right / (answered + support) if answered + support else 0.0,
    }


def _over(part: Any, whole: Any) -> Any:
    """The share, 0 of nothing."""
    return np.divide(part, whole, out=np.zeros_like(np.asarray(whole, dtype=np.float64)), where=whole > 0)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _checked(logits: ArrayLike, truth: ArrayLike, classes: Sequence[str]) -> tuple[Floats, Truth]:
    z, shown = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=bool)
    if not z.size:
        raise DataError("nothing to judge: wanted at least one labelled picture, got none")
    if z.shape != shown.shape or z.shape[1:] != (len(classes),):
        raise DataError(f"logits of shape {z.shape} do not fit truth {shown.shape}, {len(classes)} classes")
    refuse_broken(z)
    return z, shown
