"""Two maps of classes laid over one another: which class was said for the pixels of which.

Intersection over union (Jaccard) of a class is the pixels that both maps give it over those that either does;
its mean leaves out classes of which there is no pixel in either. Weighted by frequency, each class counts as
the truth has pixels of it (Long et al., arXiv:1411.4038, section 5). numpy only.

Shapes: K classes; H x W pixels. A confusion (K, K) has the truth in rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64] | NDArray[np.float64]
Floats = NDArray[np.float64]


def confusion_of(guess: NDArray[Any], truth: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Maps of one shape (...) -> pixels (K, K); those whose truth is no class take no part. A guess is
    always one of the K classes."""
    taking_part = (truth >= 0) & (truth < classes)
    codes = truth[taking_part].astype(np.int64) * classes + guess[taking_part]
    return np.bincount(codes, minlength=classes * classes).reshape(classes, classes)


def pixels_of(region: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """A map (...) -> how many pixels each class has, (K,)."""
    return np.bincount(region[(region >= 0) & (region < classes)].ravel(), minlength=classes)


def overlaps(hits: Counts, truth: Counts, guess: Counts) -> Floats:
    """Pixels in which both agree on a class, and those that each gives it, all (..., K) -> intersection over
    union (..., K); NaN where neither gives it any."""
    union = truth + guess - hits
    with np.errstate(invalid="ignore"):
        return np.where(union > 0, hits / np.where(union > 0, union, 1), np.nan)


def mean_of(shares: Floats) -> Floats:
    """(..., K) with NaN for classes that take no part -> their mean (...,), 0 where none does."""
    there = ~np.isnan(shares)
    total: Floats = np.where(there, shares, 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    return total


def weighed_by(shares: Floats, pixels: Counts) -> Floats:
    """(..., K) -> their mean (...,), each counting as the truth has pixels of its class; 0 of no pixels."""
    total = np.asarray(pixels.sum(axis=-1), dtype=np.float64)
    found: Floats = np.where(pixels > 0, shares * pixels, 0).sum(axis=-1) / np.maximum(total, 1)
    return found
