"""What a model knows about where its patches are, as one number for each pair of them.

Three kinds of models tell places apart, by what is added to the tokens, by what is added to the scores of
attention, and by turning queries and keys. Shapes: P patches; D width; d dimensions of a head.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vitreous.layers.layout import Layout


class Places(NamedTuple):
    """``kind`` says what the numbers (P, P) are: "embedding", cosine similarity of what is added to two
    patches; "bias", what is added to the score of a query (first axis) for a key, the mean over layers and
    heads; "turn", what is left of a score of 1 where only the places of a query and a key differ."""

    kind: str
    pairs: Tensor


def places_of(model: Any, layout: Layout) -> Places | None:
    """The places of a model on a plain ViT, or None where it is told none."""
    backbone = model.backbone
    positions = backbone.embed.positions
    attentions = [block.attention for block in backbone.encoder.blocks]
    placed = positions.native.prefix
    with torch.inference_mode():
        table = positions(Layout(placed, layout.rows, layout.cols))[0, placed:].detach().float()  # (P, D)
        if bool(table.any()):
            unit = normalize(table, dim=1)
            return Places("embedding", unit @ unit.T)
        if attentions[0].bias is not None:
            patches = slice(layout.prefix, None)
            means = [attention.bias(layout)[:, patches, patches].float().mean(0) for attention in attentions]
            return Places("bias", torch.stack(means).mean(0))
        if attentions[0].rotary is not None:
            like = torch.zeros((), device=attentions[0].qkv.weight.device)
            cos, sin = attentions[0].rotary.turns(layout, like)  # (P, d / 2) each
            return Places("turn", (cos @ cos.T + sin @ sin.T) / cos.shape[1])
    return None


def bias_range(model: Any) -> tuple[float, float] | None:
    """The least and the largest number that the tables of relative attention hold, or None without them."""
    biases = [block.attention.bias for block in model.backbone.encoder.blocks]
    if biases[0] is None:
        return None
    tables = [bias.table.detach() for bias in biases]
    return min(float(table.min()) for table in tables), max(float(table.max()) for table in tables)
