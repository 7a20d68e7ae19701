"""Which patches of a training picture are hidden. Each draws from torch's global generator; whoever calls
one does so inside ``draws.drawing``, so that a mask is a function of (seed, epoch, picture).

Shapes: P = rows * cols patches.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Masks = Callable[[], Tensor]  # draws one picture's mask: (P,), numbers or bool


@dataclass(frozen=True)
class RandomOrder:
    """A random number for each patch, (P,) from 0 to 1: the patches with the smallest stay visible."""

    patches: int

    def __call__(self) -> Tensor:
        """() -> (P,) float32."""
        return torch.rand(self.patches)
