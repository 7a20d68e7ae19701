"""What convolutional networks are made of, as plain values: one literal table, without torch.

ResNet "Deep Residual Learning" (arXiv:1512.03385, table 1; the stride stands in the 3 x 3 convolution, as
in torchvision), EfficientNet (arXiv:1905.11946, table 1, and the factors of its code), RegNetY "Designing
Network Design Spaces" (arXiv:2003.13678, appendix). Every convolution is followed by a batch norm.
"""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Literal, NamedTuple, get_args

from vitreous.models.config import ConvNetName

Kind = Literal["resnet", "efficientnet", "regnet"]

# What torchvision calls the last linear layer.
HEADS: Mapping[Kind, str] = {"resnet": "fc", "efficientnet": "classifier.1", "regnet": "fc"}
ARCHITECTURES: tuple[ConvNetName, ...] = get_args(ConvNetName)


class Conv(NamedTuple):
    """A convolution that pads so that only its stride makes the map smaller."""

    channels: int
    out: int
    kernel: int
    stride: int = 1
    groups: int = 1


class Block(NamedTuple):
    """Convolutions one after another; ``squeezed`` are the hidden channels of the squeeze-and-excitation
    ahead of the last one (0: none), ``shortcut`` what the block's input goes through before it is added."""

    convolutions: tuple[Conv, ...]
    squeezed: int = 0
    shortcut: Conv | None = None

    @property
    def residual(self) -> bool:
        """Whether the input is added to the output as it is."""
        plain = all(conv.stride == 1 for conv in self.convolutions)
        return plain and self.convolutions[0].channels == self.convolutions[-1].out and not self.shortcut


class Network(NamedTuple):
    """A stem, stages of blocks, a ``last`` convolution (EfficientNet's), the mean, and a linear head.
    ``pooled`` networks halve the map once more behind the stem."""

    kind: Kind
    stem: Conv
    pooled: bool
    stages: tuple[tuple[Block, ...], ...]
    last: Conv | None = None

    @property
    def width(self) -> int:
        """How many numbers the head is given."""
        return self.last.out if self.last else self.stages[-1][-1].convolutions[-1].out

    @property
    def depths(self) -> tuple[int, ...]:
        """The blocks of each stage."""
        return tuple(len(stage) for stage in self.stages)


class _RegNet(NamedTuple):
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group: int  # channels of one group of a 3 x 3 convolution


RESNETS: Mapping[str, tuple[bool, tuple[int, ...]]] = {  # whether blocks are bottlenecks, blocks by stage
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
EFFICIENTNETS: Mapping[str, tuple[float, float]] = {  # how many times wider and deeper than B0
    "efficientnet_b0": (1.0, 1.0),
    "efficientnet_b1": (1.0, 1.1),
    "efficientnet_b2": (1.1, 1.2),
    "efficientnet_b3": (1.2, 1.4),
    "efficientnet_b4": (1.4, 1.8),
    "efficientnet_b5": (1.6, 2.2),
    "efficientnet_b6": (1.8, 2.6),
    "efficientnet_b7": (2.0, 3.1),
}
B0 = (  # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
REGNETS: Mapping[str, _RegNet] = {
    "regnet_y_400mf": _RegNet((1, 3, 6, 6), (48, 104, 208, 440), 8),
    "regnet_y_800mf": _RegNet((1, 3, 8, 2), (64, 144, 320, 784), 16),
    "regnet_y_1_6gf": _RegNet((2, 6, 17, 2), (48, 120, 336, 888), 24),
    "regnet_y_3_2gf": _RegNet((2, 5, 13, 1), (72, 216, 576, 1512), 24),
    "regnet_y_8gf": _RegNet((2, 4, 10, 1), (224, 448, 896, 2016), 56),
    "regnet_y_16gf": _RegNet((2, 4, 11, 1), (224, 448, 1232, 3024), 112),
    "regnet_y_32gf": _RegNet((2, 5, 12, 1), (232, 696, 1392, 3712), 232),
    "regnet_y_128gf": _RegNet((2, 7, 17, 1), (528, 1056, 2904, 7392), 264),
}


def network(architecture: ConvNetName) -> Network:
    """The parts of a network."""
    if architecture in RESNETS:
        return _resnet(*RESNETS[architecture])
    if architecture in EFFICIENTNETS:
        return _efficientnet(*EFFICIENTNETS[architecture])
    return _regnet(REGNETS[architecture])


def _resnet(bottleneck: bool, depths: tuple[int, ...]) -> Network:
    def blocks(number: int, depth: int, channels: int) -> Iterator[Block]:
        inner = 64 * 2**number
        out = inner * (4 if bottleneck else 1)
        for index in range(depth):
            stride = 2 if number and not index else 1
            changed = stride > 1 or channels != out
            yield Block(
                (Conv(channels, inner, 1), Conv(inner, inner, 3, stride), Conv(inner, out, 1))
                if bottleneck
                else (Conv(channels, out, 3, stride), Conv(out, out, 3)),
                shortcut=Conv(channels, out, 1, stride) if changed else None,
            )
            channels = out

    stages: list[tuple[Block, ...]] = []
    channels = 64
    for number, depth in enumerate(depths):
        stages.append(tuple(blocks(number, depth, channels)))
        channels = stages[-1][-1].convolutions[-1].out
    return Network("resnet", Conv(3, 64, 7, 2), True, tuple(stages))


def _efficientnet(wider: float, deeper: float) -> Network:
    def block(channels: int, out: int, expansion: int, kernel: int, stride: int) -> Block:
        inner = channels * expansion
        expand = () if expansion == 1 else (Conv(channels, inner, 1),)
        by_channel = Conv(inner, inner, kernel, stride, groups=inner)
        return Block((*expand, by_channel, Conv(inner, out, 1)), squeezed=max(1, channels // 4))

    first = channels = _whole(32 * wider)
    stages = []
    for expansion, kernel, stride, out, depth in B0:
        wide, blocks = _whole(out * wider), []
        for index in range(ceil(depth * deeper)):
            blocks.append(block(channels, wide, expansion, kernel, 1 if index else stride))
            channels = wide
        stages.append(tuple(blocks))
    return Network(
        "efficientnet", Conv(3, first, 3, 2), False, tuple(stages), Conv(channels, 4 * channels, 1)
    )


def _regnet(sizes: _RegNet) -> Network:
    channels, stages = 32, []
    for depth, width in zip(sizes.depths, sizes.widths, strict=True):
        blocks = []
        for index in range(depth):
            stride = 1 if index else 2
            changed = stride > 1 or channels != width
            grouped = Conv(width, width, 3, stride, groups=width // sizes.group)
            blocks.append(
                Block(
                    (Conv(channels, width, 1), grouped, Conv(width, width, 1)),
                    squeezed=round(channels / 4),
                    shortcut=Conv(channels, width, 1, stride) if changed else None,
                )
            )
            channels = width
        stages.append(tuple(blocks))
    return Network("regnet", Conv(3, 32, 3, 2), False, tuple(stages))


def _whole(channels: float) -> int:
    """To the nearest multiple of 8, but never a tenth less."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
