"""The whole contract between backbones and what is put on them, on one page.

A backbone is called with pictures (B, C, H, W) and hands back ``Features``; ``channels`` and
``strides`` say what the maps will be before any picture is there. It knows no class and no loss;
heads decide how to pool. ``Layout`` says how tokens lie in a sequence.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from vitreous.layers.layout import Layout

__all__ = ["Backbone", "Features", "Layout"]


class Features(NamedTuple):
    """What a backbone saw: prefix (B, T, D) and maps, fine to coarse, each (B, C, h, w)."""

    prefix: Tensor
    maps: tuple[Tensor, ...]


class Backbone(Protocol):
    """Pictures in, features out."""

    channels: tuple[int, ...]  # C of each map
    strides: tuple[int, ...]  # pixels from one cell of each map to the next

    def __call__(self, images: Tensor) -> Features:
        """(B, C, H, W) -> prefix (B, T, D) and a map for each of ``channels``."""
        ...
