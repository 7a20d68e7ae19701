"""Which patches of a training picture are hidden. Each draws from torch's global generator; whoever calls
one does so inside ``draws.drawing``, so that a mask is a function of (seed, epoch, picture).

Blocks: "BEiT" (arXiv:2106.08254), algorithm 1. Squares: "SimMIM" (arXiv:2111.09886), section 3. What a mask
would hide is told without torch, so that a wrong ratio is answered at once.

Shapes: P = rows * cols patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, sqrt
from typing import TYPE_CHECKING

from vitreous.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Masks = Callable[[], "Tensor"]  # draws one picture's mask: (P,), numbers or bool


@dataclass(frozen=True)
class RandomOrder:
    """A random number for each patch, (P,) from 0 to 1: the patches with the smallest stay visible."""

    patches: int

    def __call__(self) -> Tensor:
        """() -> (P,) float32."""
        import torch

        return torch.rand(self.patches)


@dataclass(frozen=True, kw_only=True)
class Blockwise:
    """Rectangles until ``count`` patches are hidden, in every picture as many: what is too much of the last
    rectangle is left out.

    grid            (rows, cols) of patches
    mask_ratio      share of them that is hidden, to the nearest patch: 78 of 196 at 0.4. The authors' code
                    hides 75 at most, which is 0.383
    smallest_block  patches of the smallest rectangle, before it meets others; None: a twelfth of all (16 of
                    196), but no more than are hidden
    aspect          rectangles are from this many times as high as wide to this many times as wide as high,
                    drawn evenly on a logarithmic scale as in the authors' code, so that wide and high ones
                    are as many

    ConfigError where that hides nothing or everything, or less than one block.
    """

    grid: tuple[int, int]
    mask_ratio: float = 0.4
    smallest_block: int | None = None
    aspect: float = 0.3

    def __post_init__(self) -> None:
        _check_some(self.count, self.grid[0] * self.grid[1], "patches", self.mask_ratio)
        if self.smallest_block is not None and self.smallest_block > self.count:
            raise ConfigError(
                f"task.smallest_block of {self.smallest_block} patches, and {self.count} are hidden; wanted"
                " no more than that, or null"
            )

    @property
    def count(self) -> int:
        """How many patches of a picture are hidden."""
        return nearest_share(self.mask_ratio, self.grid[0] * self.grid[1])

    @property
    def smallest(self) -> int:
        """Patches of the smallest rectangle."""
        if self.smallest_block is not None:
            return self.smallest_block
        return min(self.count, max(1, self.grid[0] * self.grid[1] // 12))

    def __call__(self) -> Tensor:
        """() -> (P,) bool, True where hidden."""
        import torch

        # Plain lists: grids are small, and a loading process draws a mask for each picture.
        hidden = [False] * (self.grid[0] * self.grid[1])
        left = self.count
        while left:  # every rectangle hides something, so there are at most as many as patches
            new = self._rectangle(hidden, left, torch.rand(5).tolist())[:left]
            for patch in new:
                hidden[patch] = True
            left -= len(new)
        return torch.tensor(hidden)

    def _rectangle(self, hidden: list[bool], left: int, draws: list[float]) -> list[int]:
        """The patches that a random rectangle would hide and that are not hidden yet, at least one."""
        rows, cols = self.grid
        size, shape, down, across, other = draws
        area = self.smallest + size * max(0, left - self.smallest)
        stretch = self.aspect ** (2 * shape - 1)  # height to width, even in its logarithm
        height = min(rows, max(1, round(sqrt(area * stretch))))
        width = min(cols, max(1, round(sqrt(area / stretch))))
        top, start = int(down * (rows - height + 1)), int(across * (cols - width + 1))
        new = self._visible(hidden, top, start, height, width)
        if new:
            return new
        # Nothing new there: it is laid over a patch that is visible yet.
        visible = self._visible(hidden, 0, 0, rows, cols)
        row, col = divmod(visible[int(other * len(visible))], cols)
        top = min(max(0, row - int(down * height)), rows - height)
        start = min(max(0, col - int(across * width)), cols - width)
        return self._visible(hidden, top, start, height, width)

    def _visible(self, hidden: list[bool], top: int, start: int, height: int, width: int) -> list[int]:
        """The patches of a rectangle that are not hidden, row by row."""
        cols = self.grid[1]
        return [
            patch
            for row in range(top, top + height)
            for patch in range(row * cols + start, row * cols + start + width)
            if not hidden[patch]
        ]


@dataclass(frozen=True, kw_only=True)
class RandomUnits:
    """Squares of ``unit`` x ``unit`` patches: a share ``mask_ratio`` of those that cover a ``grid`` (rows,
    cols) is hidden, to the nearest square. Where a side is no multiple of a square, the last are cut off.

    ConfigError where that hides nothing or everything.
    """

    grid: tuple[int, int]
    unit: int
    mask_ratio: float = 0.6

    def __post_init__(self) -> None:
        down, across = self.units
        what = f"squares of {self.unit}x{self.unit} patches"
        _check_some(self.count, down * across, what, self.mask_ratio)

    @property
    def units(self) -> tuple[int, int]:
        """(rows, cols) of squares, those that are cut off included."""
        return -(-self.grid[0] // self.unit), -(-self.grid[1] // self.unit)

    @property
    def count(self) -> int:
        """How many squares of a picture are hidden."""
        down, across = self.units
        return nearest_share(self.mask_ratio, down * across)

    def __call__(self) -> Tensor:
        """() -> (P,) bool, True where hidden."""
        import torch

        down, across = self.units
        hidden = torch.zeros(down * across, dtype=torch.bool)
        hidden[torch.randperm(down * across)[: self.count]] = True
        cells = hidden.view(down, across).repeat_interleave(self.unit, 0).repeat_interleave(self.unit, 1)
        return cells[: self.grid[0], : self.grid[1]].flatten()  # (P,)


def nearest_share(ratio: float, total: int) -> int:
    """How many of ``total`` a share is: the nearest whole number, a half upwards."""
    return floor(ratio * total + 0.5)


def _check_some(hidden: int, total: int, what: str, ratio: float) -> None:
    if 0 < hidden < total:
        return
    raise ConfigError(
        f"a mask_ratio of {ratio} hides {hidden or 'none'} of {total} {what}; wanted some hidden and some"
        " visible: give another ratio, smaller patches or a larger picture"
    )
