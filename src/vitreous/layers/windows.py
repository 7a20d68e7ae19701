"""Windows: attention among the tokens of one part of the grid only, "Swin Transformer" (arXiv:2103.14030),
section 3.2. What is cut is the same at any size of the grid, so the cost grows linearly with it.

Shapes: B pictures; a grid of rows x cols tokens, padded to whole windows; L windows of N = h * w tokens;
D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vitreous.layers.attention import Attention
from vitreous.layers.geometry import shift_on, whole_windows
from vitreous.layers.layout import Layout

Window = tuple[int, int]  # (rows, cols), in tokens

APART = -100.0  # added to the score of two tokens that are neighbours through the shift alone


def partition(grid: Tensor, window: Window) -> Tensor:
    """(B, rows, cols, D) -> (B, L, N, D): cut into windows, row by row. The sides must be multiples."""
    batch, rows, cols, width = grid.shape
    high, wide = window
    cut = grid.reshape(batch, rows // high, high, cols // wide, wide, width)
    return cut.transpose(2, 3).reshape(batch, -1, high * wide, width)


def merge(windows: Tensor, window: Window, rows: int, cols: int) -> Tensor:
    """(B, L, N, D) -> (B, rows, cols, D), the exact inverse of ``partition``."""
    batch, width = windows.shape[0], windows.shape[-1]
    high, wide = window
    cut = windows.reshape(batch, rows // high, cols // wide, high, wide, width)
    return cut.transpose(2, 3).reshape(batch, rows, cols, width)


def shift(grid: Tensor, by: Window) -> Tensor:
    """(B, rows, cols, D) -> the same, moved up and left by so many tokens; what leaves comes back on the
    other side. The inverse is a shift by the negative."""
    return torch.roll(grid, (-by[0], -by[1]), dims=(1, 2)) if any(by) else grid


class Cut(NamedTuple):
    """How a grid becomes windows. ``order`` (L * N,): which token of the padded grid stands at each place of
    each window; ``back`` (P,): at which place each token of the grid stands; ``mask`` (L, 1, N, N): what is
    added to the scores, 0 for two tokens that are neighbours in the picture too and ``APART`` for others."""

    order: Tensor
    back: Tensor
    mask: Tensor | None  # None where nothing is shifted


def cut(layout: Layout, window: Window, by: Window, *, shift_first: bool = False) -> Cut:
    """A grid, padded to whole windows and shifted ``by``, as one permutation and its inverse.

    ``shift_first`` shifts the grid ahead of padding it, so that the padding stays where it is.
    """
    rows, cols = whole_windows(layout.rows, layout.cols, window)
    real = (slice(None), slice(layout.rows), slice(layout.cols))
    places = torch.arange(rows * cols, device="cpu")
    grid = places.view(1, rows, cols, 1)
    back = merge(places.view(1, -1, window[0] * window[1], 1), window, rows, cols)
    opposite = (-by[0], -by[1])
    if shift_first:
        grid = grid.clone()
        grid[real] = shift(grid[real], by)
        back = shift(back[real], opposite)
    else:
        grid, back = shift(grid, by), shift(back, opposite)[real]
    mask = shift_mask((rows, cols), window, by) if any(by) else None
    return Cut(partition(grid, window).flatten(), back.flatten(), mask)


def shift_mask(sides: Window, window: Window, by: Window) -> Tensor:
    """A padded grid -> (L, 1, N, N), the mask of a ``Cut``. Only the last windows of an axis hold its seam,
    and along an axis that is not shifted all tokens are neighbours."""
    regions = []
    for side, length, moved in zip(sides, window, by, strict=True):
        places = torch.arange(side, device="cpu")
        behind = (places >= side - moved) if moved else torch.zeros_like(places)
        regions.append((places >= side - length).long() * (moved > 0) + behind)
    grid = (3 * regions[0][:, None] + regions[1])[None, :, :, None]  # (1, rows, cols, 1)
    labels = partition(grid, window)[0, :, :, 0]  # (L, N)
    return (labels[:, None, :, None] != labels[:, None, None]) * APART


class Windowed(nn.Module):
    """An attention that is given one window at a time.

    The grid is padded with zeros at the bottom and the right; padded tokens take part. ``by`` is how
    far it is shifted, where ``rule`` (of ``shift_on``) lets it; ``shift_first`` is as in ``cut``.
    """

    def __init__(
        self,
        attention: Attention,
        window: Window,
        by: Window = (0, 0),
        rule: str = "each_axis",
        *,
        shift_first: bool = False,
        native: Layout | None = None,
    ) -> None:
        """How a grid of the ``native`` layout is cut is computed once, others each time."""
        super().__init__()
        self.attention = attention
        self.window = window
        self.by = by
        self.rule = rule
        self.shift_first = shift_first
        self.native = native
        self.order: Tensor
        self.back: Tensor
        self.mask: Tensor | None
        known = self.cut(native) if native is not None else (None, None, None)
        for name, value in zip(Cut._fields, known, strict=True):
            # Not saved: it follows from the sizes alone.
            self.register_buffer(name, value, persistent=False)

    def cut(self, layout: Layout) -> Cut:
        """How a grid of this layout becomes windows."""
        by = shift_on((layout.rows, layout.cols), self.window, self.by, self.rule)
        return cut(layout, self.window, by, shift_first=self.shift_first)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, P, D) -> (B, P, D). There is no prefix."""
        batch, _, width = tokens.shape
        order, back, mask = self._at(layout, tokens)
        rows, cols = whole_windows(layout.rows, layout.cols, self.window)
        # Nothing is kept under a name for longer than it is needed: that would be memory.
        if (rows, cols) != (layout.rows, layout.cols):
            tokens = tokens.view(batch, layout.rows, layout.cols, width)
            tokens = pad(tokens, (0, 0, 0, cols - layout.cols, 0, rows - layout.rows)).flatten(1, 2)
        inside = Layout(0, *self.window)
        # One copy shifts and cuts, and one undoes both; a roll would be two more each.
        tokens = tokens.index_select(1, order).view(-1, inside.tokens, width)  # (B * L, N, D)
        tokens = self.attention(tokens, inside, mask)
        return tokens.view(batch, rows * cols, width).index_select(1, back)  # (B, P, D)

    def _at(self, layout: Layout, tokens: Tensor) -> Cut:
        """How a grid is cut, beside these tokens."""
        found = Cut(self.order, self.back, self.mask) if layout == self.native else self.cut(layout)
        mask = None if found.mask is None else found.mask.to(tokens)
        return Cut(found.order.to(tokens.device), found.back.to(tokens.device), mask)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"window={self.window[0]}x{self.window[1]}, shift={self.by[0]}x{self.by[1]}"
