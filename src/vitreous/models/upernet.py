"""UPerNet on a plain ViT: which class each place of a picture belongs to.

"Unified Perceptual Parsing for Scene Understanding" (arXiv:1807.10221), section 3.2: pyramid pooling on
the deepest map, then a feature pyramid; the maps of a ViT are brought to four scales as in BEiT
(arXiv:2106.08254), appendix. The auxiliary head is a small fully convolutional network.

Shapes: B pictures; D width; K classes; rows x cols patches.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, max_pool2d

from vitreous.backbones.vit import ViT
from vitreous.models.averaging import averaged
from vitreous.models.config import LEVELS, UPerNetConfig
from vitreous.models.model import Model


class PlaceLogits(NamedTuple):
    """``logits`` (B, K, 4 rows, 4 cols), four cells along a patch's side; ``auxiliary`` (B, K, rows, cols)
    from the third map, which only training looks at, or None."""

    logits: Tensor
    auxiliary: Tensor | None


class NormedConvolution(nn.Module):
    """A convolution that keeps the size of the map, normalised over the batch, then ReLU."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        return torch.relu(self.norm(self.convolution(grid)))


class Scales(nn.Module):
    """Four maps of one size -> maps of 4, 2, 1 and 1/2 times the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fourfold = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.twofold = nn.ConvTranspose2d(width, width, 2, stride=2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Four of (B, D, rows, cols) -> finest first."""
        first, second, third, fourth = maps
        return [self.fourfold(first), self.twofold(second), third, max_pool2d(fourth, 2)]


class PyramidHead(nn.Module):
    """The deepest map sees the whole picture at several scales, and is added to the finer ones in turn."""

    def __init__(self, width: int, classes: int, pool_scales: Sequence[int]) -> None:
        super().__init__()
        self.pool_scales = tuple(pool_scales)
        self.pooled = nn.ModuleList(NormedConvolution(width, width, 1) for _ in pool_scales)
        self.deepest = NormedConvolution((1 + len(pool_scales)) * width, width, 3)
        self.lateral = nn.ModuleList(NormedConvolution(width, width, 1) for _ in range(LEVELS - 1))
        self.smooth = nn.ModuleList(NormedConvolution(width, width, 3) for _ in range(LEVELS - 1))
        self.fuse = NormedConvolution(LEVELS * width, width, 3)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, finest first -> (B, K, h, w) of the finest."""
        levels = [lateral(grid) for lateral, grid in zip(self.lateral, maps, strict=False)]
        levels.append(self._seen_whole(maps[-1]))
        for index in range(LEVELS - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + _resized(levels[index], levels[index - 1])
        smoothed = [smooth(level) for smooth, level in zip(self.smooth, levels, strict=False)]
        finest = smoothed[0]
        fused = torch.cat([_resized(level, finest) for level in (*smoothed, levels[-1])], dim=1)
        return self.classify(self.fuse(fused))  # (B, K, h, w)

    def _seen_whole(self, grid: Tensor) -> Tensor:
        parts = [grid]
        for scale, convolution in zip(self.pool_scales, self.pooled, strict=True):
            parts.append(_resized(convolution(adaptive_avg_pool2d(grid, scale)), grid))
        return self.deepest(torch.cat(parts, dim=1))


class AuxiliaryHead(nn.Module):
    """A few convolutions; with ``join`` their input is laid beside what came out."""

    def __init__(self, config: UPerNetConfig) -> None:
        super().__init__()
        width, out = config.backbone.out_channels, config.auxiliary_width
        sizes = [width, *[out] * config.auxiliary_depth]
        self.convolutions = nn.Sequential(
            *(NormedConvolution(below, above, 3) for below, above in pairwise(sizes))
        )
        self.join = NormedConvolution(width + out, out, 3) if config.auxiliary_join else None
        self.classify = nn.Conv2d(out, config.classes, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, D, rows, cols) -> (B, K, rows, cols)."""
        worked = self.convolutions(grid)
        if self.join is not None:
            worked = self.join(torch.cat([grid, worked], dim=1))
        return self.classify(worked)


class UPerNet(Model):
    """A ViT whose maps after four of its blocks are brought to four scales and read by two heads."""

    def __init__(self, config: UPerNetConfig, backbone: ViT) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        width = config.backbone.out_channels
        self.scales = Scales(width)
        self.head = PyramidHead(width, config.classes, config.pool_scales)
        self.auxiliary = AuxiliaryHead(config) if config.auxiliary_depth else None

    def forward(self, images: Tensor) -> PlaceLogits:
        """(B, C, H, W) -> logits (B, K, 4 rows, 4 cols), and the auxiliary head's."""
        maps = self.scales(self.backbone.maps_after(images, self.config.taps))
        return PlaceLogits(self.head(maps), None if self.auxiliary is None else self.auxiliary(maps[2]))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the patches, and then the backbone's last norm."""
        return averaged(self.backbone, images)


def _resized(grid: Tensor, like: Tensor) -> Tensor:
    if grid.shape[-2:] == like.shape[-2:]:
        return grid
    return interpolate(grid, size=like.shape[-2:], mode="bilinear", align_corners=False)
