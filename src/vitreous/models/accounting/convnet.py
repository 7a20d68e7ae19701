"""Convolutional networks, counted from their table of parts: nothing is built.

Memory is per picture, float32; a kernel may copy the weights of one layer beside it. Training keeps what
torch's own rules keep: a batch norm its input, ReLU its result, which the next convolution keeps as
well, SiLU its input and its result.
"""

from collections.abc import Iterator
from typing import NamedTuple

from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.models.accounting.plain import FLOAT_BYTES, Account
from vitreous.models.config import ConvNetConfig
from vitreous.models.convnet_stages import Block, Conv, Network, network


class _Map(NamedTuple):
    """A map of ``channels`` on a grid of (rows, cols)."""

    channels: int
    rows: int
    cols: int

    @property
    def floats(self) -> int:
        return self.channels * self.rows * self.cols

    def after(self, conv: Conv) -> "_Map":
        """What a convolution makes of it."""
        return _Map(conv.out, -(-self.rows // conv.stride), -(-self.cols // conv.stride))


class _Counts(NamedTuple):
    parameters: int = 0
    macs: int = 0
    kept: int = 0  # floats that the backward pass needs
    most: int = 0  # floats that live at one time without gradients

    def with_(self, other: "_Counts") -> "_Counts":
        """Both, one after the other."""
        return _Counts(
            parameters=self.parameters + other.parameters,
            macs=self.macs + other.macs,
            kept=self.kept + other.kept,
            most=max(self.most, other.most),
        )


def account_convnet(config: ConvNetConfig, image_size: tuple[int, int]) -> Account:
    """Count a network at a picture size (height, width) in pixels. It has no tokens, patches or attention."""
    parts, classes = network(config.architecture), config.classes
    counts = _Counts(
        parameters=(parts.width + 1) * classes,
        macs=parts.width * classes,
        kept=parts.width + 3 * image_size[0] * image_size[1],  # the head's input, and the picture
    )
    return _account(parts, counts, image_size)


def account_residual(backbone: ConvNetBackboneConfig, image_size: tuple[int, int]) -> Account:
    """Count a residual network without a head."""
    parts = _residual(backbone)
    counts = _Counts(kept=backbone.channels * image_size[0] * image_size[1])
    if backbone.norm == "frozen":  # what it scales and shifts by does not learn
        shifted = [conv for stage in parts.stages for block in stage for conv in block.convolutions]
        shifted += [block.shortcut for stage in parts.stages for block in stage if block.shortcut]
        counts = counts._replace(parameters=-2 * sum(conv.out for conv in (parts.stem, *shifted)))
    return _account(parts, counts, image_size)


def _residual(backbone: ConvNetBackboneConfig) -> Network:
    """The parts of a residual network; a dilated stage costs what one of stride 1 does."""
    channels, before, stages = backbone.stem_width, 4, []
    for width, depth, stride in zip(backbone.widths, backbone.depths, backbone.strides, strict=True):
        blocks = []
        for index in range(depth):
            step = 1 if index else stride // before
            inner = width // 4
            convolutions = (
                (Conv(channels, inner, 1), Conv(inner, inner, 3, step), Conv(inner, width, 1))
                if backbone.bottleneck
                else (Conv(channels, width, 3, step), Conv(width, width, 3))
            )
            changed = step > 1 or channels != width
            blocks.append(Block(convolutions, shortcut=Conv(channels, width, 1, step) if changed else None))
            channels = width
        stages.append(tuple(blocks))
        before = stride
    return Network("resnet", Conv(backbone.channels, backbone.stem_width, 7, 2), True, tuple(stages))


def _account(parts: Network, counts: _Counts, image_size: tuple[int, int]) -> Account:
    """What stands on a network, and the network itself."""
    for counted in _walk(parts, image_size):
        counts = counts.with_(counted)
    return Account(
        parameters=counts.parameters,
        tokens=0,
        patches=0,
        macs=counts.macs,
        attention_macs=0,
        forward_bytes=FLOAT_BYTES * counts.most,
        training_bytes=FLOAT_BYTES * counts.kept,
    )


def _walk(parts: Network, image_size: tuple[int, int]) -> Iterator[_Counts]:
    """The counts of the stem, of every block, and of the last convolution."""
    silu = parts.kind == "efficientnet"
    picture = _Map(parts.stem.channels, *image_size)
    grid = picture.after(parts.stem)
    yield _convolved(parts.stem, grid, silu=silu)._replace(most=2 * grid.floats)
    stem = grid
    if parts.pooled:
        grid = _Map(grid.channels, -(-grid.rows // 2), -(-grid.cols // 2))
        # Beside the pooled map its choices are kept, whole numbers of 8 bytes.
        yield _Counts(kept=3 * grid.floats, most=stem.floats + 3 * grid.floats)
    for stage in parts.stages:
        # Whoever called still holds what a stage was given, and RegNet's trunk what the stem gave.
        outer = grid.floats + (stem.floats if parts.kind == "regnet" and stage is not parts.stages[0] else 0)
        for block in stage:
            counted, after = _block(block, grid, parts.kind)
            yield counted._replace(most=outer + counted.most + (grid.floats if block is not stage[0] else 0))
            grid = after
    if parts.last:
        after = grid.after(parts.last)
        yield _convolved(parts.last, after, silu=silu)._replace(most=grid.floats + 2 * after.floats)


def _block(block: Block, grid: _Map, kind: str) -> tuple[_Counts, _Map]:
    """What a block counts, without its input in ``most``, and the map that comes out."""
    silu = kind == "efficientnet"
    counts, before = _Counts(), 0  # ``before`` are the floats of the map that the last step left
    inner = grid
    *first, last = block.convolutions
    for conv in first:
        inner = inner.after(conv)
        # While the norm works its input is there; in a chain of parts the input of both is held as well.
        held = before if kind != "resnet" else 0
        given = 2 * before if conv.groups > 1 else before  # a grouped one lays its input out anew
        most = max(given + inner.floats, held + 2 * inner.floats)
        counts = counts.with_(_convolved(conv, inner, silu=silu)._replace(most=most))
        before = inner.floats
    if block.squeezed:
        counts = counts.with_(_squeezed(inner, block.squeezed, silu=silu))
    out = inner.after(last)
    held = before if kind != "resnet" else 0
    most = max(before + out.floats, held + 2 * out.floats)
    counts = counts.with_(_convolved(last, out, silu=False)._replace(most=most))
    if block.shortcut:
        aside = _convolved(block.shortcut, out, silu=False)
        aside = aside._replace(kept=aside.kept - out.floats, most=3 * out.floats)  # added, and not kept
        if kind == "regnet":  # where it comes first
            counts = counts._replace(most=counts.most + out.floats)
        counts = counts.with_(aside)
    return counts, out


def _convolved(conv: Conv, out: _Map, *, silu: bool) -> _Counts:
    """A convolution, its batch norm and its non-linearity: the norm's input and two numbers a channel are
    kept, and the result; SiLU also keeps what it was given."""
    weights = conv.out * (conv.channels // conv.groups) * conv.kernel**2
    return _Counts(
        parameters=weights + 2 * conv.out,
        macs=weights * out.rows * out.cols,
        kept=(3 if silu else 2) * out.floats + 2 * conv.out,
    )


def _squeezed(grid: _Map, hidden: int, *, silu: bool) -> _Counts:
    """Squeeze and excitation: each channel's mean, two layers, and the map times what comes out."""
    channels = grid.channels
    return _Counts(
        parameters=2 * channels * hidden + channels + hidden,
        macs=2 * channels * hidden,
        kept=grid.floats + 2 * channels + (2 if silu else 1) * hidden,
        most=2 * grid.floats,
    )
