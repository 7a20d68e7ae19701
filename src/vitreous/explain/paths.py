"""How a picture's patches became the maps of a backbone: the layers that relevance is carried back through.

A plain ViT: every token asks all. Swin (arXiv:2103.14030): tokens ask within windows, and four neighbours
become one. A Mix Transformer (arXiv:2105.15203): tokens ask squares of tokens, and what a stage's token is
made of overlaps. What a convolution does inside a patch, a square or a merging is taken as an even mean over
what it sees; its weights are not looked into. A residual network has no attention: its last map is as far as
it goes.

Shapes: P = rows * cols tokens of a stage, T prefix tokens ahead of those of a ViT.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from vitreous.backbones.mix_transformer import MixStage, MixTransformer
from vitreous.backbones.swin import Swin
from vitreous.backbones.vit import ViT
from vitreous.explain.carrying import Layer, raised
from vitreous.explain.recording import Record
from vitreous.layers.geometry import whole_windows
from vitreous.layers.layout import Layout
from vitreous.layers.reduced_attention import ReducedAttention
from vitreous.layers.windows import Windowed

Gradients = Callable[[nn.Module], Tensor]  # the attention whose output is meant -> (B, heads, M, d)


class Path(NamedTuple):
    """``layers`` from the patches to the last map; ``maps``, after how many of them each of the backbone's
    maps is there; ``layout``, how the tokens ahead of the first layer lie; ``stride``, pixels from one to
    the next; ``told``, what they are, for people."""

    layers: tuple[Layer, ...]
    maps: tuple[int, ...]
    layout: Layout
    stride: int
    told: str

    def reading(self, grid: Tensor) -> Tensor:
        """A map's cells (rows, cols) -> a reading of its tokens, the prefix not read."""
        return torch.cat([grid.new_zeros(self.layout.prefix), grid.flatten()])

    def on_grid(self, tokens: Tensor) -> Tensor:
        """The tokens ahead of the first layer -> (rows, cols); what arrived at the prefix is left out."""
        return tokens[self.layout.prefix :].reshape(self.layout.rows, self.layout.cols)


def path_of(model: Any, size: tuple[int, int], record: Record, gradients: Gradients) -> Path:
    """The layers of the backbone of a model that has looked at one picture of ``size``, (h, w) pixels, while
    ``record`` was kept.

    Of a ViT whose last blocks were not run, because nobody reads them, only those that were are on the path.
    """
    backbone, config = model.backbone, model.config.backbone
    if isinstance(backbone, ViT):
        layout = Layout(backbone.embed.prefix, *config.grid_at(size))
        ran = {id(recorded.mix) for recorded in record.layers}
        blocks: Any = backbone.encoder.blocks
        attentions = [block.attention for block in blocks if id(block.attention.mix) in ran]
        layers = [self_attention(attention, record, gradients) for attention in attentions]
        return Path(tuple(layers), (len(layers),), layout, backbone.strides[0], _patches(backbone.strides[0]))
    if isinstance(backbone, Swin | MixTransformer):
        grids = [Layout(0, *grid) for grid in config.grids_at(size)]
        made: list[list[Layer]] = []
        for number, (stage, layout) in enumerate(zip(backbone.stages, grids, strict=True)):
            before = grids[number - 1] if number else None
            made.append(_stage(stage, record, gradients, layout, before))
        ends = tuple(accumulate(len(stage) for stage in made))
        together = tuple(layer for stage in made for layer in stage)
        return Path(together, ends, grids[0], backbone.strides[0], _patches(backbone.strides[0]))
    step = int(backbone.strides[-1])
    told = f"the cells of the last map, {step} pixels apart, before which there is no attention"
    return Path((), (0,), Layout(0, *config.grid_at(size)), step, told)


def self_attention(attention: nn.Module, record: Record, gradients: Gradients, prefix: int = 0) -> Layer:
    """Tokens that all ask one another, behind ``prefix`` others that take no part."""
    recorded = record.of(attention)
    matrix = raised(recorded, gradients(attention))[0]  # (N, N)

    def gather(tokens: Tensor) -> Tensor:
        return torch.cat([tokens.new_zeros(prefix), matrix @ tokens[prefix:]])

    return Layer(gather, prefix + matrix.shape[1], adds=True)


def _stage(
    stage: Any, record: Record, gradients: Gradients, layout: Layout, before: Layout | None
) -> list[Layer]:
    """What makes the tokens of a stage from those before, if any, and its attentions."""
    layers = []
    mixed = isinstance(stage, MixStage)
    if before is not None and mixed:
        kernel, step = stage.embed.projection.kernel_size[0], stage.embed.projection.stride[0]
        layers.append(merging(before, kernel=kernel, step=step, padding=kernel // 2))
    elif before is not None:
        layers.append(merging(before, kernel=2, step=2, padding=0))
    for block in stage.blocks if mixed else stage.encoder.blocks:
        attention = block.attention
        if isinstance(attention, Windowed):
            layers.append(window_attention(attention, record, gradients, layout))
        elif isinstance(attention, ReducedAttention):
            layers.append(reduced_attention(attention, record, gradients, layout))
        else:
            layers.append(self_attention(attention, record, gradients))
    return layers


def merging(before: Layout, *, kernel: int, step: int, padding: int) -> Layer:
    """A token is made of the even mean of those that lie under its kernel."""

    def gather(tokens: Tensor) -> Tensor:
        grid = tokens.view(1, 1, before.rows, before.cols)
        if padding == 0:  # odd sides were padded at the bottom and the right
            pooled = avg_pool2d(grid, kernel, step, ceil_mode=True, count_include_pad=False)
        else:
            pooled = avg_pool2d(grid, kernel, step, padding, count_include_pad=False)
        return pooled.flatten()

    return Layer(gather, before.tokens, adds=False)


def reduced_attention(
    attention: ReducedAttention, record: Record, gradients: Gradients, layout: Layout
) -> Layer:
    """A token asks squares; what it gathers from one comes evenly from its tokens."""
    matrix = raised(record.of(attention), gradients(attention))[0]  # (N, squares)
    side = attention.reduction
    below, right = max(0, side - layout.rows), max(0, side - layout.cols)

    def squares(tokens: Tensor) -> Tensor:
        grid = pad(tokens.view(1, 1, layout.rows, layout.cols), (0, right, 0, below))
        return avg_pool2d(grid, side).flatten()  # (squares,)

    real = squares(matrix.new_ones(layout.tokens))  # 1, or less of a square that was padded

    def gather(tokens: Tensor) -> Tensor:
        return matrix @ (squares(tokens) / real)

    return Layer(gather, layout.tokens, adds=True)


def window_attention(attention: Windowed, record: Record, gradients: Gradients, layout: Layout) -> Layer:
    """Tokens ask those of their window; tokens of the padding have nothing to give."""
    matrix = raised(record.of(attention), gradients(attention))  # (L, N, N)
    how = attention.cut(layout)
    order, back = how.order.to(matrix.device), how.back.to(matrix.device)
    rows, cols = whole_windows(layout.rows, layout.cols, attention.window)

    def gather(tokens: Tensor) -> Tensor:
        grid = pad(tokens.view(layout.rows, layout.cols), (0, cols - layout.cols, 0, rows - layout.rows))
        inside = grid.flatten()[order].view(len(matrix), -1, 1)  # (L, N, 1)
        return (matrix @ inside).flatten()[back]

    return Layer(gather, layout.tokens, adds=True)


def _patches(stride: int) -> str:
    return f"patches, {stride} pixels apart"
