"""A residual network with a map of each stage, "Deep Residual Learning" (arXiv:1512.03385). The blocks are
torchvision's own.

Shapes: B pictures of C channels and H x W pixels; D channels of a stage.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.backbones.interface import Features

Norm = Callable[[int], nn.Module]


class ConvNetBackbone(nn.Module):
    """A map of each stage, fine to coarse; there is no prefix."""

    def __init__(self, config: ConvNetBackboneConfig) -> None:
        super().__init__()
        self.channels: tuple[int, ...] = config.widths
        self.strides: tuple[int, ...] = config.strides
        norm: Norm = FrozenBatchNorm2d if config.norm == "frozen" else nn.BatchNorm2d
        self.stem = nn.Conv2d(config.channels, config.stem_width, 7, 2, 3, bias=False)
        self.stem_norm = norm(config.stem_width)
        self.stages = nn.ModuleList()
        width = config.stem_width
        for index, out in enumerate(config.widths):
            self.stages.append(_stage(config, index, width, norm))
            width = out
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Features:
        """(B, C, H, W) -> prefix (B, 0, D) and a map of each stage."""
        grid = self.stem_norm(self.stem(images)).relu()
        grid = nn.functional.max_pool2d(grid, 3, 2, 1)
        maps = []
        for stage in self.stages:
            grid = stage(grid)  # (B, D, rows, cols)
            maps.append(grid)
        return Features(prefix=grid.new_zeros(len(grid), 0, grid.shape[1]), maps=tuple(maps))


def _stage(config: ConvNetBackboneConfig, index: int, width: int, norm: Norm) -> nn.Sequential:
    """The blocks of one stage; where the input has another size, it is projected ahead of being added."""
    out = config.widths[index]
    wide = config.dilated and index == len(config.widths) - 1
    stride = 2 if index and not wide else 1
    blocks: list[nn.Module] = []
    for number in range(config.depths[index]):
        first = number == 0
        step = stride if first else 1
        projection = None
        if first and (stride > 1 or width != out):
            projection = nn.Sequential(nn.Conv2d(width, out, 1, step, bias=False), norm(out))
        given = width if first else out
        if config.bottleneck:
            dilation = 2 if wide and not first else 1
            blocks.append(Bottleneck(given, out // 4, step, projection, dilation=dilation, norm_layer=norm))
        else:
            blocks.append(BasicBlock(given, out, step, projection, norm_layer=norm))
    return nn.Sequential(*blocks)
