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

    ``method`` travels with the weights: "bilinear" (transformers) or "bicubic".
    """
    if (origin.rows, origin.cols) == (target.rows, target.cols):
        return table
    offsets = (2 * origin.rows - 1) * (2 * origin.cols - 1)
    grid = table[:offsets].T.reshape(1, -1, 2 * origin.rows - 1, 2 * origin.cols - 1)
    size = (2 * target.rows - 1, 2 * target.cols - 1)
    resized = interpolate(grid, size=size, mode=method, align_corners=False)
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
        self.index: Tensor
        # Not saved: it follows from the sizes alone.
        self.register_buffer("index", self.index_of(native), persistent=False)

    @staticmethod
    def index_of(layout: Layout) -> Tensor:
        """(N, N): the row of the table for each query and key."""
        patches = relative_index(layout.rows, layout.cols)  # (P, P)
        if layout.prefix == 0:
            return patches
        offsets = (2 * layout.rows - 1) * (2 * layout.cols - 1)
        index = torch.empty(layout.tokens, layout.tokens, dtype=torch.long, device="cpu")
        index[: layout.prefix] = offsets
        index[:, : layout.prefix] = offsets + 1
        index[: layout.prefix, : layout.prefix] = offsets + 2
        index[layout.prefix :, layout.prefix :] = patches
        return index

    def forward(self, layout: Layout) -> Tensor:
        """A layout -> (heads, N, N)."""
        index = self.index
        table: Tensor = self.table
        if (layout.rows, layout.cols) != (self.native.rows, self.native.cols):
            index = self.index_of(layout).to(table.device)
            table = resize_bias(table, self.native, layout, self.method)
        return table[index.flatten()].T.reshape(-1, layout.tokens, layout.tokens)  # (heads, N, N)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"prefix={self.native.prefix}, grid={self.native.rows}x{self.native.cols}"
