"""The paper's formulas written out: attention as plain matrices, R as a whole matrix, autograd.

It shares no code with vitreous.explain, and knows models only by their parts.
"""

import torch
from torch import Tensor

from vitreous.layers.layout import Layout
from vitreous.models.classifier import Classifier
from vitreous.models.deit import DeiT

Explained = Classifier | DeiT


def unfused(model: Explained, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(B, C, H, W) -> logits (B, K) and the weights (B, heads, N, N) of each layer, all in autograd."""
    vit = model.backbone
    layout = vit.embed.layout(images)
    tokens = vit.embed(images, layout)
    every = []
    for block in vit.encoder.blocks:
        attention = block.attention
        batch, count, width = tokens.shape
        size = width // attention.heads
        qkv = attention.qkv(block.attention_norm(tokens))
        q, k, v = (
            part.reshape(batch, count, attention.heads, size).transpose(1, 2)
            for part in qkv.split(width, dim=2)
        )
        if model.config.backbone.attention == "rotary":
            q, k = turned(model, q, images), turned(model, k, images)
        scores = (q @ k.transpose(2, 3)) / size**0.5
        if model.config.backbone.attention == "relative":
            scores = scores + offsets(attention.bias.table, layout)
        weights = scores.softmax(dim=3)
        every.append(weights)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, count, width)
        tokens = tokens + block.attention_scale(attention.projection(mixed))
        tokens = tokens + block.mlp_scale(block.mlp(block.mlp_norm(tokens)))
    tokens = vit.norm(tokens)
    if isinstance(model, DeiT):
        return (model.head(tokens[:, 0]) + model.distillation_head(tokens[:, 1])) / 2, every
    class_token, mean = tokens[:, :1].mean(1), tokens[:, layout.prefix :].mean(1)
    both = torch.cat([class_token, mean], dim=1)
    pooled = {"class": class_token, "mean": mean, "class_mean": both}[model.config.pool]
    return model.head(model.pool_norm(pooled)), every


def turned(model: Explained, vectors: Tensor, images: Tensor) -> Tensor:
    """Queries or keys (B, heads, N, d), each pair of each patch times e^(i angle) (arXiv:2508.10104)."""
    layout, base = model.backbone.embed.layout(images), model.config.backbone.rotary_base
    half = vectors.shape[-1] // 2
    pairs = torch.complex(vectors[..., :half], vectors[..., half:])  # (B, heads, N, d / 2)
    angles = torch.zeros(layout.tokens, half)
    for place in range(layout.patches):
        row, col = divmod(place, layout.cols)
        for pair in range(half):
            along, sides = (row, layout.rows) if pair < half // 2 else (col, layout.cols)
            centre = 2 * (along + 0.5) / sides - 1
            period = base ** (pair % (half // 2) / (half // 2))
            angles[layout.prefix + place, pair] = 2 * torch.pi * centre / period
    product = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([product.real, product.imag], dim=-1)


def offsets(table: Tensor, layout: Layout) -> Tensor:
    """(heads, N, N): the number of every two tokens' offset on the native grid (arXiv:2103.14030, eq. 4); of
    prefix tokens are the table's last three rows: to a patch, from one, and to another (arXiv:2106.08254)."""
    total = []
    for query in range(-layout.prefix, layout.patches):
        row, col = divmod(query, layout.cols)
        for key in range(-layout.prefix, layout.patches):
            to_row, to_col = divmod(key, layout.cols)
            if query < 0:
                place = -1 if key < 0 else -3
            elif key < 0:
                place = -2
            else:
                down, across = row - to_row + layout.rows - 1, col - to_col + layout.cols - 1
                place = down * (2 * layout.cols - 1) + across
            total.append(table[place])
    return torch.stack(total).T.reshape(-1, layout.tokens, layout.tokens)


def relevance_matrix(model: Explained, images: Tensor, index: int) -> Tensor:
    """R (B, N, N) of arXiv:2103.15679, eq. 5 and 6, from explicit attention and its own gradients."""
    logits, every = unfused(model, images)
    gradients = torch.autograd.grad(logits[:, index].sum(), every)
    total = torch.eye(every[0].shape[-1], dtype=images.dtype).expand(len(images), -1, -1)
    for weights, gradient in zip(every, gradients, strict=True):
        raised = (gradient * weights).clamp(min=0).mean(dim=1)
        total = total + raised @ total
    return total


def rollout_matrix(model: Explained, images: Tensor) -> Tensor:
    """(B, N, N) of arXiv:2005.00928: the product of (A + I) / 2 over the layers."""
    _, every = unfused(model, images)
    total = torch.eye(every[0].shape[-1], dtype=images.dtype).expand(len(images), -1, -1)
    for weights in every:
        layer = (weights.mean(dim=1) + torch.eye(weights.shape[-1], dtype=images.dtype)) / 2
        total = (layer / layer.sum(dim=2, keepdim=True)) @ total
    return total


def read(model: Explained, matrix: Tensor, images: Tensor) -> Tensor:
    """(B, N, N) -> (B, rows, cols): the class token's row, the mean of the patches' rows, or half of each; of
    DeiT half of the first row and half of the second."""
    layout = model.backbone.embed.layout(images)
    class_row, mean = matrix[:, 0], matrix[:, layout.prefix :].mean(dim=1)
    if isinstance(model, DeiT):
        row = (class_row + matrix[:, 1]) / 2
    else:
        row = {"class": class_row, "mean": mean, "class_mean": (class_row + mean) / 2}[model.config.pool]
    return row[:, layout.prefix :].reshape(-1, layout.rows, layout.cols)
