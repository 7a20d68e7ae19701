"""Section 3 of arXiv:2103.15679 as whole matrices, and attention as explicit weights in autograd.

It shares no code with vitreous.explain. A model is run with ``explicit`` attention, so that the gradient of
a score with respect to the weights is autograd's own and not the one that follows from outputs and values.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from vitreous.layers.attention import ScaledDotProduct

Weights = dict[int, Tensor]  # by the identity of the ``ScaledDotProduct`` that had them


@contextmanager
def explicit() -> Iterator[Weights]:
    """Every attention computes its weights openly and keeps them, (B, heads, M, N), as part of the graph."""
    every: Weights = {}

    def forward(
        mix: nn.Module, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        scores = torch.einsum("bhmd,bhnd->bhmn", queries, keys) / queries.shape[-1] ** 0.5
        if bias is not None and bias.ndim == 4 and 1 < len(bias) < len(scores):
            bias = bias.repeat(len(scores) // len(bias), 1, 1, 1)
        weights = (scores if bias is None else scores + bias).softmax(dim=-1)
        every[id(mix)] = weights
        return torch.einsum("bhmn,bhnd->bhmd", weights, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScaledDotProduct, "forward", forward)
        yield every


def spoke(every: Weights, part: nn.Module, score: Tensor) -> Tensor:
    """Eq. 5 for the one attention inside a part of the model: (B, M, N)."""
    (mix,) = [module for module in part.modules() if isinstance(module, ScaledDotProduct)]
    weights = every[id(mix)]
    (gradient,) = torch.autograd.grad(score, weights, retain_graph=True)
    return (gradient * weights).clamp(min=0).mean(dim=1).detach()


def normalised(matrix: Tensor, identity: Tensor) -> Tensor:
    """Eq. 8 and 9, row by row; a row that gathered nothing stays what it is."""
    rows = []
    for row, kept in zip(matrix, identity, strict=True):
        gathered = row - kept
        rows.append(kept + gathered / gathered.sum() if gathered.sum() > 0 else kept)
    return torch.stack(rows)
