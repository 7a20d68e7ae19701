"""A backbone, a pooled vector, a head: arXiv:2010.11929, eq. 4 and section 3.1.

Shapes: B pictures; T prefix tokens; D width; K classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.backbones.config import ViTConfig
from vitreous.backbones.interface import Backbone, Features
from vitreous.models.config import ClassifierConfig
from vitreous.models.model import Model, mean_of_patches


class Logits(NamedTuple):
    """What a classifier says: logits (B, K), or the pooled features (B, D) where it has no head."""

    logits: Tensor


class MlpHead(nn.Module):
    """The head that the paper pretrains with: one hidden layer and tanh."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        return self.output(torch.tanh(self.hidden(pooled)))


class Classifier(Model):
    """Says of a whole picture which of K classes it shows."""

    def __init__(self, config: ClassifierConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        below = config.backbone
        eps = below.encoder.norm_eps if isinstance(below, ViTConfig) else below.norm_eps
        self.pool_norm = nn.LayerNorm(config.pooled, eps=eps) if config.pool_norm else nn.Identity()
        self.head = build_head(config.head, config.pooled, config.classes)

    def pooled(self, features: Features) -> Tensor:
        """Features -> (B, D): the class token, the mean of all patches, or both, (B, 2 D)."""
        if self.config.pool == "class":
            return features.prefix[:, 0]
        mean = mean_of_patches(features.maps[-1])
        return mean if self.config.pool == "mean" else torch.cat([features.prefix[:, 0], mean], dim=1)

    def forward(self, images: Tensor) -> Logits:
        """(B, C, H, W) -> logits (B, K)."""
        return Logits(self.head(self.features(images)))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): pooled, and normalised where ``pool_norm`` says so."""
        return self.pool_norm(self.pooled(self.backbone(images)))


def build_head(kind: str, width: int, classes: int) -> nn.Module:
    """A new head with small random weights; the identity for 0 classes."""
    if classes == 0:
        return nn.Identity()
    head: nn.Module = MlpHead(width, classes) if kind == "mlp" else nn.Linear(width, classes)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    return head
