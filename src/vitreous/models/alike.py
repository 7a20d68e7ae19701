"""Pictures of several sizes in one batch, each answered as it would be alone.

Convolutions, windows and positions see padding too. So pictures of one size go through a model together and
without their padding, which would only be computed in vain.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Alike(NamedTuple):
    """Pictures of one size: which ``rows`` of a batch they are (b,), and ``height`` and ``width`` in
    pixels."""

    rows: Tensor
    height: int
    width: int

    def of(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (b, C, height, width): these pictures without their padding."""
        return images[self.rows, :, : self.height, : self.width]


def alike(valid: Tensor) -> tuple[tuple[Alike, ...], Tensor]:
    """(B, H, W) bool, True where a pixel is picture and not padding, which stands at the right and at the
    bottom -> the pictures by size, and the order (B,) in which what is found of them, laid one after
    another, is that of the batch."""
    sizes = torch.stack([valid.any(2).sum(1), valid.any(1).sum(1)], dim=1)  # (B, 2)
    kinds, kind = torch.unique(sizes, dim=0, return_inverse=True)
    found = tuple(
        Alike(torch.nonzero(kind == number)[:, 0], height, width)
        for number, (height, width) in enumerate(kinds.tolist())
    )
    return found, torch.cat([part.rows for part in found]).argsort()
