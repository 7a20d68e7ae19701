"""Relevance carried back through layers in which tokens consult one another, whatever they ask and are asked.

"Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers"
(arXiv:2103.15679), section 3.1. A head or a decoder reads tokens that have consulted one another already; R
says what of the picture is in each of them. It starts as the identity, self-attention adds A R to it (eq.
6), with A = mean_h((grad * weights)^+) (eq. 5), and whoever reads the tokens reads them through R as
normalised in eq. 8 and 9: what stayed and what was gathered count alike, whatever the units of the
gradients.

The paper knows tokens that stay the same patches. Here a layer is anything linear in R, so that windows, keys
of a coarser grid and the merging of neighbours are layers too: merging replaces R by the mean over what each
new token is made of. R itself is never built; readings are carried back through the layers as vectors.

Shapes: M tokens after a layer, N before it; B sequences (windows, or the one picture).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.explain.recording import Recorded, gradients_on

ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Layer:
    """One step of R. ``gather`` is linear, (N,) of what was before -> (M,) of what is after; where it
    ``adds``, tokens stay the same ones and keep what they had. ``tokens`` is N."""

    gather: Callable[[Tensor], Tensor]
    tokens: int
    adds: bool

    def after(self, sums: Tensor) -> Tensor:
        """R 1 before, (N,) -> after, (M,)."""
        return sums + self.gather(sums) if self.adds else self.gather(sums)

    def before(self, flow: Tensor) -> Tensor:
        """A reading of the tokens after, (M,) -> of those before, (N,): the transpose of ``after``."""
        with gradients_on():
            probe = flow.new_zeros(self.tokens, requires_grad=True)
            (carried,) = torch.autograd.grad(self.gather(probe), probe, flow)
        return flow + carried if self.adds else carried


def raised(recorded: Recorded, gradient: Tensor) -> Tensor:
    """mean_h((grad * weights)^+), (B, M, N), eq. 5: the attention that spoke for the score. ``gradient`` is
    that of the output, (B, heads, M, d). Only ``ROWS_AT_ONCE`` rows of each head are in memory at a time."""
    parts = []
    for first in range(0, gradient.shape[2], ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        spoke = recorded.weights_gradient(gradient, rows) * recorded.weights(rows)
        parts.append(spoke.clamp(min=0).mean(dim=1))
    return torch.cat(parts, dim=1)


def carried_back(layers: Sequence[Layer], readings: Mapping[int, Tensor]) -> Tensor:
    """What is read after some of the layers, by their number, 0 being ahead of all -> (N,), the relevance of
    the tokens ahead of the first layer. A reading is (M,), zero or more.

    The sum of what comes out is twice that of the readings, or once where there was nothing to gather.
    """
    last = max(readings)
    first = layers[0].tokens if layers else len(readings[0])
    sums = next(iter(readings.values())).new_ones(first)  # R 1: of the identity it is all ones, merged or not
    gathered = {0: sums - 1}
    for number, layer in enumerate(layers[:last], start=1):
        sums = layer.after(sums)
        gathered[number] = sums - 1
    through = stayed = None  # read through R, and through the identity alone
    for number in range(last, -1, -1):
        if number in readings:
            reading = readings[number]
            there = gathered[number] > 0
            share = torch.where(there, reading / gathered[number].where(there, torch.ones_like(reading)), 0)
            # v (R - I) / S + v I  =  (v / S) R + (v - v / S) I
            through = share if through is None else through + share
            stayed = reading - share if stayed is None else stayed + reading - share
        if number and through is not None and stayed is not None:
            layer = layers[number - 1]
            through = layer.before(through)
            stayed = stayed if layer.adds else layer.before(stayed)
    if through is None or stayed is None:
        raise ValueError("nothing was read")
    return (through + stayed).clamp(min=0)  # rounding alone takes it below
