"""Where a patch was: tables of position embeddings, and how a table is carried to another grid.

Learned and 1-D: arXiv:2010.11929, eq. 1 and appendix D.4. Sines and cosines: arXiv:1706.03762,
section 3.5; in two dimensions as in "An Empirical Study of Training Self-Supervised Vision
Transformers" (arXiv:2104.02057). A table is (1, T+P, D): T prefix rows, then the grid row by row.

Fixed tables are always computed on the CPU, so that they are real even while a model is laid out
without memory (the "meta" device) to have its weights read in.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitreous.layers.layout import Layout


def sincos_1d(positions: Tensor, width: int) -> Tensor:
    """Positions (N,) -> (N, D): sin at even channels, cos at odd ones, wavelengths 2 pi to 20,000 pi.

    ``width`` must be even.
    """
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)  # (D / 2,)
    angles = positions.to(torch.float64)[:, None] * rates  # (N, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(torch.float32)


def sincos_2d(rows: int, cols: int, width: int) -> Tensor:
    """A grid -> (rows * cols, D): half of the channels tell the column, half the row, each as sines
    and then cosines. ``width`` must be a multiple of 4."""
    rates = 10000.0 ** (
        -torch.arange(width // 4, dtype=torch.float64, device="cpu") / (width // 4)
    )  # (D / 4,)
    across = torch.arange(cols, dtype=torch.float64, device="cpu")[:, None] * rates  # (cols, D / 4)
    down = torch.arange(rows, dtype=torch.float64, device="cpu")[:, None] * rates  # (rows, D / 4)
    across = across[None].expand(rows, -1, -1).flatten(0, 1)  # (P, D / 4)
    down = down[:, None].expand(-1, cols, -1).flatten(0, 1)  # (P, D / 4)
    parts = [across.sin(), across.cos(), down.sin(), down.cos()]
    return torch.cat(parts, dim=1).to(torch.float32)  # (P, D)


def resize_positions(table: Tensor, origin: Layout, target: Layout, method: str) -> Tensor:
    """(1, T+P, D) -> (1, T+P', D): the grid is resized bicubically, the prefix rows stay as they are.

    The same grid comes back untouched, bit for bit. ``method`` travels with the weights, because the
    libraries that trained them differ: "antialias" (timm; resampled in float32 there), "plain"
    (transformers), "float32" (DINOv2 in transformers: plain, in this type whatever the table's), "corners"
    (torchvision; the corner patches stay corners), "offset" (DINOv2's own code, in float32: a tenth of a
    patch is added to the wanted grid, and the scale follows from that),
    "sequence" (the decoder of transformers' ViTMAE: the patches as one line, row after row, stretched).
    """
    if (origin.rows, origin.cols) == (target.rows, target.cols):
        return table
    prefix, grid = origin.split(table)  # (1, T, D), (1, D, rows, cols)
    if method == "offset":
        scale = ((target.rows + 0.1) / origin.rows, (target.cols + 0.1) / origin.cols)
        resized = interpolate(grid.float(), scale_factor=scale, mode="bicubic", align_corners=False)
    elif method == "sequence":
        line = grid.flatten(2)[:, :, None]  # (1, D, 1, P)
        resized = interpolate(line, size=(1, target.patches), mode="bicubic", align_corners=False)
        resized = resized.reshape(1, -1, target.rows, target.cols)  # (1, D, rows, cols)
    else:
        resized = interpolate(
            grid.float() if method in ("antialias", "float32") else grid,
            size=(target.rows, target.cols),
            mode="bicubic",
            antialias=method == "antialias",
            align_corners=method == "corners",
        )
    return target.join(prefix, resized.to(table.dtype))


class Positions(nn.Module):
    """A table of positions for a grid of ``rows`` x ``cols``, handed out for any other grid too."""

    def __init__(self, width: int, layout: Layout, method: str) -> None:
        super().__init__()
        self.width = width
        self.native = layout
        self.method = method

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"prefix={self.native.prefix}, grid={self.native.rows}x{self.native.cols}"


class LearnedPositions(Positions):
    """One learned vector for each prefix token and each patch of the native grid."""

    def __init__(self, width: int, layout: Layout, method: str) -> None:
        super().__init__(width, layout, method)
        self.table = nn.Parameter(torch.empty(1, layout.tokens, width))

    def forward(self, layout: Layout) -> Tensor:
        """A layout -> (1, T+P, D)."""
        return resize_positions(self.table, self.native, layout, self.method)


class SineCosinePositions(Positions):
    """Fixed waves, computed for the grid that is asked for, so nothing is ever resampled. Prefix rows
    are zero: a token that is nowhere in the picture has no place."""

    def __init__(self, width: int, layout: Layout, axes: int) -> None:
        super().__init__(width, layout, "exact")
        self.axes = axes
        self.table: Tensor
        # Not a parameter and not saved: it follows from the sizes alone.
        self.register_buffer("table", self.compute(layout), persistent=False)

    def compute(self, layout: Layout) -> Tensor:
        """A layout -> (1, T+P, D)."""
        if self.axes == 1:
            waves = sincos_1d(torch.arange(layout.patches, device="cpu"), self.width)  # (P, D)
        else:
            waves = sincos_2d(layout.rows, layout.cols, self.width)  # (P, D)
        prefix = torch.zeros(layout.prefix, self.width, device="cpu")
        return torch.cat([prefix, waves])[None]  # (1, T+P, D)

    def forward(self, layout: Layout) -> Tensor:
        """A layout -> (1, T+P, D)."""
        if (layout.rows, layout.cols) == (self.native.rows, self.native.cols):
            return self.table
        return self.compute(layout).to(self.table)


class NoPositions(Positions):
    """The encoder is told nothing: it sees a bag of patches."""

    def forward(self, layout: Layout) -> Tensor:
        """A layout -> (1, T+P, D) of zeros, broadcast from one."""
        return torch.zeros(1, 1, 1).expand(1, layout.tokens, self.width)


def build_positions(kind: str, width: int, layout: Layout, method: str) -> Positions:
    """The part that a configuration names: learned, sincos1d, sincos2d or none."""
    if kind == "learned":
        return LearnedPositions(width, layout, method)
    if kind == "none":
        return NoPositions(width, layout, method)
    return SineCosinePositions(width, layout, axes=1 if kind == "sincos1d" else 2)
