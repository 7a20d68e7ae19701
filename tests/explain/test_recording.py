import pytest
import torch
from torch import nn

from vitreous.errors import ConfigError
from vitreous.explain.recording import recording

from .by_hand import Explained, unfused
from .conftest import images_for, tiny


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_weights_times_values_are_the_fused_output(model: Explained) -> None:
    images = images_for(model)
    with torch.inference_mode(), recording(model) as record:
        model(images)
    assert len(record.layers) == 3
    for layer, recorded in enumerate(record.layers):
        weights = record.weights(layer)
        assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
        assert torch.allclose(weights @ recorded.values, recorded.output, atol=1e-5)
        assert recorded.layout == model.backbone.embed.layout(images)


def test_weights_are_those_of_explicit_attention(model: Explained) -> None:
    images = images_for(model)
    with recording(model) as record:
        fused = model(images).logits
    explicit, every = unfused(model, images)
    assert torch.allclose(fused, explicit, atol=1e-5)
    for layer, weights in enumerate(every):
        assert torch.allclose(record.weights(layer), weights, atol=1e-5)


def test_asked_rows_are_rows_of_the_whole() -> None:
    model = tiny(registers=2)
    with torch.inference_mode(), recording(model) as record:
        model(images_for(model))
    whole = record.weights(1)
    assert record.weights(1, slice(0, 1)).shape == (2, 4, 1, whole.shape[-1])
    assert torch.allclose(record.weights(1, slice(0, 1)), whole[:, :, :1], atol=1e-6)
    assert torch.allclose(record.weights(1, slice(3, None)), whole[:, :, 3:], atol=1e-6)


@pytest.mark.parametrize("bias_shape", [(1, 4, 19, 19), (1, 1, 1, 19), (19, 19)])
def test_a_bias_counts(bias_shape: tuple[int, ...]) -> None:
    class Bias(nn.Module):
        def forward(self, layout: object) -> torch.Tensor:
            return bias

    bias = torch.randn(bias_shape)
    model = tiny(registers=2)
    for block in model.backbone.encoder.blocks:
        block.attention.bias = Bias()
    with torch.inference_mode(), recording(model) as record:
        model(images_for(model))
    for recorded in record.layers:
        assert torch.allclose(recorded.weights() @ recorded.values, recorded.output, atol=1e-5)
        some = recorded.weights(slice(4, 9))
        assert torch.allclose(some, recorded.weights()[:, :, 4:9], atol=1e-6)


def test_a_learned_bias_counts_at_any_picture_size() -> None:
    model = tiny(name="beit_tiny")
    maps = []
    for scale in (1.0, 0.0):
        with torch.inference_mode(), recording(model) as record:
            for block in model.backbone.encoder.blocks:
                block.attention.bias.table.mul_(scale)
            model(torch.randn(2, 3, 48, 24, generator=torch.Generator().manual_seed(3)))
        for recorded in record.layers:
            assert recorded.bias is not None and recorded.bias.shape == (4, 19, 19)
            assert torch.allclose(recorded.weights() @ recorded.values, recorded.output, atol=1e-5)
        maps.append(record.weights(2))
    assert (maps[0] - maps[1]).abs().max() > 1e-2


@pytest.mark.parametrize("gradients", [False, True])
def test_nothing_in_the_model_changes(gradients: bool) -> None:
    model = tiny()
    images = images_for(model)
    before = model(images).logits
    with recording(model, gradients=gradients) as record:
        during = model(images).logits
        if gradients:
            record.output_gradients(during[:, 0].sum())
    assert torch.equal(during, before)
    assert torch.equal(model(images).logits, before)
    assert hooks_of(model) == 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_are_gone_after_an_error() -> None:
    model = tiny()
    with pytest.raises(RuntimeError, match="interrupted"), recording(model):
        assert hooks_of(model) > 0
        raise RuntimeError("interrupted")
    assert hooks_of(model) == 0


@pytest.mark.parametrize("frozen", [False, True])
def test_gradient_of_the_weights_is_autograds(frozen: bool) -> None:
    model = tiny().requires_grad_(not frozen)
    images = images_for(model)
    with recording(model, gradients=True) as record:
        gradients = record.output_gradients(model(images).logits[:, 2].sum())
    explicit = tiny()
    logits, every = unfused(explicit, images)
    wanted = torch.autograd.grad(logits[:, 2].sum(), every)
    for recorded, gradient, reference in zip(record.layers, gradients, wanted, strict=True):
        assert torch.allclose(recorded.weights_gradient(gradient), reference, atol=1e-5)
        some = recorded.weights_gradient(gradient, slice(1, 4))
        assert torch.allclose(some, reference[:, :, 1:4], atol=1e-5)


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="Sequential has no attention"), recording(nn.Sequential()):
        pass


def test_nothing_recorded_is_said() -> None:
    with recording(tiny()) as record, pytest.raises(ConfigError, match="nothing was recorded"):
        _ = record.layout
