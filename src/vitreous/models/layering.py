"""How deep in its model a parameter lies, told from its name alone; no torch here.

Layer 0 makes tokens of patches, the layers 1 to L are the blocks, and L + 1 is what stands on them: the last
norm and the head. So BEiT counts (arXiv:2106.08254, appendix on fine-tuning), and SimMIM for Swin, where the
merging of neighbours belongs to the block before it; a Mix Transformer's patches of a map do as well, and the
norm of a stage to its last block. Of a convolutional network the stem is layer 0, and each
of its stages a layer.
"""

import re
from itertools import accumulate

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.models.config import (
    ConvNetConfig,
    DeiTConfig,
    DetrConfig,
    DVAEConfig,
    ModelConfig,
    YolosConfig,
)
from vitreous.models.convnet_stages import HEADS, network

_BLOCK = re.compile(r"backbone\.encoder\.blocks\.(\d+)\.")
_STAGE = re.compile(r"backbone\.stages\.(\d+)\.(?:(?:encoder\.)?blocks\.(\d+)\.|(norm)\.)?")
_RESIDUALS = re.compile(r"backbone\.stages\.(\d+)\.")  # of a ConvNetBackbone
_CONVOLUTIONS = re.compile(r"network\.(?:layer|trunk_output\.block|features\.)(\d+)\.")
_GROUP = re.compile(r"encoder\.groups\.(\d+)\.")  # of a dVAE, whose decoder stands on its encoder
_FIRST = (
    "backbone.embed.", "backbone.stem", "mask_token", "network.conv1.", "network.bn1.", "network.stem.",
    "encoder.input.",
)  # fmt: skip


def top_layer(config: ModelConfig) -> int:
    """L + 1, the number of the layer that stands on the blocks."""
    if isinstance(config, ConvNetConfig):
        return len(network(config.architecture).stages) + 1
    if isinstance(config, DVAEConfig):
        return config.groups + 1
    return config.backbone.depth + 1


def layer_of(name: str, config: ModelConfig) -> int:
    """Which layer, from 0 to ``top_layer``, the parameter of this name belongs to."""
    if name.startswith(_FIRST):
        return 0
    if isinstance(config, ConvNetConfig):
        found = _CONVOLUTIONS.match(name)
        # EfficientNet counts its last convolution, too, which stands on the stages.
        return int(found[1]) if found else top_layer(config)
    if isinstance(config, DVAEConfig):
        group = _GROUP.match(name)
        return int(group[1]) + 1 if group else top_layer(config)
    if isinstance(config.backbone, ConvNetBackboneConfig):
        residual = _RESIDUALS.match(name)
        return int(residual[1]) + 1 if residual else top_layer(config)
    if isinstance(config.backbone, SwinConfig | MiTConfig):
        stage = _STAGE.match(name)
        if stage is None:
            return top_layer(config)
        before = (0, *accumulate(config.backbone.depths))[int(stage[1])]
        if stage[2] is not None:
            return before + int(stage[2]) + 1
        if stage[3] is None:
            return before
        last = int(stage[1]) + 1 == len(config.backbone.depths)
        return top_layer(config) if last else before + config.backbone.depths[int(stage[1])]
    block = _BLOCK.match(name)
    return int(block[1]) + 1 if block else top_layer(config)


def heads_of(config: ModelConfig) -> tuple[str, ...]:
    """The modules of a classifier that tell classes apart, which are new where the classes are."""
    if isinstance(config, ConvNetConfig):
        return (f"network.{HEADS[network(config.architecture).kind]}",)
    if isinstance(config, DetrConfig):
        return ("classify",)
    if isinstance(config, YolosConfig):
        return ("classify.layers.2",)
    return ("head", "distillation_head") if isinstance(config, DeiTConfig) else ("head",)
