import pytest
import torch
from torch import Tensor, nn

from vitreous.explain import attention
from vitreous.explain.attention import attention_map, pool_of, rollout
from vitreous.explain.recording import Record, Recorded, recording
from vitreous.layers.attention import ScaledDotProduct
from vitreous.layers.layout import Layout

from .by_hand import Explained, read, rollout_matrix, unfused
from .conftest import images_for, tiny


def recorded_from(weights: Tensor) -> Recorded:
    """A call whose softmax comes out as the given (1, heads, N, N): keys are unit vectors."""
    count = weights.shape[-1]
    keys = torch.eye(count).expand(weights.shape)
    queries = weights.log() * count**0.5
    output = ScaledDotProduct()(queries, keys, keys)
    return Recorded(queries, keys, keys, None, output, Layout(1, 1, 2))


def test_rollout_of_two_layers_checked_by_hand() -> None:
    # One class token, two patches, two heads in the first layer and two in the second. Their means:
    #   A1 = [[.2 .4 .4] [.1 .8 .1] [0 .5 .5]]      A2 = [[.6 .4 0] [.2 .2 .6] [.5 .25 .25]]
    # With the residual: B = (A + I) / 2, whose rows sum to 1.
    #   B1 = [[.6 .2 .2] [.05 .9 .05] [0 .25 .75]]  row 0 of B2 = [.8 .2 0]
    # Row 0 of B2 B1 = .8 * [.6 .2 .2] + .2 * [.05 .9 .05] = [.49 .34 .17]
    first = torch.tensor(
        [
            [[0.3, 0.3, 0.4], [0.2, 0.7, 0.1], [1e-9, 0.4, 0.6]],
            [[0.1, 0.5, 0.4], [1e-9, 0.9, 0.1], [1e-9, 0.6, 0.4]],
        ]
    )
    second = torch.tensor(
        [
            [[0.5, 0.5, 1e-9], [0.1, 0.3, 0.6], [0.4, 0.3, 0.3]],
            [[0.7, 0.3, 1e-9], [0.3, 0.1, 0.6], [0.6, 0.2, 0.2]],
        ]
    )
    record = Record([recorded_from(first[None]), recorded_from(second[None])])
    flow = rollout(record, "class")
    assert torch.allclose(flow, torch.tensor([[[0.34, 0.17]]]), atol=1e-6)


def test_rollout_is_the_product_of_matrices(model: Explained) -> None:
    images = images_for(model)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    wanted = read(model, rollout_matrix(model, images), images)
    assert torch.allclose(rollout(record, pool_of(model)), wanted, atol=1e-5)


def test_rows_in_pieces_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    with torch.inference_mode(), recording(model) as record:
        model(images_for(model))
    whole = rollout(record, "mean")
    monkeypatch.setattr(attention, "ROWS_AT_ONCE", 5)
    assert torch.allclose(rollout(record, "mean"), whole, atol=1e-6)


def test_raw_attention_is_the_readings_row(model: Explained) -> None:
    images = images_for(model)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    _, every = unfused(model, images)
    for layer, weights in enumerate(every):
        heads = attention_map(record, layer, pool_of(model))
        for head in range(4):
            wanted = read(model, weights[:, head], images)
            assert torch.allclose(heads[:, head], wanted, atol=1e-5)


def test_class_token_maps_ask_for_one_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def watched(queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        asked.append(queries.shape[2])
        return original(queries, keys, bias)

    model = tiny()
    with torch.inference_mode(), recording(model) as record:
        model(images_for(model))
    original = ScaledDotProduct.weights
    monkeypatch.setattr(ScaledDotProduct, "weights", staticmethod(watched))
    attention_map(record, 2, "class")
    assert asked == [1]


def test_uniform_attention_stays_uniform() -> None:
    model = tiny()
    for block in model.backbone.encoder.blocks:
        nn.init.zeros_(block.attention.qkv.weight)
        nn.init.zeros_(block.attention.qkv.bias)
    with torch.inference_mode(), recording(model) as record:
        model(images_for(model))
    flow = rollout(record, "class")
    assert torch.allclose(flow, flow.flatten(1).mean(1)[:, None, None], atol=1e-6)
