"""What every model is: a module that keeps its own configuration and answers with one NamedTuple."""

from typing import Any

from torch import Tensor, nn


class Model(nn.Module):
    """A backbone and what is put on it. ``config`` is one of ``vitreous.models.config.ModelConfig``, from
    which the same model can be built again."""

    config: Any

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): one vector for each picture, what a head that tells classes apart is given,
        or would be. What was pretrained without classes gives the mean of its patches."""
        raise NotImplementedError


def mean_of_patches(grid: Tensor) -> Tensor:
    """A map (B, D, rows, cols) -> (B, D)."""
    return grid.flatten(2).mean(2)
