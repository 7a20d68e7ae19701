"""The plain Vision Transformer, "An Image is Worth 16x16 Words" (arXiv:2010.11929).

Register tokens: "Vision Transformers Need Registers" (arXiv:2309.16588).

Shapes: B pictures of C channels and H x W pixels; T prefix tokens ([CLS], then registers), P = rows *
cols patches; D width.
"""

import torch
from torch import Tensor, nn

from vitreous.backbones.config import ViTConfig
from vitreous.backbones.encoder import Encoder
from vitreous.backbones.interface import Features, Layout
from vitreous.layers.attention import Attention
from vitreous.layers.geometry import grid_of
from vitreous.layers.patches import ConvStem, PatchTokens
from vitreous.layers.positions import LearnedPositions, build_positions


class Embedding(nn.Module):
    """z_0 = [x_class; registers; x_1 E; ...; x_P E] + E_pos (eq. 1; registers have no position)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.patch = config.patch
        stem = ConvStem if config.stem == "conv" else PatchTokens
        self.patches = stem(config.channels, width, config.patch)
        self.class_token = _tokens(int(config.class_token), width)
        self.registers = _tokens(config.registers, width)
        placed = int(config.class_token and config.class_position)
        self.positions = build_positions(
            config.positions, width, Layout(placed, *config.grid), config.position_resize
        )

    def layout(self, images: Tensor) -> Layout:
        """How the tokens of these pictures (B, C, H, W) will lie."""
        rows, cols = grid_of(images.shape[-2], images.shape[-1], self.patch)
        return Layout(self.prefix, rows, cols)

    @property
    def prefix(self) -> int:
        """T, the number of tokens ahead of the patches."""
        return sum(0 if part is None else part.shape[1] for part in (self.class_token, self.registers))

    def forward(self, images: Tensor, layout: Layout) -> Tensor:
        """(B, C, H, W) -> (B, T+P, D)."""
        patches = self.patches(images)  # (B, P, D)
        placed = self.positions.native.prefix
        positions = self.positions(Layout(placed, layout.rows, layout.cols)).to(patches.device)
        parts = [patches + positions[:, placed:]]
        if self.registers is not None:
            parts.insert(0, self.registers.expand(len(images), -1, -1))
        if self.class_token is not None:
            class_token = self.class_token + positions[:, :placed] if placed else self.class_token
            parts.insert(0, class_token.expand(len(images), -1, -1))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]  # (B, T+P, D)


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
        tokens = self.norm(self.encoder(self.embed(images, layout), layout))  # (B, T+P, D), eq. 4
        prefix, grid = layout.split(tokens)  # (B, T, D), (B, D, rows, cols)
        return Features(prefix=prefix, maps=(grid,))


def build_vit(config: ViTConfig) -> ViT:
    """A ViT with random weights: truncated normal matrices, zero biases, lecun-normal patches."""
    width = config.encoder.width
    attentions = [Attention(width, config.heads) for _ in range(config.depth)]
    norm = nn.LayerNorm(width, eps=config.encoder.norm_eps) if config.final_norm else nn.Identity()
    backbone = ViT(Embedding(config), Encoder(config.encoder, attentions), norm, width)
    initialise(backbone)
    return backbone


@torch.no_grad()
def initialise(backbone: ViT) -> None:
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
    for token in (backbone.embed.class_token, backbone.embed.registers):
        if token is not None:
            nn.init.trunc_normal_(token, std=0.02)


def _tokens(count: int, width: int) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(1, count, width)) if count else None
