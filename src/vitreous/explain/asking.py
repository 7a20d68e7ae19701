"""What a query of YOLOS gathered from the patches, among which it stands.

There is one sequence and no decoder, so that the rule of self-attention alone is needed, arXiv:2103.15679,
eq. 5 and 6: relevance is the query's own row of R, as it is the class token's in a classifier.

Shapes: T prefix tokens of the ViT, then Q queries, then P = rows * cols patches; D width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vitreous.explain.explained import Told, within
from vitreous.explain.looking import Look, look, reading_of
from vitreous.explain.paths import self_attention
from vitreous.explain.recording import gradients_on, recording
from vitreous.layers.layout import Layout
from vitreous.models.yolos import Yolos

ATTENDS = "the attention from the object's query to the patches"


def look_at(model: Yolos, images: Tensor) -> Look:
    """One picture (1, C, H, W) looked at, with the tokens kept that the last attention was given: what
    becomes of patches after it nobody reads. They are normalised; ahead of that, gradient times activation
    is zero, since a norm does not see how long a token is."""
    return look(model, images, _attentions(model)[-1])


def relevance(model: Yolos, looked: Look, query: int, index: int) -> Told:
    """How much each patch spoke for the logit of class ``index`` in the answer of a query; zero or more."""
    with gradients_on():
        gradients = looked.gradients(looked.answer.logits[0, query, index])
    with gradients_on(), torch.no_grad():
        layout = looked.record.layout
        origin = looked.answer.logits.new_zeros(layout.tokens)
        origin[_place(model, query)] = 1
        flow = origin
        for attention in reversed(_attentions(model)):
            flow = self_attention(attention, looked.record, gradients.attention).before(flow)
        grid = _on_grid(flow - origin, layout)
    way = f"relevance (arXiv:2103.15679) of the query's token through all layers to {_patches(model)}"
    return Told(grid, model.backbone.strides[0], way)


def attention(model: Yolos, images: Tensor, layer: int | None) -> tuple[Tensor, int]:
    """(1, C, H, W) -> what queries attend to in one layer, (heads, Q, rows, cols), and which it was. What
    went to other tokens than patches is left out."""
    attentions = _attentions(model)
    number = within("layer", layer, len(attentions), default=len(attentions) - 1)
    first = _place(model, 0)
    with torch.inference_mode(), recording(model) as record:
        model(images)
        rows = record.of(attentions[number]).weights(slice(first, first + model.config.queries))[0]
    layout = record.layout
    patches = rows[..., layout.prefix :]  # (heads, Q, P)
    return patches.reshape(*patches.shape[:2], layout.rows, layout.cols), number


def gradient(model: Yolos, looked: Look, query: int, index: int) -> Told:
    """Gradient times activation of the patches that the last attention was given."""
    with gradients_on():
        gradients = looked.gradients(looked.answer.logits[0, query, index])
    layout = looked.record.layout
    grid, slope = (layout.split(tokens)[1] for tokens in (looked.maps[0], gradients.maps[0]))
    way = "gradient times activation (arXiv:2011.08891) of what the last attention was given"
    return Told(reading_of(grid, slope), model.backbone.strides[0], way)


def _attentions(model: Yolos) -> list[nn.Module]:
    blocks: Any = model.backbone.encoder.blocks
    return [block.attention for block in blocks]


def _place(model: Yolos, query: int) -> int:
    """Where a query's token stands."""
    return model.config.backbone.prefix + query


def _on_grid(tokens: Tensor, layout: Layout) -> Tensor:
    return tokens[layout.prefix :].reshape(layout.rows, layout.cols)


def _patches(model: Yolos) -> str:
    return f"patches, {model.backbone.strides[0]} pixels apart"
