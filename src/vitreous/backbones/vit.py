"""The plain Vision Transformer, "An Image is Worth 16x16 Words" (arXiv:2010.11929).

Register tokens: "Vision Transformers Need Registers" (arXiv:2309.16588).

Shapes: B pictures of C channels and H x W pixels; T prefix tokens ([CLS], the distillation token of
DeiT, registers), P = rows * cols patches; D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitreous.backbones.config import ViTConfig
from vitreous.backbones.encoder import Encoder
from vitreous.backbones.interface import Features, Layout
from vitreous.layers.attention import Attention
from vitreous.layers.attention_bias import RelativeBias
from vitreous.layers.patches import ConvStem, PatchTokens
from vitreous.layers.positions import LearnedPositions, build_positions
from vitreous.layers.rotary import GridRotary


class Embedding(nn.Module):
    """z_0 = [x_class; x_distillation; registers; x_1 E; ...; x_P E] + E_pos (eq. 1; registers have no
    position)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.patch = config.patch
        self.grid_at = config.grid_at
        if config.stem == "conv":
            self.patches: nn.Module = ConvStem(config.channels, width, config.patch, config.stem_width)
        else:
            self.patches = PatchTokens(config.channels, width, config.patch, cut_edges=config.cut_edges)
        self.class_token = _tokens(int(config.class_token), width)
        self.distillation_token = _tokens(int(config.distillation_token), width)
        self.registers = _tokens(config.registers, width)
        self.positions = build_positions(
            config.positions, width, Layout(config.placed, *config.grid), config.position_resize
        )

    def layout(self, images: Tensor) -> Layout:
        """How the tokens of these pictures (B, C, H, W) will lie."""
        rows, cols = self.grid_at((images.shape[-2], images.shape[-1]))
        return Layout(self.prefix, rows, cols)

    @property
    def prefix(self) -> int:
        """T, the number of tokens ahead of the patches."""
        return sum(part.shape[1] for part in (*self._placed(), self.registers) if part is not None)

    def forward(self, images: Tensor, layout: Layout) -> Tensor:
        """(B, C, H, W) -> (B, T+P, D)."""
        return self.place(self.patches(images), layout)

    def place(self, patches: Tensor, layout: Layout) -> Tensor:
        """Projected patches (B, P, D) -> (B, T+P, D): positions added, prefix tokens put ahead."""
        placed = self.positions.native.prefix
        positions = self.positions(Layout(placed, layout.rows, layout.cols)).to(patches.device)
        parts = [patches + positions[:, placed:]]
        if self.registers is not None:
            parts.insert(0, self.registers.expand(len(patches), -1, -1))
        tokens = self._placed()
        if tokens:
            ahead = torch.cat(tokens, dim=1) if len(tokens) > 1 else tokens[0]
            ahead = ahead + positions[:, :placed] if placed else ahead
            parts.insert(0, ahead.expand(len(patches), -1, -1))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]  # (B, T+P, D)

    def _placed(self) -> list[Tensor]:
        return [token for token in (self.class_token, self.distillation_token) if token is not None]


class ViT(nn.Module):
    """Cut a picture into patches, encode them as tokens, hand back what was seen."""

    def __init__(self, embed: Embedding, encoder: Encoder, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.embed = embed
        self.encoder = encoder
        self.norm = norm
        self.channels: tuple[int, ...] = (width,)
        self.strides: tuple[int, ...] = (embed.patch,)

    def forward(self, images: Tensor) -> Features:
        """(B, C, H, W) -> prefix (B, T, D) and one map (B, D, rows, cols)."""
        layout = self.embed.layout(images)
        tokens = self.encode(self.embed(images, layout), layout)  # (B, T+P, D)
        prefix, grid = layout.split(tokens)  # (B, T, D), (B, D, rows, cols)
        return Features(prefix=prefix, maps=(grid,))

    def maps_after(self, images: Tensor, blocks: Sequence[int]) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the map (B, D, rows, cols) after each of these blocks, counted from 1, before the
        final norm; 0 is the embedded patches. Blocks beyond the last of them are not run."""
        layout = self.embed.layout(images)
        tokens = self.embed(images, layout)
        found = {0: layout.split(tokens)[1]}
        for number, block in enumerate(self.encoder.blocks[: max(blocks)], start=1):
            tokens = block(tokens, layout)
            found[number] = layout.split(tokens)[1]  # (B, D, rows, cols)
        return tuple(found[number] for number in blocks)

    def encode(self, tokens: Tensor, layout: Layout) -> Tensor:
        """Embedded tokens (B, T+P, D) -> encoded and normalised ones, the same shape; eq. 2 to 4."""
        return self.norm(self.encoder(tokens, layout))


def build_vit(config: ViTConfig) -> ViT:
    """A ViT with random weights: truncated normal matrices, zero biases, lecun-normal patches."""
    width = config.encoder.width
    attentions = [_attention(config) for _ in range(config.depth)]
    norm = nn.LayerNorm(width, eps=config.encoder.norm_eps) if config.final_norm else nn.Identity()
    backbone = ViT(Embedding(config), Encoder(config.encoder, attentions), norm, width)
    initialise(backbone)
    return backbone


@torch.no_grad()
def initialise(backbone: nn.Module) -> None:
    """Draw the weights: Glorot's uniform distribution for the encoder's matrices, as in the paper's own
    code; patches of unit variance from standardised pixels.

    Positions start as loud as the patches. The 0.02 of the paper's code is fifty times quieter: it
    is made up for in a long pretraining, but a small one ends before the encoder knows where it looks
    (``benchmarks/positions.py`` measures it).
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, LearnedPositions):
            nn.init.trunc_normal_(module.table)
        elif isinstance(module, Embedding):
            for token in (module.class_token, module.distillation_token, module.registers):
                if token is not None:
                    nn.init.trunc_normal_(token, std=0.02)


def _attention(config: ViTConfig) -> Attention:
    """What a block is given; every block of relative attention has a table of its own."""
    width, heads = config.encoder.width, config.heads
    if config.attention == "relative":
        native = Layout(config.prefix, *config.grid)
        return Attention(width, heads, bias=RelativeBias(heads, native, config.bias_resize))
    if config.attention == "rotary":
        turn = GridRotary(width // heads, config.rotary_base, config.rotary_step)
        return Attention(width, heads, rotary=turn)
    return Attention(width, heads)


def _tokens(count: int, width: int) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(1, count, width)) if count else None
