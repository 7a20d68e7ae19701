"""SegFormer: which class each place of a picture belongs to, from all maps of any backbone.

"SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers" (arXiv:2105.15203),
section 3.2 and eq. 4: a head of linear layers alone. It asks for nothing but maps, so it stands on a Mix
Transformer, on Swin and on the one map of a plain ViT.

Shapes: B pictures; n maps, map i with C_i channels; D the head's width; K classes; h x w cells of the finest
map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from vitreous.backbones.config import SwinConfig
from vitreous.backbones.interface import Backbone
from vitreous.layers.mlp import DropChannels
from vitreous.models.alike import alike
from vitreous.models.model import Model, mean_of_patches
from vitreous.models.segformer_config import SegFormerConfig


class SegmentationLogits(NamedTuple):
    """``logits`` (B, K, h, w): for each cell of the finest map, every fourth pixel of a Mix Transformer's
    pictures, how much speaks for each class."""

    logits: Tensor


class AllMlpHead(nn.Module):
    """Every map is projected to one width and enlarged to the finest map's size; laid side by side, one layer
    fuses them, and one more tells classes.

    The paper enlarges and then fuses n * D channels at every cell of the finest map. Fusing is linear, and so
    is enlarging, whose weights sum to one: they may change places, and two matrices in a row are one. So each
    map is multiplied by its part of the product where it is small, and what is enlarged is added up. The
    answer is the same to rounding, and the product, once a batch, is most often all that fusing costs.
    """

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        widths, width = config.map_widths, config.decoder_width
        self.projections = nn.ModuleList(_projection(channels, width) for channels in widths)
        # Its inputs are the maps, coarse to fine.
        self.fuse = nn.Conv2d(len(widths) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.drop = DropChannels(config.decoder_dropout)
        self.classify = nn.Conv2d(width, config.classes, 1)
        nn.init.kaiming_normal_(self.fuse.weight, nonlinearity="relu")
        nn.init.trunc_normal_(self.classify.weight, std=0.02)
        nn.init.zeros_(self.classify.get_parameter("bias"))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), fine to coarse -> (B, K, h, w) of the finest."""
        return self.classify(self.drop(torch.relu(self.norm(self._fused(maps)))))

    def _fused(self, maps: Sequence[Tensor]) -> Tensor:
        """What comes out of ``fuse``, (B, D, h, w)."""
        whole = self.fuse.weight.flatten(1)  # (D, n * D), coarse to fine
        biases: list[Tensor] = [projection.get_parameter("bias") for projection in self.projections]
        bias = whole @ torch.cat(biases[::-1])  # (D,)
        parts = whole.chunk(len(maps), dim=1)[::-1]  # n of (D, D), fine to coarse
        fused = _multiplied(maps[0], parts[0], self.projections[0], bias)  # (B, D, h, w)
        for grid, part, projection in zip(maps[1:], parts[1:], self.projections[1:], strict=True):
            seen = _multiplied(grid, part, projection)  # (B, D, h_i, w_i)
            fused += interpolate(seen, size=fused.shape[-2:], mode="bilinear", align_corners=False)
        return fused


class SegFormer(Model):
    """A backbone whose maps are all read by one light head."""

    def __init__(self, config: SegFormerConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        # Swin normalises its last map only, and each of its blocks adds to what the next stages see.
        unnormalised = config.map_widths[:-1] if isinstance(config.backbone, SwinConfig) else ()
        self.map_norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for width in unnormalised)
        self.head = AllMlpHead(config)

    def forward(self, images: Tensor, valid: Tensor | None = None) -> SegmentationLogits:
        """images (B, C, H, W) -> logits (B, K, h, w).

        ``valid`` (B, H, W) bool says which pixels are picture and not padding at the bottom and the right.
        Convolutions, and attention that pools its keys, would reach into padding, so pictures of one size go
        together and without theirs; cells beyond a picture's own are zeros. A picture's own cells, and no
        others, are what is to be enlarged to its pixels.
        """
        if valid is None:
            return SegmentationLogits(self.head(self._maps(images)))
        groups, order = alike(valid)
        found = [self.head(self._maps(group.of(images))) for group in groups]
        high, wide = (max(logits.shape[axis] for logits in found) for axis in (-2, -1))
        padded = [pad(logits, (0, wide - logits.shape[-1], 0, high - logits.shape[-2])) for logits in found]
        return SegmentationLogits(torch.cat(padded)[order])

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the backbone's last map."""
        return mean_of_patches(self.backbone(images).maps[-1])

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the backbone's maps (B, C_i, h_i, w_i), all of them normalised."""
        maps = self.backbone(images).maps
        normalised = [
            norm(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for norm, grid in zip(self.map_norms, maps, strict=False)
        ]
        return (*normalised, *maps[len(normalised) :])


def _multiplied(grid: Tensor, part: Tensor, projection: nn.Module, bias: Tensor | None = None) -> Tensor:
    """A map (B, C_i, h_i, w_i) -> projected and fused at once, (B, D, h_i, w_i)."""
    kernel = part @ projection.get_parameter("weight")  # (D, C_i)
    return conv2d(grid, kernel[:, :, None, None], bias)


def _projection(channels: int, width: int) -> nn.Linear:
    projection = nn.Linear(channels, width)
    nn.init.xavier_uniform_(projection.weight)
    nn.init.zeros_(projection.bias)
    return projection
