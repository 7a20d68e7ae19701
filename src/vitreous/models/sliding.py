"""A large picture answered window by window, and the answers put together.

Windows lie at even steps, the last ones against the picture's far edges, and what they say of a pixel is
averaged, as SegFormer does for Cityscapes (arXiv:2105.15203, section 4.1), where all weigh alike. Weights
that fall off towards the edges of a window, where it sees least of what is around, hide the seams. They are
divided by their exact sum at each pixel, so whatever does not depend on the window comes out as it was.

Shapes: B pictures; C channels; H x W pixels; K channels of the answer, classes for one; h x w of a window.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vitreous.errors import ConfigError

Edge = Callable[[int], Tensor]


def even(length: int) -> Tensor:
    """Every pixel of a window counts alike, (length,)."""
    return torch.ones(length)


def falling(length: int) -> Tensor:
    """Weights that fall evenly from the middle of a window to its edges, (length,); the last pixel still
    counts, since at the edge of the picture there is no other window."""
    places = torch.arange(length)
    return (torch.minimum(places, places.flip(0)) + 1).float()


def slide(
    answer: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    window: tuple[int, int],
    step: tuple[int, int] | None = None,
    weights: Edge = falling,
    at_once: int = 4,
) -> Tensor:
    """(B, C, H, W) -> (B, K, H, W), float32.

    ``answer`` is asked about windows (b, C, h, w) and answers (b, K, any, any), which is enlarged to h x w;
    never about more than ``at_once`` windows, or the pictures of one if these are more. Without ``step``
    windows overlap by half. A picture smaller than a window is padded to it with zeros, right and bottom.

    Raises:
        ConfigError: a window or a step below one pixel, or a step that would leave pixels out.
    """
    found = strips(answer, images, window=window, step=step, weights=weights, at_once=at_once)
    return torch.cat(list(found), dim=2)


def strips(
    answer: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    window: tuple[int, int],
    step: tuple[int, int] | None = None,
    weights: Edge = falling,
    at_once: int = 4,
) -> Iterator[Tensor]:
    """The rows of ``slide`` from top to bottom, (B, K, rows, W) at a time: whoever wants the likeliest class
    alone never holds more than one row of windows, which of a large picture and many classes is little.

    Raises:
        ConfigError: as ``slide``.
    """
    size = _checked(window, window if step is None else step, step is None)
    height, width = images.shape[-2:]
    below, right = max(0, window[0] - height), max(0, window[1] - width)
    whole = pad(images, (0, right, 0, below)) if below or right else images
    if not len(images):
        raise ConfigError(f"nothing to answer: wanted pictures (B, C, H, W), got {tuple(images.shape)}")
    weight = (weights(window[0])[:, None] * weights(window[1])).to(images.device)  # (h, w)
    lefts = windows_of(whole.shape[-1], window[1], size[1])
    tops = windows_of(whole.shape[-2], window[0], size[0])
    together = max(1, at_once // len(images))
    total: Tensor | None = None  # (B, K, h, W) of the rows from the current top on
    counted = torch.zeros(window[0], whole.shape[-1], device=images.device)
    for top, following in zip(tops, [*tops[1:], whole.shape[-2]], strict=True):
        for start in range(0, len(lefts), together):
            some = lefts[start : start + together]
            cut = [whole[..., top : top + window[0], left : left + window[1]] for left in some]
            found = answer(torch.cat(cut)).float()
            if found.shape[-2:] != window:
                found = interpolate(found, size=window, mode="bilinear", align_corners=False)
            if total is None:
                total = found.new_zeros((len(images), found.shape[1], window[0], whole.shape[-1]))
            for left, part in zip(some, found.chunk(len(some)), strict=True):
                here = (..., slice(left, left + window[1]))
                total[here] += part * weight
                counted[here] += weight
        if total is not None:
            done = following - top  # no later window reaches these rows
            rows = min(following, height) - top
            yield (total[..., :rows, :] / counted[:rows])[..., :width]
            total = pad(total[..., done:, :], (0, 0, 0, done))
            counted = pad(counted[done:], (0, 0, 0, done))


def windows_of(side: int, window: int, step: int) -> list[int]:
    """Where windows of a length begin along a side of at least as many pixels: every ``step``, the last one
    such that it ends where the side does."""
    last = side - window
    return [*range(0, last, step), last]


def _checked(window: tuple[int, int], step: tuple[int, int], halved: bool) -> tuple[int, int]:
    if min(window) < 1 or min(step) < 1:
        raise ConfigError(f"a window and its step must be 1 pixel or more, got {window} and {step}")
    if halved:
        return max(1, window[0] // 2), max(1, window[1] // 2)
    if step[0] > window[0] or step[1] > window[1]:
        raise ConfigError(
            f"steps of {step} would leave out pixels between windows of {window}; give smaller ones"
        )
    return step
