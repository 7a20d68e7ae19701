"""THE shared transformer encoder: pre-norm blocks, arXiv:2010.11929, eq. 2 and 3.

Shapes: B pictures; T prefix tokens, P patches; D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitreous.backbones.config import EncoderConfig
from vitreous.layers.layout import Layout
from vitreous.layers.mlp import DropPath, LayerScale, Mlp, SwiGLU


class EncoderBlock(nn.Module):
    """Tokens consult one another, then each is worked on alone; both are residuals (eq. 2 and 3)."""

    def __init__(self, config: EncoderConfig, attention: nn.Module, drop_path: float) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.attention = attention
        self.attention_scale = _scale(config)
        self.mlp_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp = _mlp(config)
        self.mlp_scale = _scale(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, T+P, D) -> (B, T+P, D)."""
        # Nothing is kept under a name for longer than it is needed: that would be memory.
        tokens = tokens + self._consult(self.attention_norm(tokens), layout)  # eq. 2
        return tokens + self._work(self.mlp_norm(tokens))  # eq. 3

    def _consult(self, tokens: Tensor, layout: Layout) -> Tensor:
        return self.drop_path(self.attention_scale(self.attention(tokens, layout)))

    def _work(self, tokens: Tensor) -> Tensor:
        return self.drop_path(self.mlp_scale(self.mlp(tokens)))


class Encoder(nn.Module):
    """A stack of blocks. What differs between families is the attention that each block is given."""

    def __init__(
        self,
        config: EncoderConfig,
        attentions: Sequence[nn.Module],
        drop_paths: Sequence[float] | None = None,
    ) -> None:
        """``drop_paths`` are the blocks' own rates where this stack is only a part of the depth."""
        super().__init__()
        rates = drop_paths or torch.linspace(0, config.drop_path, len(attentions), device="cpu").tolist()
        self.blocks = nn.ModuleList(
            EncoderBlock(config, attention, rate) for attention, rate in zip(attentions, rates, strict=True)
        )

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, T+P, D) -> (B, T+P, D)."""
        for block in self.blocks:
            tokens = block(tokens, layout)
        return tokens


def _mlp(config: EncoderConfig) -> nn.Module:
    if config.mlp == "swiglu":
        return SwiGLU(config.width, config.mlp_width)
    return Mlp(config.width, config.mlp_width, config.activation)


def _scale(config: EncoderConfig) -> nn.Module:
    if config.layer_scale is None:
        return nn.Identity()
    return LayerScale(config.width, config.layer_scale)
