"""What is added to the scores of attention: a learned number for each head and each offset of two tokens.

Relative position bias: "Swin Transformer" (arXiv:2103.14030), eq. 4; with a class token, "BEiT"
(arXiv:2106.08254). Shapes: T prefix tokens; P = rows * cols patches, N = T + P.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitreous.layers.layout import Layout


def relative_index(rows: int, cols: int) -> Tensor:
    """A grid -> (P, P): which row of a ((2 rows - 1) * (2 cols - 1), heads) table belongs to the offset
    of a query (first axis) from a key (second)."""
    down = torch.arange(rows, device="cpu").repeat_interleave(cols)  # (P,)
    across = torch.arange(cols, device="cpu").repeat(rows)  # (P,)
    offset_down = down[:, None] - down[None] + rows - 1  # (P, P), 0 and up
    offset_across = across[:, None] - across[None] + cols - 1
    return offset_down * (2 * cols - 1) + offset_across


def resize_bias(table: Tensor, origin: Layout, target: Layout, method: str) -> Tensor:
    """A table of offsets on one grid -> the same on another; rows beyond the grid's offsets stay.

    The same grid comes back untouched, bit for bit. ``method`` travels with the weights, because the
    libraries that trained them differ: "bilinear"; "bicubic"; "geometric" (BEiT's own fine-tuning, timm),
    linear between offsets that lie ever farther apart, so that near patches keep their numbers, computed in
    float32; "bilinear_swapped" (transformers where the grid is not square), which takes the table's height
    and width for one another, and does so on the native grid too.
    """
    swapped = method == "bilinear_swapped"
    if swapped:
        origin = Layout(origin.prefix, origin.cols, origin.rows)
    if (origin.rows, origin.cols) == (target.rows, target.cols):
        return table
    offsets = (2 * origin.rows - 1) * (2 * origin.cols - 1)
    grid = table[:offsets].T.reshape(1, -1, 2 * origin.rows - 1, 2 * origin.cols - 1)
    size = (2 * target.rows - 1, 2 * target.cols - 1)
    if method == "geometric":
        resized = _stretch(grid.float(), size).to(table.dtype)
    else:
        kernel = "bilinear" if swapped else method
        resized = interpolate(grid, size=size, mode=kernel, align_corners=False)
    return torch.cat([resized.flatten(2)[0].T, table[offsets:]])


class RelativeBias(nn.Module):
    """One number for each head and each offset of two patches. With prefix tokens three more: from
    a prefix token to a patch, from a patch to one, and between two of them."""

    def __init__(self, heads: int, native: Layout, method: str = "bilinear") -> None:
        super().__init__()
        self.native = native
        self.method = method
        offsets = (2 * native.rows - 1) * (2 * native.cols - 1)
        self.table = nn.Parameter(torch.zeros(offsets + 3 * (native.prefix > 0), heads))

    def forward(self, layout: Layout) -> Tensor:
        """A layout -> (heads, N, N)."""
        table = resize_bias(self.table, self.native, layout, self.method)
        rows, cols, prefix = layout.rows, layout.cols, layout.prefix
        offsets = (2 * rows - 1) * (2 * cols - 1)
        grid = table[:offsets].T.reshape(-1, 2 * rows - 1, 2 * cols - 1)
        # A query at (i, j) reads the part of the grid from (i, j) on, and its keys lie there backwards: the
        # windows of the grid are the bias, and no index of N x N numbers has to be kept.
        seen = grid.unfold(1, rows, 1).unfold(2, cols, 1).flip(3, 4)  # (heads, rows, cols, rows, cols)
        bias = seen.reshape(-1, layout.patches, layout.patches)  # (heads, P, P)
        if prefix == 0:
            return bias
        heads, patches = len(bias), layout.patches
        to_patch, from_patch, between = table[offsets:, :, None, None]  # three of (heads, 1, 1)
        above = torch.cat([between.expand(heads, prefix, prefix), to_patch.expand(heads, prefix, patches)], 2)
        below = torch.cat([from_patch.expand(heads, patches, prefix), bias], 2)
        return torch.cat([above, below], 1)  # (heads, N, N)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"prefix={self.native.prefix}, grid={self.native.rows}x{self.native.cols}"


def _stretch(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, heads, h, w) -> (1, heads, h', w'): linear between the places of ``_places``, constant beyond."""
    above, below, up, down = _neighbours(grid.shape[2], size[0], grid.device)
    left, right, back, ahead = _neighbours(grid.shape[3], size[1], grid.device)
    total = torch.zeros((), device=grid.device)
    # In this order the sums have the bits that timm's have.
    for row, near_row in ((above, down), (below, up)):
        for col, near_col in ((left, ahead), (right, back)):
            corner = grid[:, :, row[:, None], col[None]]  # (1, heads, h', w')
            total = total + corner * (near_row[:, None] * near_col[None])
    return total / ((up + down)[:, None] * (back + ahead)[None])


def _neighbours(old: int, new: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each of ``new`` offsets, centred at 0: the old entries before and after it, and how far they are,
    0 where it lies beyond them."""
    places = torch.tensor(_places(old // 2, new // 2), dtype=torch.float32, device="cpu")
    wanted = torch.arange(new, dtype=torch.float32, device="cpu") - new // 2
    after = torch.bucketize(wanted, places).clamp(max=old - 1)
    before = (after - 1).clamp(min=0)
    since = (wanted - places[before]).clamp(min=0)
    until = (places[after] - wanted).clamp(min=0)
    alone = (since == 0) & (until == 0)
    since[alone] = until[alone] = 1.0
    return before.to(device), after.to(device), since.to(device), until.to(device)


def _places(old: int, new: int) -> list[float]:
    """Where the offsets -old ... old of a table come to lie: steps of 1, q, q^2, ... from 0 outwards, with
    the q between 1.01 and 1.5 that brings the last to ``new``, found by halving."""
    low, high = 1.01, 1.5
    ratio = high
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**old) / (1 - ratio) > new:
            high = ratio
        else:
            low = ratio
    outwards: list[float] = []
    place = 1.0
    for step in range(old):
        outwards.append(place)
        place += ratio ** (step + 1)
    return [-place for place in reversed(outwards)] + [0.0] + outwards
