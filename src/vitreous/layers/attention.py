"""Multi-head self-attention, "Attention Is All You Need" (arXiv:1706.03762), section 3.2; eq. 5-8 of
"An Image is Worth 16x16 Words" (arXiv:2010.11929), appendix A.

Shapes: B pictures, N tokens, D width; a head has d = D / heads dimensions.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vitreous.layers.layout import Layout


class ScaledDotProduct(nn.Module):
    """softmax(Q K^T / sqrt(d) + bias) V, fused. It holds no parameters.

    It is a module so that an explanation can watch what goes in and out with an ordinary hook: the
    weights, and their gradient, follow from the queries, keys, values and the gradient of the output.
    So a model never leaves its fused attention in order to be explained.
    """

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """Three of (B, heads, N, d), bias broadcast to (B, heads, N, N) -> (B, heads, N, d).

        A bias (L, heads, N, N) for L sequences is taken again for each next L of the B.
        """
        if bias is not None:
            if bias.requires_grad and bias.device.type == "cpu":
                # No fused kernel there learns a bias, and this is faster than what torch falls back on.
                return self.weights(queries, keys, bias) @ values
            if bias.ndim == 3:
                bias = bias[None]  # fused kernels take two axes or four
            elif _is_part(bias, queries):
                bias = bias.repeat(len(queries) // len(bias), 1, 1, 1)
        return scaled_dot_product_attention(queries, keys, values, attn_mask=bias)

    @staticmethod
    def weights(queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        """The softmax itself: queries (B, heads, M, d), keys (B, heads, N, d) -> (B, heads, M, N).

        Hand over only the rows of queries that are wanted: M rows cost O(M N).
        """
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)  # (B, heads, M, N)
        if bias is not None and _is_part(bias, queries):
            scores = (scores.unflatten(0, (-1, len(bias))) + bias).flatten(0, 1)
        elif bias is not None:
            scores = scores + bias
        return torch.softmax(scores, dim=-1)


def _is_part(bias: Tensor, queries: Tensor) -> bool:
    """Whether a bias is for a few of the sequences, and taken again for the next ones."""
    return bias.ndim == 4 and 1 < len(bias) < len(queries)


class Attention(nn.Module):
    """Every token asks all tokens. What differs between families are the parts that it is given:
    ``bias``, called with the layout, returns what is added to the scores; ``rotary``, called with the
    queries or the keys and the layout, turns them to where their tokens are."""

    def __init__(
        self, width: int, heads: int, bias: nn.Module | None = None, rotary: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = bias
        self.rotary = rotary
        self.mix = ScaledDotProduct()
        self.projection = nn.Linear(width, width)

    def forward(self, tokens: Tensor, layout: Layout, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D). ``mask`` is added to the scores, as a bias is (``ScaledDotProduct``)."""
        # Split before the heads are told apart: the gradients then come back in one copy, not two.
        queries, keys, values = map(self._by_head, self.qkv(tokens).chunk(3, dim=2))
        if self.rotary is not None:
            queries, keys = self.rotary(queries, layout), self.rotary(keys, layout)
        bias = mask
        if self.bias is not None:
            bias = self.bias(layout) if mask is None else self.bias(layout) + mask  # (B, heads, N, N)
        mixed = self.mix(queries, keys, values, bias)  # (B, heads, N, d)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # (B, N, D)

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, d)."""
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, self.heads, -1).transpose(1, 2)
