"""DeiT: a class token that learns from labels, and a distillation token that learns from a teacher.

"Training data-efficient image transformers & distillation through attention" (arXiv:2012.12877),
section 4. Shapes: B pictures; D width; K classes.
"""

from typing import NamedTuple

from torch import Tensor

from vitreous.backbones.interface import Backbone
from vitreous.models.classifier import build_head
from vitreous.models.config import DeiTConfig
from vitreous.models.model import Model


class DistilledLogits(NamedTuple):
    """What both heads say, each (B, K), and ``logits``, their mean, which is the answer. Without heads they
    are the two tokens and their mean, (B, D)."""

    logits: Tensor
    class_logits: Tensor
    distillation_logits: Tensor


class DeiT(Model):
    """A classifier with a head on the class token and another on the distillation token."""

    def __init__(self, config: DeiTConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.head = build_head("linear", config.backbone.out_channels, config.classes)
        self.distillation_head = build_head("linear", config.backbone.out_channels, config.classes)

    def forward(self, images: Tensor) -> DistilledLogits:
        """(B, C, H, W) -> the answer and what each head says, (B, K) each."""
        tokens = self.backbone(images).prefix  # (B, T, D)
        own, distilled = self.head(tokens[:, 0]), self.distillation_head(tokens[:, 1])
        return DistilledLogits((own + distilled) / 2, own, distilled)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D): the mean of the class and the distillation token."""
        return self.backbone(images).prefix[:, :2].mean(1)
