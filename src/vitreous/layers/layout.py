"""How the tokens of a sequence lie: some prefix tokens, then the patches of a grid, row by row."""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """T prefix tokens, then P = rows * cols patches. It travels at run time, so that no block bakes in
    a picture size."""

    prefix: int
    rows: int
    cols: int

    @property
    def patches(self) -> int:
        """P, the number of patches."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """N = T + P, the length of the sequence."""
        return self.prefix + self.patches

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T+P, D) -> prefix (B, T, D) and map (B, D, rows, cols)."""
        prefix, patches = tokens[:, : self.prefix], tokens[:, self.prefix :]
        # Not a reshape, which leaves strides for a single picture that convolutions do not know as channels
        # last: a depthwise one is then several times slower.
        cells = torch.unflatten(patches, 1, (self.rows, self.cols))  # (B, rows, cols, D)
        return prefix, cells.permute(0, 3, 1, 2)  # (B, D, rows, cols)

    def join(self, prefix: Tensor, grid: Tensor) -> Tensor:
        """Prefix (B, T, D) and map (B, D, rows, cols) -> (B, T+P, D); the inverse of ``split``."""
        return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)  # (B, T+P, D)
