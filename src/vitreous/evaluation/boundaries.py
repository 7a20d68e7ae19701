"""How well the outlines of classes are met: Boundary IoU.

"Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (arXiv:2103.16562): of each mask only
the pixels within a distance d of its outline count, d being 2% of the picture's diagonal. As in its authors'
code, distance is counted in squares around a pixel, and the picture's own edge is an outline too. The paper
judges one object at a time; here the pixels of a class are added up over pictures, as for the mean IoU.

Shapes: K classes; H x W pixels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

SHARE = 0.02  # of the diagonal


def width_of(height: int, width: int, share: float = SHARE) -> int:
    """How many pixels, at least 1, an outline reaches into a mask of a picture of this size."""
    return max(1, round(share * float(np.hypot(height, width))))


def band(region: NDArray[Any], distance: int, ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A map of classes (H, W) -> which of its pixels have another class, or the end of the picture, at most
    ``distance`` rows and columns away, (H, W). Pixels that are ignored are in no band, and draw no outline:
    where they begin nobody says that a class ends."""
    side = 2 * distance + 1
    classes = region.astype(np.int32)
    # One pass for all classes: inside, the least and the greatest class around a pixel are its own.
    least = np.where(ignored, np.iinfo(np.int32).max, classes)
    greatest = np.where(ignored, -1, classes)
    low = minimum_filter(least, size=side, mode="constant", cval=-1)
    high = maximum_filter(greatest, size=side, mode="constant", cval=-1)
    outline: NDArray[np.bool_] = ((low != classes) | (high != classes)) & ~ignored
    return outline


def boundary_counts(
    guess: NDArray[Any], truth: NDArray[Any], classes: int, share: float = SHARE
) -> NDArray[np.int64]:
    """Two maps (H, W) -> (3, K): of each class the pixels that both have near its outline, and those that
    the truth, and the guess, has there."""
    height, width = truth.shape
    distance = width_of(height, width, share)
    ignored = (truth < 0) | (truth >= classes)
    near_truth, near_guess = band(truth, distance, ignored), band(guess, distance, ignored)
    both = near_truth & near_guess & (truth == guess)
    chosen = (truth[both], truth[near_truth], guess[near_guess])
    return np.stack([np.bincount(labels.astype(np.int64), minlength=classes) for labels in chosen])
