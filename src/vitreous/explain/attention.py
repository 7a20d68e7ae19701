"""Where the answer was read from: raw attention, and attention rollout.

Rollout: "Quantifying Attention Flow in Transformers" (arXiv:2005.00928), section 3. A model with a class
token reads its answer from that token's row of the attention; one with mean pooling from the mean
of the patches' rows. Both are one vector over the tokens, the ``reading``, so that a map through all
layers is a chain of vector times matrix: N x N matrices are never multiplied with one another.

Shapes: B pictures; N tokens, T of them prefix, P = rows * cols patches.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitreous.backbones.config import ViTConfig
from vitreous.errors import ConfigError
from vitreous.explain.recording import Record
from vitreous.layers.layout import Layout
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DeiTConfig,
    is_classifier,
    way_to_classes,
)

ROWS_AT_ONCE = 512


class Reading(NamedTuple):
    """What an answer is read from, in equal parts: the first tokens, and the mean of all patches."""

    name: str  # as people read it
    tokens: int  # how many of the first ones
    patches: bool


READINGS: Mapping[str, Reading] = {
    "class": Reading("[CLS]", 1, patches=False),
    "distilled": Reading("[CLS] and [DIST]", 2, patches=False),
    "mean": Reading("the mean of all patches", 0, patches=True),
    "class_mean": Reading("[CLS] and the mean of all patches", 1, patches=True),
}


def pool_of(model: nn.Module) -> str:
    """From which tokens a classifier reads its answer, one of ``READINGS``: a classifier's ``pool``, or
    "distilled", the class and the distillation token of DeiT.

    Raises:
        ConfigError: a model whose tokens do not stay the same patches from layer to layer, or that
            tells no classes apart.
    """
    config = getattr(model, "config", None)
    if isinstance(config, DeiTConfig):
        return "distilled"
    if isinstance(config, ClassifierConfig) and isinstance(config.backbone, ViTConfig):
        return config.pool
    if isinstance(config, ConvNetConfig):
        raise ConfigError(
            f"a {config.architecture} has no attention to explain it by; wanted a classifier on a plain ViT"
        )
    if isinstance(config, ClassifierConfig):
        raise ConfigError(
            f"a {type(model.backbone).__name__} cannot be explained by its attention: its tokens do not stay"
            " the same patches; wanted a classifier on a plain ViT"
        )
    kind = type(model).__name__
    if config is not None and not is_classifier(config):
        raise ConfigError(
            f"a {kind} does not say which class a whole picture shows; wanted a classifier on a plain ViT:"
            f" {way_to_classes(config)}"
        )
    raise ConfigError(f"a {kind} cannot be explained by its attention; wanted a classifier on a plain ViT")


def reading(layout: Layout, pool: str) -> Tensor:
    """(N,): how much of the answer is read from each token of the last layer; it sums to 1."""
    read = READINGS[pool]
    share = 1.0 / (read.tokens + read.patches)
    vector = torch.zeros(layout.tokens)
    vector[: read.tokens] = share
    if read.patches:
        vector[layout.prefix :] = share / layout.patches
    return vector


def attention_map(record: Record, layer: int, pool: str) -> Tensor:
    """(B, heads, rows, cols): what the tokens that the answer is read from attend to in one layer.

    Each head's weights sum to 1 over all tokens; what went to prefix tokens is not on the map. With
    a class token this costs O(N).
    """
    layout, read = record.layout, READINGS[pool]
    parts: list[Tensor] = []  # (B, heads, N) each
    if read.tokens:
        parts += record.weights(layer, slice(0, read.tokens)).unbind(dim=2)
    if read.patches:
        parts.append(record.weights(layer, slice(layout.prefix, None)).mean(dim=2))
    weights = torch.stack(parts).mean(dim=0)
    return weights[..., layout.prefix :].reshape(*weights.shape[:2], layout.rows, layout.cols)


def rollout(record: Record, pool: str, *, residual: float = 0.5) -> Tensor:
    """(B, rows, cols): attention followed through all layers, from the answer down to the patches.

    In each layer the heads are averaged and the residual connection counts as attention to oneself:
    A = residual * I + (1 - residual) * mean_h(weights); the map is the reading's row of A_L ... A_1.
    """
    layout = record.layout
    flow = start(record, pool)  # (B, N)
    for recorded in reversed(record.layers):
        carried = carry(flow, recorded.weights)  # (B, N)
        flow = residual * flow + (1.0 - residual) * carried
    return on_grid(flow, layout)


def start(record: Record, pool: str) -> Tensor:
    """(B, N): the reading, once for each picture, beside the recorded tensors."""
    queries = record.layers[-1].queries
    vector = reading(record.layout, pool).to(queries.device, queries.dtype)
    return vector.expand(len(queries), -1)


def carry(flow: Tensor, matrix: Callable[[slice], Tensor]) -> Tensor:
    """(B, N) -> (B, N): flow @ mean_h(matrix). ``matrix`` gives any rows of it, (B, heads, M, N).

    Only ``ROWS_AT_ONCE`` rows are in memory at a time.
    """
    carried = torch.zeros_like(flow)
    for first in range(0, flow.shape[1], ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        part = flow[:, None, None, rows] @ matrix(rows)  # (B, heads, 1, N)
        carried += part.mean(dim=1)[:, 0]
    return carried


def on_grid(flow: Tensor, layout: Layout) -> Tensor:
    """(B, N) -> (B, rows, cols): what has arrived at the patches."""
    return flow[:, layout.prefix :].reshape(-1, layout.rows, layout.cols)
