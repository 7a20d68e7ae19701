"""Views -> the class of each pixel of their pictures, from a view of the whole or window by window.

Logits are enlarged to the source's pixels before the likeliest class is picked, as they are where such models
are trained; picked first and enlarged then, outlines would have the steps of the cells. All logits of a large
picture would fill the memory, so it is done some rows at a time.

Shapes: B pictures; C channels; K classes; h x w cells of the logits; H x W source pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vitreous.data.annotation import IGNORED, Regions
from vitreous.data.preprocess import Placement, View
from vitreous.errors import CheckpointError, ConfigError, VitreousError
from vitreous.models.config import UPerNetConfig
from vitreous.models.sliding import strips

AT_ONCE = 2**24  # enlarged logits in memory


@torch.inference_mode()
def paint(model: nn.Module, views: Sequence[View], classes: int, device: torch.device) -> list[Regions]:
    """The class of each source pixel of each view's picture. Where the view does not show all of it, the rest
    is as what is seen nearest. Views of one size go through the model together.

    Raises:
        CheckpointError: the model tells another number of classes.
        VitreousError: it answers with numbers that are not finite.
    """
    found: dict[int, Regions] = {}
    sizes = [tuple(view.image.shape[-2:]) for view in views]
    for size in dict.fromkeys(sizes):
        places = [place for place, one in enumerate(sizes) if one == size]
        images = torch.stack([views[place].image for place in places])
        logits = _checked(model(images.to(device)).logits, classes)  # (b, K, h, w)
        for place, cells in zip(places, logits, strict=True):
            found[place] = enlarged(cells, views[place].where)
    return [found[place] for place in range(len(views))]


@torch.inference_mode()
def slide(
    model: nn.Module, image: Tensor, classes: int, device: torch.device, *, window: int, at_once: int
) -> Regions:
    """A whole picture (C, H, W) at its own size, in windows of ``window`` x ``window`` of its pixels that
    overlap by half -> the class of each pixel. A picture smaller than what the model was made for is padded
    with zeros at the right and at the bottom, up to that or to the window.

    Raises:
        CheckpointError: the model tells another number of classes.
        VitreousError: it answers with numbers that are not finite.
    """
    config = getattr(model, "config", None)
    native = (1, 1) if config is None else config.image_size
    height, width = (
        min(window, max(side, least)) for side, least in zip(image.shape[-2:], native, strict=True)
    )

    def answer(images: Tensor) -> Tensor:
        return _checked(model(images).logits, classes)

    found = strips(answer, image[None].to(device), window=(height, width), at_once=at_once)
    return _joined([_likeliest(strip[0]) for strip in found], classes)


def check_window(window: int, config: object) -> None:
    """ConfigError for a window that the model cannot look through."""
    least = 2 * config.backbone.patch if isinstance(config, UPerNetConfig) else 1
    if window < least:
        raise ConfigError(f"window must be {least} pixels or more for this model, got {window}")


def enlarged(logits: Tensor, where: Placement) -> Regions:
    """(K, h, w) of a whole view -> the likeliest class of each source pixel (H, W), bilinear between the
    middles of cells and constant beyond the outermost ones."""
    classes, cells_down, cells_across = logits.shape
    logits = logits.float()
    above, below, down = (part.to(logits.device) for part in _between(where, 0, cells_down))  # (H,)
    left, right, across = (part.to(logits.device) for part in _between(where, 1, cells_across))  # (W,)
    height, width = where.source
    rows = max(1, AT_ONCE // (classes * width))
    found: list[Tensor] = []
    for start in range(0, height, rows):
        here = slice(start, start + rows)
        first, last = int(above[here][0]), int(below[here][-1])
        cells = logits[:, first : last + 1]  # (K, few, w)
        wide = torch.lerp(cells[:, :, left], cells[:, :, right], across)  # (K, few, W)
        found.append(_highest(wide, above[here] - first, below[here] - first, down[here, None]))
    return _joined(found, classes)


def _between(where: Placement, axis: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each source pixel of an axis the cells before and after its middle, and how far it is between
    them."""
    side, resized = where.source[axis], where.resized[axis]
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) * (resized / side) - where.corner[axis]
    places = (middles * (cells / where.view[axis]) - 0.5).clamp(0, cells - 1)
    before = places.floor().long()
    return before, (before + 1).clamp(max=cells - 1), (places - before).float()


def _likeliest(logits: Tensor) -> Tensor:
    """(K, rows, W) -> (rows, W) int32, out of the way of the next rows."""
    return logits.argmax(0).to("cpu", torch.int32)


def _highest(wide: Tensor, above: Tensor, below: Tensor, down: Tensor) -> Tensor:
    """(K, few, W) -> the likeliest class (rows, W) int32 between its rows ``above`` and ``below``. Class by
    class, which on a processor is three times faster than all of them and then the highest."""
    best = torch.lerp(wide[0, above], wide[0, below], down)  # (rows, W)
    numbers = torch.zeros(best.shape, dtype=torch.int32, device=best.device)
    for number in range(1, len(wide)):
        level = torch.lerp(wide[number, above], wide[number, below], down)
        numbers.masked_fill_(level > best, number)
        best = torch.maximum(best, level)
    return numbers.cpu()


def _joined(strips_of: list[Tensor], classes: int) -> Regions:
    numbers = torch.cat(strips_of).numpy()
    return numbers.astype(np.uint8) if classes <= IGNORED else numbers.astype(np.uint16)


def _checked(logits: Tensor, classes: int) -> Tensor:
    if logits.shape[1] != classes:
        raise CheckpointError(
            f"the model tells {logits.shape[1]} classes of pixels and knows {classes}; wanted a segmenter"
            " with a name for every class"
        )
    if not bool(torch.isfinite(logits).all()):
        raise VitreousError(
            "the model answered with numbers that are not finite; its weights are damaged, or training"
            " diverged"
        )
    return logits
