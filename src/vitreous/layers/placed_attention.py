"""Attention whose queries and keys know where they are while its values do not, "End-to-End Object Detection
with Transformers" (DETR, arXiv:2005.12872), appendix A.3 and figure 10.

Shapes: B pictures; M tokens that ask, N that are asked; D width; a head has d = D / heads dimensions.
"""

from math import pi

import torch
from torch import Tensor, nn

from vitreous.layers.attention import ScaledDotProduct

TEMPERATURE = 10000.0


class PlacedAttention(nn.Module):
    """Tokens ask themselves, or others. Places are added to what queries and keys are made of, in every layer
    anew, and never to what values are made of."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.mix = ScaledDotProduct()
        self.projection = nn.Linear(width, width)

    def forward(
        self, tokens: Tensor, places: Tensor, seen: Tensor, seen_places: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """tokens and places (B, M, D), seen and seen_places (B, N, D) -> (B, M, D). ``mask``, broadcast to
        (B, heads, M, N), is added to the scores."""
        queries = self._by_head(self.queries(tokens + places))
        keys = self._by_head(self.keys(seen + seen_places))
        mixed = self.mix(queries, keys, self._by_head(self.values(seen)), mask)  # (B, heads, M, d)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # (B, M, D)

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, d)."""
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, self.heads, -1).transpose(1, 2)


def sine_places(valid: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """valid (B, rows, cols) bool -> (B, rows * cols, D): half of the channels tell how far down a cell lies,
    half how far across, as a share of the valid cells of its own picture, a whole turn being all of them.
    Sines and cosines alternate (appendix A.4). ``width`` must be a multiple of 4."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    told = valid.to(exact)
    down, across = told.cumsum(1), told.cumsum(2)  # (B, rows, cols), from 1
    down = down / (down[:, -1:] + 1e-6) * (2 * pi)
    across = across / (across[:, :, -1:] + 1e-6) * (2 * pi)
    rates = TEMPERATURE ** (-torch.arange(0, width // 2, 2, dtype=exact, device=valid.device) / (width // 2))
    parts = []
    for turn in (down, across):
        angles = turn[..., None] * rates  # (B, rows, cols, D / 4)
        parts.append(torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(3))
    return torch.cat(parts, dim=3).flatten(1, 2).to(dtype)  # (B, rows * cols, D)


def key_mask(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """valid (B, N) bool -> (B, 1, 1, N), what is added to the scores so that nobody asks padding. Each
    picture must have a valid token."""
    mask = torch.zeros(valid.shape, dtype=dtype, device=valid.device)
    return mask.masked_fill(~valid, float("-inf"))[:, None, None]
