"""SegFormer's Mix Transformer, "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers" (arXiv:2105.15203), section 3.1: overlapping patches, keys and values of a coarser grid, and a
convolution inside the MLP that tells tokens where they are. There is no table of positions, so every picture
size is native.

Shapes: B pictures of C channels and H x W pixels; P = rows * cols tokens of a stage; D its width, M that of
its MLP's hidden layer.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn

from vitreous.backbones.config import MiTConfig
from vitreous.backbones.interface import Features, Layout
from vitreous.layers.attention import Attention
from vitreous.layers.mlp import ACTIVATIONS, DropPath
from vitreous.layers.reduced_attention import ReducedAttention


class OverlappingPatches(nn.Module):
    """A map becomes tokens of the next stage: patches larger than the step between them, projected and
    normalised ("overlapped patch merging")."""

    def __init__(self, channels: int, width: int, kernel: int, step: int, norm_eps: float) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, width, kernel, step, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, grid: Tensor) -> tuple[Tensor, Layout]:
        """A picture or the map before, (B, C, h, w) -> (B, P, D), and how they lie."""
        grid = self.projection(grid)  # (B, D, rows, cols)
        layout = Layout(0, grid.shape[-2], grid.shape[-1])
        return self.norm(grid.flatten(2).transpose(1, 2)), layout


class MixMlp(nn.Module):
    """Two layers, and between them each hidden channel is mixed with its neighbours in the grid (eq. 3); the
    zeros at its edges say where that grid ends."""

    def __init__(self, width: int, mlp_width: int, activation: str) -> None:
        super().__init__()
        self.expand = nn.Linear(width, mlp_width)
        self.mix = nn.Conv2d(mlp_width, mlp_width, 3, padding=1, groups=mlp_width)
        self.activation = ACTIVATIONS[activation]()
        self.contract = nn.Linear(mlp_width, width)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, P, D) -> (B, P, D)."""
        # Nothing is kept under a name for longer than it is needed: that would be memory.
        return self.contract(self.activation(self._mixed(tokens, layout)))

    def _mixed(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, P, D) -> (B, P, M)."""
        grid = self.mix(layout.split(self.expand(tokens))[1])  # (B, M, rows, cols)
        return grid.flatten(2).transpose(1, 2)


class MixBlock(nn.Module):
    """Tokens consult one another, then each is worked on with its neighbours; both are residuals."""

    def __init__(self, config: MiTConfig, stage: int, drop_path: float) -> None:
        super().__init__()
        width, heads, reduction = (of[stage] for of in (config.widths, config.heads, config.reductions))
        self.attention_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.attention: nn.Module = (
            Attention(width, heads)
            if reduction == 1
            else ReducedAttention(width, heads, reduction, config.merge_eps)
        )
        self.mlp_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = MixMlp(width, config.mlp_widths[stage], config.activation)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, P, D) -> (B, P, D)."""
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens), layout))
        return tokens + self.drop_path(self.mlp(self.mlp_norm(tokens), layout))


class MixStage(nn.Module):
    """Overlapping patches of the map before, blocks on them, and a norm."""

    def __init__(self, config: MiTConfig, stage: int, rates: list[float]) -> None:
        """``rates`` are the drop paths of its blocks."""
        super().__init__()
        channels = config.widths[stage - 1] if stage else config.channels
        kernel, step, width = config.kernels[stage], config.steps[stage], config.widths[stage]
        self.embed = OverlappingPatches(channels, width, kernel, step, config.merge_eps)
        self.blocks = nn.ModuleList(MixBlock(config, stage, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """The map before (B, C, h, w) -> no prefix (B, 0, D), and this stage's map (B, D, rows, cols)."""
        tokens, layout = self.embed(grid)
        for block in self.blocks:
            tokens = block(tokens, layout)
        return layout.split(self.norm(tokens))


class MixTransformer(nn.Module):
    """A map of each stage, fine to coarse, each of them normalised."""

    def __init__(self, config: MiTConfig) -> None:
        super().__init__()
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        ends = accumulate(config.depths)
        self.stages = nn.ModuleList(
            MixStage(config, stage, rates[end - depth : end])
            for stage, (depth, end) in enumerate(zip(config.depths, ends, strict=True))
        )
        self.channels: tuple[int, ...] = config.widths
        self.strides: tuple[int, ...] = config.strides

    def forward(self, images: Tensor) -> Features:
        """(B, C, H, W) -> prefix (B, 0, D) and a map of each stage."""
        grid, maps = images, []
        for stage in self.stages:
            prefix, grid = stage(grid)
            maps.append(grid)
        return Features(prefix=prefix, maps=tuple(maps))


def build_mix_transformer(config: MiTConfig) -> MixTransformer:
    """A Mix Transformer with random weights."""
    backbone = MixTransformer(config)
    _initialise(backbone)
    return backbone


@torch.no_grad()
def _initialise(backbone: MixTransformer) -> None:
    """Glorot's uniform distribution for matrices; convolutions of unit variance from standardised inputs, as
    in our other backbones."""
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
