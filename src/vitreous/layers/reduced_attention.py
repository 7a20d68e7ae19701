"""Attention whose keys and values are those of a coarser grid: "Pyramid Vision Transformer"
(arXiv:2102.12122), section 3.3; SegFormer (arXiv:2105.15203), section 3.1, "efficient self-attention".

Shapes: B pictures; N = rows * cols tokens; M tokens of the coarser grid; D width; a head has d = D / heads
dimensions.
"""

from torch import Tensor, nn
from torch.nn.functional import pad

from vitreous.layers.attention import ScaledDotProduct
from vitreous.layers.layout import Layout


class ReducedAttention(nn.Module):
    """Every token asks one token for each square of ``reduction`` x ``reduction`` tokens, so the cost of the
    scores is divided by the square of that.

    What is left at the bottom and the right of the last whole square is asked by nobody, as in the reference;
    a grid smaller than one square, which fails there, is padded with zeros here.
    """

    def __init__(self, width: int, heads: int, reduction: int, norm_eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.reduce = nn.Conv2d(width, width, reduction, reduction)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.queries = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.mix = ScaledDotProduct()
        self.projection = nn.Linear(width, width)

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> (B, N, D). There is no prefix."""
        keys, values = map(self._by_head, self.keys_values(self._coarser(tokens, layout)).chunk(2, dim=2))
        mixed = self.mix(self._by_head(self.queries(tokens)), keys, values, None)  # (B, heads, N, d)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # (B, N, D)

    def _coarser(self, tokens: Tensor, layout: Layout) -> Tensor:
        """(B, N, D) -> normalised tokens of the coarser grid (B, M, D)."""
        _, grid = layout.split(tokens)
        below, right = max(0, self.reduction - layout.rows), max(0, self.reduction - layout.cols)
        if below or right:
            grid = pad(grid, (0, right, 0, below))
        return self.norm(self.reduce(grid).flatten(2).transpose(1, 2))

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, d)."""
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, self.heads, -1).transpose(1, 2)
