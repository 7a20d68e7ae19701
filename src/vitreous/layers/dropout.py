"""Dropout of single numbers, "Dropout" (JMLR 15, 2014), drawn alike however a batch is cut."""

import torch
from torch import Tensor

from vitreous.layers.mlp import DropPath


class Dropout(DropPath):
    """In training each number is zeroed with the given probability. One draw of the CPU's generator seeds
    those of the device, which are made for the whole global batch and cut, as ``DropPath`` does."""

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), some numbers zeroed and the others scaled up to keep the mean."""
        if not self.training or self.probability == 0.0:
            return branch
        start, stop, total = self.rows or (0, branch.shape[0], branch.shape[0])
        seed = int(torch.randint(2**62, (), device="cpu"))
        generator = torch.Generator(branch.device).manual_seed(seed)
        keep = 1.0 - self.probability
        drawn = torch.rand(total, *branch.shape[1:], generator=generator, device=branch.device)
        return branch * ((drawn[start:stop] < keep).to(branch.dtype) / keep)
