"""Convolutional networks behind the same interface: rivals, teachers (DeiT's is RegNetY-16GF) and baselines.

The modules are torchvision's own, built without weights: "Deep Residual Learning for Image Recognition"
(arXiv:1512.03385), "EfficientNet" (arXiv:1905.11946), "Designing Network Design Spaces" (arXiv:2003.13678).

Shapes: B pictures of H x W pixels; K classes; D the width ahead of the head.
"""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.regnet import BlockParams, RegNet

from vitreous.models.classifier import Logits
from vitreous.models.config import ConvNetConfig, ConvNetName
from vitreous.models.convnet_stages import HEADS, REGNETS, network
from vitreous.models.model import Model

STRIDE = 32  # of the last map, in every one of them


class Head(NamedTuple):
    """The last linear layer: its name in a ``ConvNet``, and how many numbers it is given."""

    name: str
    width: int


def head_of(architecture: ConvNetName) -> Head:
    """Which layer tells the classes apart."""
    parts = network(architecture)
    return Head(f"network.{HEADS[parts.kind]}", parts.width)


class ConvNet(Model):
    """A classifier that looks at neighbourhoods, layer by layer."""

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        self.config = config
        self.network = _built(config.architecture, max(1, config.classes))
        if config.classes == 0:
            self.set_submodule(head_of(config.architecture).name, nn.Identity())

    def forward(self, images: Tensor) -> Logits:
        """(B, 3, H, W) -> logits (B, K), or the pooled features (B, D) without a head."""
        alone = self.training and len(images) == 1 and max(images.shape[-2:]) <= STRIDE
        if not alone:
            return Logits(self.network(images))
        # The last map is one number a channel, which has no variance: the running statistics stand in.
        modes = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        try:
            return Logits(self.network(images))
        finally:
            for module, training in modes:  # a part that somebody froze stays frozen
                module.training = training

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): what the head is given."""
        given: list[Tensor] = []
        head = self.get_submodule(head_of(self.config.architecture).name)
        handle = head.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
        try:
            self.forward(images)
        finally:
            handle.remove()
        return given[0]


def _built(architecture: ConvNetName, classes: int) -> nn.Module:
    if architecture in REGNETS:
        # torchvision computes the sizes of a named RegNet with tensors, which cannot be laid out without
        # memory; the same sizes stand in the table.
        sizes = REGNETS[architecture]
        stages = len(sizes.depths)
        params = BlockParams(
            depths=list(sizes.depths),
            widths=list(sizes.widths),
            group_widths=[sizes.group] * stages,
            bottleneck_multipliers=[1.0] * stages,
            strides=[2] * stages,
            se_ratio=0.25,
        )
        norm = partial(nn.BatchNorm2d, eps=1e-5, momentum=0.1)
        return RegNet(params, num_classes=classes, norm_layer=norm)
    return get_model(architecture, weights=None, num_classes=classes)
