"""BEiT's pretraining: patches are hidden, and the model says which visual token each of them had.

"BEiT: BERT Pre-Training of Image Transformers" (arXiv:2106.08254), section 2.3. The classifier that is
tuned from it is a plain ``Classifier`` on the same backbone (relative attention, LayerScale).

Shapes: B pictures; P patches; D width; K visual tokens, which are the classes of a patch.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.backbones.vit import ViT
from vitreous.layers.patches import blank
from vitreous.models.averaging import averaged
from vitreous.models.config import MaskedTokensConfig
from vitreous.models.model import Model


class VisualTokenLogits(NamedTuple):
    """For every patch, hidden or not, the logits (B, P, K) of its visual token."""

    logits: Tensor


class MaskedTokens(Model):
    """A backbone that is shown a mask token in the place of hidden patches, and a linear head."""

    def __init__(self, config: MaskedTokensConfig, backbone: ViT) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        width = config.backbone.out_channels
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        eps = config.backbone.encoder.norm_eps
        self.head_norm = nn.LayerNorm(width, eps=eps) if config.head_norm else nn.Identity()
        self.head = nn.Linear(width, config.visual_tokens)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> VisualTokenLogits:
        """(B, C, H, W), and which patches are hidden, (B, P) bool -> logits (B, P, K); None hides none."""
        embed = self.backbone.embed
        layout = embed.layout(images)
        if hidden is not None and self.config.backbone.stem == "conv":
            # Its convolutions overlap: a visible patch must not be told of its hidden neighbours.
            images = blank(images, hidden, self.config.backbone.patch)
        patches = embed.patches(images)  # (B, P, D)
        if hidden is not None:
            patches = torch.where(hidden[..., None], self.mask_token, patches)
        tokens = self.backbone.encode(embed.place(patches, layout), layout)  # (B, T+P, D)
        return VisualTokenLogits(self.head(self.head_norm(tokens[:, layout.prefix :])))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the patches, none of them hidden, and then the norm."""
        return averaged(self.backbone, images)
