"""Explanations of models that read their answer off the class token and the mean of the patches (DINOv2),
and of models whose queries and keys turn (DINOv3)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.explain.attention import attention_map, pool_of, reading, rollout
from vitreous.explain.explanation import METHODS, explain
from vitreous.explain.recording import recording
from vitreous.explain.saliency import relevance
from vitreous.layers.layout import Layout
from vitreous.predictor import Predictor

from .by_hand import relevance_matrix, rollout_matrix
from .conftest import images_for, tiny

MODELS: dict[str, dict[str, Any]] = {
    "DINOv2 with registers": {"name": "dinov2_tiny", "registers": 4},
    "DINOv3": {"name": "dinov3_tiny", "registers": 4},
}


@pytest.mark.parametrize("kind", MODELS)
def test_rollout_hands_the_whole_answer_on(kind: str) -> None:
    model = tiny(**MODELS[kind])
    images = images_for(model)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    layout = record.layout
    whole = rollout_matrix(model, images)  # (B, N, N)
    assert torch.allclose(whole.sum(2), torch.ones(()), atol=1e-5)
    rows = torch.einsum("n,bnm->bm", reading(layout, pool_of(model)), whole)  # (B, N)
    found = rollout(record, pool_of(model))
    assert torch.allclose(found.flatten(1), rows[:, layout.prefix :], atol=1e-5)
    # What is not on the map went to the class token and the registers.
    on_map = found.flatten(1).sum(1)
    assert torch.allclose(on_map, 1 - rows[:, : layout.prefix].sum(1), atol=1e-5)
    assert (on_map > 0).all() and (on_map < 1).all()


def test_half_of_the_answer_is_read_from_the_class_token() -> None:
    layout = Layout(3, 2, 2)
    assert reading(layout, "class_mean").tolist() == [0.5, 0, 0, 0.125, 0.125, 0.125, 0.125]


def test_a_head_that_looks_at_the_class_token_alone_is_explained_by_its_row_alone() -> None:
    model = tiny(name="dinov2_tiny", registers=2, depth=1)
    images = images_for(model)
    with torch.no_grad():
        model.head.weight[0, model.config.backbone.encoder.width :] = 0
    found = relevance(model, images, 0)
    first, *others = relevance_matrix(model, images, 0).unbind(1)  # (B, N) each
    prefix = model.backbone.embed.prefix
    assert torch.allclose(found.flatten(1), first[:, prefix:] / 2, atol=1e-6) and found.max() > 0
    identity = torch.eye(first.shape[1])[1:]
    assert torch.allclose(torch.stack(others, dim=1), identity, atol=1e-6)


def test_turning_matters_to_the_map() -> None:
    model = tiny(**MODELS["DINOv3"])
    images = images_for(model)
    maps = []
    for turns in (True, False):
        if not turns:
            for block in model.backbone.encoder.blocks:
                block.attention.rotary = None
        with torch.inference_mode(), recording(model) as record:
            model(images)
        maps.append(attention_map(record, 2, "class"))
    assert (maps[0] - maps[1]).abs().max() > 1e-3


@pytest.mark.parametrize("method", METHODS["classes"])
@pytest.mark.parametrize("kind", MODELS)
def test_from_a_picture_to_a_map(
    predictor: Callable[..., Predictor], cat: Image.Image, kind: str, method: str
) -> None:
    found = explain(predictor(**MODELS[kind]), cat, method)
    assert found.heat.shape == (cat.height, cat.width) and found.grid.shape == (4, 4)
    assert np.isfinite(found.heat).all() and found.heat.max() > 0


def test_what_was_cut_off_has_no_heat(predictor: Callable[..., Predictor], cat: Image.Image) -> None:
    whole = cat.crop((0, 0, 300, 300))
    made = predictor(shorter=None, image_size=(30, 30), cut_edges=True)
    found = explain(made, whole, "rollout")
    assert found.grid.shape == (3, 3)
    assert found.heat[:230, :230].min() > 0
    assert found.heat[260:].max() == 0 and found.heat[:, 260:].max() == 0
