"""How good maps of classes are: mean IoU, that of each class, pixel accuracy, boundary IoU, how sure it is.

Pixels are added up over all pictures before anything is divided, as ADE20K, Cityscapes and torchmetrics do;
intervals are percentile bootstrap intervals over pictures, as in ``classification.py``. Pictures come one
at a time, and only counts of them are kept. numpy and scipy only: nothing here knows a model or a file.

Shapes: n pictures; K classes; H x W pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitreous.data.annotation import ignored_of
from vitreous.data.confusion import Floats, confusion_of, mean_of, overlaps, weighed_by
from vitreous.errors import DataError
from vitreous.evaluation.boundaries import SHARE, boundary_counts
from vitreous.evaluation.classification import LEVEL, RESAMPLES

CONFUSED = 50  # how many pairs of classes are named
AT_ONCE = 100  # resamples, so that many pictures need no gigabytes
WHOLE = ("mean_iou", "boundary_iou", "pixel_accuracy", "frequency_weighted_iou")


class PictureScore(NamedTuple):
    """One picture by itself: the mean IoU of the classes that it has, or was said to have, the share of its
    pixels that are right, and how many take part. Without any, both are NaN. ``mistaken`` are the class and
    the one that it was taken for in the most pixels, and how many those are; None where all are right."""

    mean_iou: float
    pixel_accuracy: float
    pixels: int
    mistaken: tuple[int, int, int] | None = None


class Segmented:
    """What is known of the pictures that were added so far. ``boundary`` is the share of a picture's diagonal
    that outlines reach inwards; None leaves outlines out, which take most of the time."""

    def __init__(self, classes: Sequence[str], *, boundary: float | None = SHARE) -> None:
        self.classes = tuple(classes)
        self.boundary = boundary
        self.confusion = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        self._counts: list[NDArray[np.int64]] = []  # for each picture (3 or 6, K): both, truth, guess

    def add(self, guess: ArrayLike, truth: ArrayLike) -> PictureScore:
        """The class of each pixel of one picture as it was said and as it is, both (H, W).

        Raises:
            DataError: maps of different sizes, or numbers that are no class; the truth may have
                ``ignored_of(K)`` where a pixel takes no part.
        """
        said, true = _checked(guess, truth, len(self.classes))
        found = confusion_of(said, true, len(self.classes))
        self.confusion += found
        counts = np.stack([found.diagonal(), found.sum(axis=1), found.sum(axis=0)])
        if self.boundary is not None:
            outlines = boundary_counts(said, true, len(self.classes), self.boundary)
            self._counts.append(np.concatenate([counts, outlines]))
        else:
            self._counts.append(counts)
        pixels = int(found.sum())
        if not pixels:
            return PictureScore(np.nan, np.nan, 0)
        right = float(found.trace()) / pixels
        return PictureScore(float(mean_of(overlaps(*counts))), right, pixels, _mistaken(found))

    def figures(self, *, seed: int = 0) -> dict[str, Any]:
        """Every figure, as plain values that JSON can hold; None for what nothing was there to judge by.

        ``mean_iou`` and ``boundary_iou`` are means over the classes that some pixel has, or was said to have;
        a class of which neither is true has None. ``mean_accuracy`` is the mean share of the pixels of each
        class that are right. ``confused`` names the pairs of classes that most pixels were mistaken between,
        with their share of the pixels that truly have the first. ``intervals`` hold 95% of 2000 resamples of
        the pictures, drawn from ``seed``.

        Raises:
            DataError: no pixel that takes part was added.
        """
        total = int(self.confusion.sum())
        if not total:
            raise DataError("nothing to judge: wanted at least one pixel with a class, got none")
        counts = np.stack(self._counts)  # (n, 3 or 6, K)
        whole, each = _figures(counts.sum(axis=0))
        hits, truth, guess = counts[:, :3].sum(axis=0)
        low, high = _resampled(counts, seed)
        recalls = np.where(truth > 0, hits / np.maximum(truth, 1), np.nan)
        return {
            "n": len(counts),
            "pixels": total,
            "classes": list(self.classes),
            **{name: _plain(whole[place]) for place, name in enumerate(WHOLE)},
            "mean_accuracy": float(mean_of(recalls)),
            "boundary": self.boundary,
            "intervals": {name: [_plain(low[0][i]), _plain(high[0][i])] for i, name in enumerate(WHOLE)},
            "per_class": [
                {
                    "class": name,
                    "iou": _plain(each[0, number]),
                    "boundary_iou": _plain(each[1, number]),
                    "accuracy": _plain(recalls[number]),
                    "pixels": int(truth[number]),
                    "said": int(guess[number]),
                    "share": float(truth[number] / total),
                    "interval": [_plain(low[1][number]), _plain(high[1][number])],
                }
                for number, name in enumerate(self.classes)
            ],
            "confused": self._confused(),
        }

    def _confused(self) -> list[dict[str, Any]]:
        mistaken = self.confusion.copy()
        np.fill_diagonal(mistaken, 0)
        order = np.argsort(-mistaken, axis=None, kind="stable")[:CONFUSED]
        rows = self.confusion.sum(axis=1)
        return [
            {
                "class": self.classes[true],
                "said": self.classes[said],
                "pixels": int(mistaken[true, said]),
                "share": float(mistaken[true, said] / rows[true]),
            }
            for true, said in (divmod(int(place), len(self.classes)) for place in order)
            if mistaken[true, said]
        ]


def segmentation_scores(
    guesses: Sequence[ArrayLike],
    truths: Sequence[ArrayLike],
    classes: Sequence[str],
    *,
    boundary: float | None = SHARE,
    seed: int = 0,
) -> dict[str, Any]:
    """All maps at once, n of (H, W) each -> what ``Segmented.figures`` says of them.

    Raises:
        DataError: nothing to judge, or maps that do not fit one another.
    """
    if len(guesses) != len(truths):
        raise DataError(f"wanted one answer for each of {len(truths)} pictures, got {len(guesses)}")
    tally = Segmented(classes, boundary=boundary)
    for guess, truth in zip(guesses, truths, strict=True):
        tally.add(guess, truth)
    return tally.figures(seed=seed)


def _mistaken(confusion: NDArray[np.int64]) -> tuple[int, int, int] | None:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    true, said = divmod(int(wrong.argmax()), len(wrong))
    return (true, said, int(wrong[true, said])) if wrong[true, said] else None


def _figures(counts: NDArray[Any]) -> tuple[Floats, Floats]:
    """Counts (..., 3 or 6, K) -> those of ``WHOLE`` (..., 4), and IoU and boundary IoU (..., 2, K)."""
    hits, truth = counts[..., 0, :], counts[..., 1, :]
    shares = overlaps(hits, truth, counts[..., 2, :])
    if counts.shape[-2] == 6:
        outlines = overlaps(*(counts[..., place, :] for place in (3, 4, 5)))
        near = mean_of(outlines)
    else:
        outlines = np.full_like(shares, np.nan)
        near = np.full(shares.shape[:-1], np.nan)
    right = hits.sum(axis=-1) / np.maximum(truth.sum(axis=-1), 1)
    whole = np.stack([mean_of(shares), near, right, weighed_by(shares, truth)], axis=-1)
    return whole, np.stack([shares, outlines], axis=-2)


def _resampled(counts: NDArray[np.int64], seed: int) -> tuple[list[Any], list[Any]]:
    """The ends of the intervals of ``WHOLE`` (4,), and of each class's IoU (K,): [whole, each] below and
    above; NaN of what no resample has."""
    generator = np.random.default_rng(seed)
    pictures, kinds, classes = counts.shape
    flat = counts.reshape(pictures, -1).astype(np.float64)
    drawn = []
    for _ in range(0, RESAMPLES, AT_ONCE):
        again = generator.integers(pictures, size=(AT_ONCE, pictures))
        times = np.stack([np.bincount(row, minlength=pictures) for row in again]).astype(np.float64)
        drawn.append(_figures((times @ flat).reshape(AT_ONCE, kinds, classes)))
    whole, each = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = [_quantiles(values, tails) for values in (whole, each[:, 0])]
    return [ends[0][0], ends[1][0]], [ends[0][1], ends[1][1]]


def _quantiles(values: Floats, tails: list[float]) -> Floats:
    """(R, m) -> (2, m), without the NaN of resamples in which there is nothing."""
    never = np.isnan(values).all(axis=0)
    found: Floats = np.nanquantile(np.where(never, 0, values), tails, axis=0)
    found[:, never] = np.nan
    return found


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _checked(guess: ArrayLike, truth: ArrayLike, classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    said, true = np.asarray(guess), np.asarray(truth)
    if said.shape != true.shape or said.ndim != 2:
        raise DataError(
            f"a map of {said.shape} does not fit the truth of {true.shape}; wanted (H, W) of both"
        )
    if not (np.issubdtype(said.dtype, np.integer) and np.issubdtype(true.dtype, np.integer)):
        raise DataError(f"wanted maps of class numbers, got {said.dtype} against {true.dtype}")
    ignored = ignored_of(classes)
    strange = true[((true < 0) | (true >= classes)) & (true != ignored)]
    if strange.size:
        raise DataError(
            f"the truth has the number {strange[0]}; wanted 0..{classes - 1}, or {ignored} where a pixel"
            " takes no part"
        )
    if said.size and not (said.min() >= 0 and said.max() < classes):
        raise DataError(f"answers must lie in 0..{classes - 1}, got {said.min()}..{said.max()}")
    return said, true
