"""Adapters change nothing at first, add what the paper says, and are merged without a trace."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vitreous.errors import ConfigError
from vitreous.layers.attention import Attention
from vitreous.layers.lora import AdaptedLinear, adapted_layers, inject, linear_layers, merge
from vitreous.layers.mlp import SwiGLU
from vitreous.models import catalog

FAMILIES = ("vit_tiny", "deit_tiny", "beit_tiny", "dinov2_tiny", "dinov3_tiny", "swin_tiny")


def moved(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with a random value in every adapter's up matrix."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.up.copy_(torch.randn(layer.up.shape, generator=generator, dtype=layer.up.dtype))
    return model


def adapted(name: str, rank: int = 4) -> nn.Module:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name, classes=3)).double().eval()
    inject(model, [layer for layer in linear_layers(model) if "head" not in layer], rank, 8.0)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_changes_nothing_until_it_has_learnt(name: str) -> None:
    model = adapted(name)
    plain = catalog.build(model.config).double().eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k in plain.state_dict()})
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(model(images).logits, plain(images).logits)
        assert not torch.equal(moved(model)(images).logits, plain(images).logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_merged_model_is_plain_and_answers_the_same(name: str) -> None:
    model = moved(adapted(name))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    merged = merge(deepcopy(model))
    assert not adapted_layers(merged)
    with torch.no_grad():
        wanted, found = model(images).logits, merged(images).logits
    assert (found - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    catalog.build(model.config).double().load_state_dict(merged.state_dict())  # strict


@settings(max_examples=30, deadline=None)
@given(
    fused=st.integers(1, 3),
    rank=st.integers(1, 4),
    given_=st.integers(5, 9),
    each=st.integers(5, 9),
    alpha=st.floats(0.1, 50),
    bias=st.booleans(),
)
def test_each_part_of_a_layer_has_a_pair_of_its_own(
    fused: int, rank: int, given_: int, each: int, alpha: float, bias: bool
) -> None:
    layer = nn.Linear(given_, fused * each, bias=bias, dtype=torch.float64)
    found = moved(AdaptedLinear(layer, rank, alpha, fused))
    tokens = torch.randn(2, 3, given_, dtype=torch.float64)
    parts = [alpha / rank * found.up[part] @ found.down[part] for part in range(fused)]
    wanted = layer(tokens) + tokens @ torch.cat(parts).T
    assert torch.allclose(found(tokens), wanted, rtol=1e-11, atol=1e-11)
    assert torch.allclose(found.merged(), layer.weight + torch.cat(parts), rtol=1e-12, atol=1e-12)
    assert sum(part.numel() for part in (found.down, found.up)) == fused * rank * (given_ + each)


def test_queries_keys_and_values_have_three_pairs_and_gates_two() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.mlp = Attention(8, 2), SwiGLU(8, 16)

    model = Holder()
    inject(model, list(linear_layers(model)), 2, 4.0)
    assert {name: layer.fused for name, layer in adapted_layers(model).items()} == {
        "attention.qkv": 3,
        "attention.projection": 1,
        "mlp.expand": 2,
        "mlp.contract": 1,
    }
    # What a query's adapter is told does not reach the keys' and the values'.
    tokens = torch.randn(1, 4, 8)
    moved(model)
    model.attention.qkv(tokens).chunk(3, dim=2)[0].sum().backward()
    up = model.attention.qkv.up.grad
    assert up[0].any()
    assert not up[1:].any()
    assert not model.attention.qkv.down.grad[1:].any()


def test_names_and_tensors_of_the_layer_stay() -> None:
    layer = nn.Linear(6, 5)
    found = AdaptedLinear(layer, 2, 2.0)
    assert found.weight is layer.weight
    assert found.bias is layer.bias
    assert list(found.state_dict()) == ["weight", "bias", "down", "up"]
    assert not found.up.any()
    assert found.down.any()
    assert "rank=2, alpha=2" in repr(found)


def test_the_first_matrix_is_drawn_as_loud_as_the_tokens() -> None:
    torch.manual_seed(0)
    found = AdaptedLinear(nn.Linear(256, 256), 64, 64.0)
    hidden = torch.randn(1000, 256) @ found.down[0].T
    assert hidden.std().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "rank", "said"),
    [
        ("backbone.norm", 2, "backbone.norm is no linear layer"),
        ("backbone.nowhere", 2, "backbone.nowhere is no linear layer"),
        ("backbone.encoder.blocks.0.attention.qkv", 64, "whose smaller side is 64; wanted from 1 to 63"),
        ("backbone.encoder.blocks.0.attention.qkv", 0, "a rank of 0"),
    ],
)
def test_what_cannot_be_adapted_is_refused(name: str, rank: int, said: str) -> None:
    model = catalog.build(catalog.configure("vit_tiny", classes=3, options={"width": 64, "heads": 4}))
    with pytest.raises(ConfigError, match=said):
        inject(model, [name], rank, 1.0)


def test_no_layer_is_adapted_twice() -> None:
    model = adapted("vit_tiny")
    with pytest.raises(ConfigError, match="no linear layer without an adapter"):
        inject(model, list(adapted_layers(model))[:1], 2, 1.0)
