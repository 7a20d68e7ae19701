"""Shifted windows, "Swin Transformer" (arXiv:2103.14030), section 3.

Shapes: B pictures of C channels and H x W pixels; P = rows * cols tokens of a stage; D its width.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vitreous.backbones.config import EncoderConfig, SwinConfig
from vitreous.backbones.encoder import Encoder
from vitreous.backbones.interface import Features, Layout
from vitreous.layers.attention import Attention
from vitreous.layers.attention_bias import RelativeBias
from vitreous.layers.geometry import grid_of
from vitreous.layers.patches import PatchTokens
from vitreous.layers.positions import LearnedPositions
from vitreous.layers.windows import Windowed


class SwinEmbedding(nn.Module):
    """Patches, projected and normalised, each with its position where there is a table of them."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.cut_edges = config.cut_edges
        self.patches = PatchTokens(config.channels, config.width, config.patch)
        self.norm = nn.LayerNorm(config.width, eps=config.merge_eps) if config.patch_norm else nn.Identity()
        native = Layout(0, *config.grid)
        learned = config.positions == "learned"
        self.positions = LearnedPositions(config.width, native, "plain") if learned else None

    def forward(self, images: Tensor) -> tuple[Tensor, Layout]:
        """(B, C, H, W) -> (B, P, D), and how they lie."""
        patches, layout = self.project(images)
        return self.place(patches, layout), layout

    def project(self, images: Tensor) -> tuple[Tensor, Layout]:
        """(B, C, H, W) -> normalised patches (B, P, D) that know no place yet, and how they lie."""
        height, width = images.shape[-2:]
        if self.cut_edges:
            height, width = height // self.patch * self.patch, width // self.patch * self.patch
            images = images[..., :height, :width]
        return self.norm(self.patches(images)), Layout(0, *grid_of(height, width, self.patch))

    def place(self, patches: Tensor, layout: Layout) -> Tensor:
        """Normalised patches (B, P, D) -> (B, P, D), positions added."""
        return patches if self.positions is None else patches + self.positions(layout)


class Merging(nn.Module):
    """Four neighbours become one token of twice the width (section 3.1); an odd side is padded with zeros."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=eps)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """(B, P, D) -> (B, P / 4, 2 D), and how they lie."""
        batch, _, width = tokens.shape
        grid = tokens.view(batch, layout.rows, layout.cols, width)
        if layout.rows % 2 or layout.cols % 2:
            grid = pad(grid, (0, 0, 0, layout.cols % 2, 0, layout.rows % 2))
        merged = Layout(0, *grid_of(layout.rows, layout.cols, 2))
        cut = grid.view(batch, merged.rows, 2, merged.cols, 2, width)
        # Down before across: upper left, lower left, upper right, lower right.
        four = cut.permute(0, 1, 3, 4, 2, 5).reshape(batch, merged.patches, 4 * width)
        return self.reduce(self.norm(four)), merged


class Stage(nn.Module):
    """Neighbours are merged, except in the first stage; then blocks look through windows, every second one
    through shifted ones."""

    def __init__(self, merging: Merging | None, encoder: Encoder) -> None:
        super().__init__()
        self.merging = merging
        self.encoder = encoder

    def forward(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """(B, P, D) of the stage before -> (B, P, D) of this one, and how they lie."""
        if self.merging is not None:
            tokens, layout = self.merging(tokens, layout)
        return self.encoder(tokens, layout), layout


class Swin(nn.Module):
    """A map of each stage, fine to coarse, from patches that look around in windows."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.embed = SwinEmbedding(config)
        self.stages = nn.ModuleList(_stages(config))
        self.norm = nn.LayerNorm(config.out_channels, eps=config.norm_eps)
        self.channels: tuple[int, ...] = config.widths
        self.strides = tuple(config.patch * 2**stage for stage in range(len(config.depths)))

    def forward(self, images: Tensor) -> Features:
        """(B, C, H, W) -> prefix (B, 0, D) and a map of each stage, the last one normalised."""
        return self.look(*self.embed(images))

    def look(self, tokens: Tensor, layout: Layout) -> Features:
        """Embedded patches (B, P, D) -> what ``forward`` gives."""
        maps = []
        for stage in self.stages:
            tokens, layout = stage(tokens, layout)
            seen = self.norm(tokens) if stage is self.stages[-1] else tokens
            prefix, grid = layout.split(seen)  # (B, 0, D), (B, D, rows, cols)
            maps.append(grid)
        return Features(prefix=prefix, maps=tuple(maps))


def build_swin(config: SwinConfig) -> Swin:
    """A Swin with random weights."""
    backbone = Swin(config)
    _initialise(backbone)
    return backbone


@torch.no_grad()
def _initialise(backbone: Swin) -> None:
    """Draw the weights: Glorot's uniform distribution for matrices, patches of unit variance from
    standardised pixels, and offsets as loud as the scores that they are added to.

    The authors draw all of them with a deviation of 0.02. That is made up for in a long training, but a
    small one ends before windows know where they look (``benchmarks/swin.py --draws`` measures it).
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, RelativeBias | LearnedPositions):
            nn.init.trunc_normal_(module.table)


def _stages(config: SwinConfig) -> list[Stage]:
    rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
    ends = list(accumulate(config.depths))
    stages = []
    for index, depth in enumerate(config.depths):
        encoder = Encoder(
            EncoderConfig(
                width=config.widths[index],
                mlp_width=config.mlp_widths[index],
                norm_eps=config.norm_eps,
                activation=config.activation,
            ),
            [_windowed(config, index, shifted=block % 2 == 1) for block in range(depth)],
            rates[ends[index] - depth : ends[index]],
        )
        stages.append(Stage(Merging(config.widths[index - 1], config.merge_eps) if index else None, encoder))
    return stages


def _windowed(config: SwinConfig, stage: int, *, shifted: bool) -> Windowed:
    window, heads = config.windows[stage], config.heads[stage]
    attention = Attention(config.widths[stage], heads, bias=RelativeBias(heads, Layout(0, *window)))
    return Windowed(
        attention,
        window,
        config.shifts[stage] if shifted else (0, 0),
        "always" if isinstance(config.shift, tuple) else config.shift,
        shift_first=config.shift_first,
        native=Layout(0, *config.grids_at(config.image_size)[stage]),
    )
