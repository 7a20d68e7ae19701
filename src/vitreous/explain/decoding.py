"""What a query of DETR read from the cells of the map, and from which patches that came.

"Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers"
(arXiv:2103.15679): queries and cells are the two modalities. A decoder layer applies eq. 6 and 7 for what
queries ask one another, and eq. 10 for what they ask the cells; nothing flows from queries to cells. The
cells' own relevance, R^ii, does not change while queries read, so what is read of cells, Q x N, is gathered
first and one query's row carried back through R^ii at the end: through DETR's encoder and, unlike the paper,
on through the backbone where that has attention.

Shapes: Q queries; N = rows * cols cells of the last map.
"""

from typing import Any

import torch
from torch import Tensor

from vitreous.errors import ConfigError
from vitreous.explain.carrying import carried_back, raised
from vitreous.explain.explained import Told, within
from vitreous.explain.looking import Gradients, Look, gradient_map, look
from vitreous.explain.paths import path_of, self_attention
from vitreous.explain.recording import gradients_on, recording
from vitreous.models.detr import Detr

ATTENDS = "the decoder's attention from the object's query to the cells of the last map"


def look_at(model: Detr, images: Tensor) -> Look:
    """One picture (1, C, H, W) looked at, with the backbone's last map kept."""
    return look(model, images, model.project)


def relevance(model: Detr, looked: Look, query: int, index: int) -> Told:
    """How much each patch spoke for the logit of class ``index`` in the answer of a query; zero or more."""
    with gradients_on():
        gradients = looked.gradients(looked.answer.logits[0, query, index])
    with gradients_on(), torch.no_grad():
        read = queries_read(model, looked, gradients)[query]  # (N,)
        path = path_of(model, looked.size, looked.record, gradients.attention)
        prefix = path.layout.prefix
        layers: Any = model.transformer.encoder
        encoder = [
            self_attention(layer.attention, looked.record, gradients.attention, prefix) for layer in layers
        ]
        steps = [*path.layers, *encoder]
        grid = path.on_grid(carried_back(steps, {len(steps): path.reading(read)}))
    way = f"relevance (arXiv:2103.15679) carried back through decoder and encoder to {path.told}"
    return Told(grid, path.stride, way)


def queries_read(model: Detr, looked: Look, gradients: Gradients) -> Tensor:
    """(Q, N): what each query read of the encoded cells, all decoder layers together; eq. 6, 7, 9 and 10."""
    read = among = None
    layers: Any = model.transformer.decoder
    for layer in layers:
        asked, seen = (
            raised(looked.record.of(part), gradients.attention(part))[0]
            for part in (layer.attention, layer.cross_attention)
        )  # (Q, Q), (Q, N)
        if read is None or among is None:
            read, among = torch.zeros_like(seen), torch.eye(len(asked), dtype=seen.dtype, device=seen.device)
        among = among + asked @ among  # eq. 6
        read = read + asked @ read  # eq. 7
        read = read + normalised(among).T @ seen  # eq. 10
    if read is None:
        raise ConfigError("a DETR without a decoder cannot be explained")
    return read


def normalised(matrix: Tensor) -> Tensor:
    """R (Q, Q) -> the same with what was gathered weighing as much as what stayed; eq. 8 and 9."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    gathered = matrix - identity
    sums = gathered.sum(dim=1, keepdim=True)
    return gathered / sums.where(sums > 0, torch.ones_like(sums)) + identity


def attention(model: Detr, images: Tensor, layer: int | None) -> tuple[Tensor, int]:
    """(1, C, H, W) -> the cross-attention of one decoder layer, (heads, Q, rows, cols), and which it was. The
    weights of a head and query sum to 1."""
    layers: Any = model.transformer.decoder
    number = within("layer", layer, len(layers), default=len(layers) - 1)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    weights = record.of(layers[number].cross_attention).weights()[0]  # (heads, Q, N)
    rows, cols = model.config.map_at((images.shape[-2], images.shape[-1]))
    return weights.reshape(*weights.shape[:2], rows, cols), number


def gradient(model: Detr, looked: Look, query: int, index: int) -> Told:
    """Gradient times activation on the backbone's last map."""
    with gradients_on():
        gradients = looked.gradients(looked.answer.logits[0, query, index])
    way = "gradient times activation (arXiv:2011.08891) on the backbone's last map"
    return Told(gradient_map(looked, gradients), int(model.backbone.strides[-1]), way)
