"""Why an object of YOLOS: against the paper's matrices, autograd's own gradients, and a query that sees one
patch."""

import pytest
import torch

from vitreous.explain import asking
from vitreous.explain.objects import (
    attention_of,
    look_for_objects,
    object_gradient,
    object_relevance,
    query_attention,
)
from vitreous.explain.recording import recording

from .dense_models import dense, picture_of
from .matrices import explicit, spoke


@pytest.mark.parametrize("between", [False, True])
def test_relevance_is_the_querys_row_of_the_papers_matrix(between: bool) -> None:
    model = dense("yolos_tiny", positions_between=between)
    images = picture_of(model)
    with explicit() as every:
        score = model(images).logits[0, 3, 2]
    prefix = model.config.prefix
    matrix = torch.eye(prefix + 64)
    for block in model.backbone.encoder.blocks:
        matrix = matrix + spoke(every, block, score)[0] @ matrix
    wanted = matrix[model.config.backbone.prefix + 3, prefix:].reshape(8, 8)
    found = object_relevance(model, look_for_objects(model, images), 3, 2)
    assert wanted.max() > 0 and found.stride == 8
    assert torch.allclose(found.grid, wanted, rtol=1e-3, atol=1e-4 * float(wanted.max()))


def test_attention_is_the_querys_own_row() -> None:
    model = dense("yolos_tiny")
    images = picture_of(model)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    first, prefix = model.config.backbone.prefix, model.config.prefix
    for asked, layer in ((None, 3), (1, 1)):
        weights, number = query_attention(model, images, asked)
        assert number == layer
        wanted = record.weights(layer)[0, :, first : first + 16, prefix:].reshape(4, 16, 8, 8)
        assert torch.allclose(weights, wanted, atol=1e-6)
    assert torch.allclose(attention_of(model, weights, 5).grid, wanted[:, 5].mean(0))
    assert torch.allclose(attention_of(model, weights, 5, head=2).grid, wanted[2, 5])


def test_gradient_times_activation_is_how_fast_the_logit_grows_with_the_patches() -> None:
    model = dense("yolos_tiny").double()
    images = picture_of(model).double()
    looked = asking.look_at(model, images)
    found = object_gradient(model, looked, 3, 2)
    gradients = looked.gradients(looked.answer.logits[0, 3, 2])
    counted = (looked.maps[0] * gradients.maps[0]).sum(-1)[0, model.config.prefix :].detach()
    assert torch.allclose(found.grid, counted.clamp(min=0).reshape(8, 8))
    attention = model.backbone.encoder.blocks[-1].attention
    for patch in (0, 17, 63):
        scores = []
        for scale in (1 + 1e-5, 1 - 1e-5):

            def grown(
                _: object, inputs: tuple[torch.Tensor, ...], scale: float = scale, patch: int = patch
            ) -> object:
                tokens = inputs[0].clone()
                tokens[:, model.config.prefix + patch] *= scale
                return (tokens, *inputs[1:])

            handle = attention.register_forward_pre_hook(grown)
            with torch.no_grad():
                scores.append(float(model(images).logits[0, 3, 2]))
            handle.remove()
        assert float(counted[patch]) == pytest.approx((scores[0] - scores[1]) / 2e-5, rel=1e-3, abs=1e-8)


def test_the_heat_of_a_query_that_sees_one_patch_peaks_there() -> None:
    """Attention that knows nothing but one patch's key, in the last layer; none of it in those before."""
    model = dense("yolos_tiny", heads=1)
    images = picture_of(model)
    cell = model.config.prefix + 27
    given = asking.look_at(model, images).maps[0][0].detach()
    with torch.no_grad():
        for block in model.backbone.encoder.blocks[:-1]:
            block.attention.projection.weight.zero_()
        given = asking.look_at(model, images).maps[0][0].detach()
        wanted = torch.zeros(len(given), 1).index_fill(0, torch.tensor([cell]), 1.0)
        last = model.backbone.encoder.blocks[-1].attention
        wide = given.shape[1]
        last.qkv.weight[: 2 * wide] = 0
        last.qkv.bias[: 2 * wide] = 0
        last.qkv.weight[wide] = torch.linalg.lstsq(given, wanted).solution[:, 0]
        last.qkv.bias[0] = 30 * wide**0.5
    weights, _ = query_attention(model, images)
    assert int(weights[0, 3].argmax()) == 27 and float(weights[0, 3].max()) > 0.99
    looked = look_for_objects(model, images)
    grids = [object_relevance(model, looked, 3, index).grid for index in range(5)]
    peaks = {int(grid.argmax()) for grid in grids if float(grid.max()) > 1e-6}
    assert peaks == {27}
