"""The transformer of DETR (arXiv:2005.12872), section 3.2 and appendix A.3: post-norm layers, to each of
which places are told anew.

Shapes: B pictures; N cells of the map; Q queries; D width.
"""

from torch import Tensor, nn

from vitreous.layers.dropout import Dropout
from vitreous.layers.mlp import Mlp
from vitreous.layers.placed_attention import PlacedAttention
from vitreous.models.detr_config import DetrConfig

NORM_EPS = 1e-5


class Transformer(nn.Module):
    """Cells consult one another; then queries consult one another and the cells, layer after layer."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_depth))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.drop = Dropout(config.dropout)
        self.norm_between = config.norm_between

    def encode(self, cells: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """Cells and their places (B, N, D), mask (B, 1, 1, N) -> (B, N, D)."""
        cells = self.drop(cells)
        for layer in self.encoder:
            cells = layer(cells, places, mask)
        return cells

    def decode(
        self, cells: Tensor, places: Tensor, query_places: Tensor, mask: Tensor | None
    ) -> list[Tensor]:
        """Encoded cells and their places (B, N, D), places of the queries (B, Q, D) -> what the queries hold
        after each layer, normalised, (B, Q, D) each."""
        queries = query_places.new_zeros(query_places.shape)
        held = []
        for layer in self.decoder:
            queries = layer(queries, query_places, cells, places, mask)
            normalised = self.norm(queries)
            held.append(normalised)
            queries = normalised if self.norm_between else queries
        if self.norm_between:
            held[-1] = self.norm(held[-1])
        return held


class EncoderLayer(nn.Module):
    """Cells consult one another, then each is worked on alone; norms stand behind the residuals."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.attention = PlacedAttention(config.width, config.heads)
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_width, config.activation)
        self.mlp_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.drop = Dropout(config.dropout)

    def forward(self, cells: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
        """Cells and their places (B, N, D) -> (B, N, D)."""
        asked = self.attention(cells, places, cells, places, mask)
        cells = self.attention_norm(cells + self.drop(asked))
        return self.mlp_norm(cells + self.drop(self.mlp(cells)))


class DecoderLayer(nn.Module):
    """Queries consult one another, then the cells; then each is worked on alone."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        self.attention = PlacedAttention(config.width, config.heads)
        self.attention_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.cross_attention = PlacedAttention(config.width, config.heads)
        self.cross_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_width, config.activation)
        self.mlp_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.drop = Dropout(config.dropout)

    def forward(
        self,
        queries: Tensor,
        query_places: Tensor,
        cells: Tensor,
        places: Tensor,
        mask: Tensor | None,
        groups: int = 1,
    ) -> Tensor:
        """Queries and their places (B, Q, D), cells and theirs (B, N, D) -> (B, Q, D). Queries consult only
        those of their own group, of which there are so many, one after the other."""
        apart, told = (_apart(part, groups) for part in (queries, query_places))
        asked = self.attention(apart, told, apart, told).reshape(queries.shape)
        queries = self.attention_norm(queries + self.drop(asked))
        seen = self.cross_attention(queries, query_places, cells, places, mask)
        queries = self.cross_norm(queries + self.drop(seen))
        return self.mlp_norm(queries + self.drop(self.mlp(queries)))


def _apart(queries: Tensor, groups: int) -> Tensor:
    """(B, G Q, D) -> (B G, Q, D)."""
    batch, count, width = queries.shape
    return queries.reshape(batch * groups, count // groups, width)
