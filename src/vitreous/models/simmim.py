"""SimMIM: patches are hidden, and the model rebuilds the picture from the coarsest map with one layer.

"SimMIM: A Simple Framework for Masked Image Modeling" (arXiv:2111.09886), section 3, on Swin.

Shapes: B pictures of C channels and H x W pixels; P patches; D width; s pixels between cells of the last map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from vitreous.backbones.swin import Swin
from vitreous.models.config import SimMIMConfig
from vitreous.models.model import Model, mean_of_patches


class Rebuilt(NamedTuple):
    """The picture (B, C, H, W) as it is rebuilt, what was hidden and what was not."""

    images: Tensor


class SimMIM(Model):
    """A backbone that is shown a mask token in the place of hidden patches, and a linear layer that paints
    s x s pixels from each cell of its last map."""

    def __init__(self, config: SimMIMConfig, backbone: Swin) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.stride = backbone.strides[-1]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.backbone.width))
        self.paint = nn.Conv2d(
            config.backbone.out_channels, self.stride**2 * config.backbone.channels, kernel_size=1
        )
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.paint.weight, std=0.02)
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> Rebuilt:
        """(B, C, H, W), and which patches are hidden, (B, P) bool -> the rebuilt picture; None hides none."""
        height, width = images.shape[-2:]
        patches, layout = self.backbone.embed.project(images)  # (B, P, D)
        if hidden is not None:
            patches = torch.where(hidden[..., None], self.mask_token, patches)
        last = self.backbone.look(self.backbone.embed.place(patches, layout), layout).maps[-1]
        painted = pixel_shuffle(self.paint(last), self.stride)  # (B, C, h * s, w * s)
        return Rebuilt(painted[..., :height, :width])

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the patches, none of them hidden."""
        return mean_of_patches(self.backbone(images).maps[-1])
