"""What every catalog entry promises. Each is built at its full depth and width where that is cheap, and
with its own structure at a small width where it is not: the name decides the structure, not the test."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.layers.attention import ScaledDotProduct
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.classifier import Classifier
from vitreous.models.config import ClassifierConfig

NAMES = catalog.names()


def small(name: str) -> ClassifierConfig:
    """The entry with its patch and heads, three blocks deep and 8 channels a head, on a 3 x 2 grid."""
    config = catalog.configure(name, classes=5)
    backbone = config.backbone
    width = 8 * backbone.heads
    size = (3 * backbone.patch, 2 * backbone.patch)
    encoder = replace(backbone.encoder, width=width, mlp_width=4 * width)
    return replace(config, backbone=replace(backbone, encoder=encoder, depth=3, image_size=size))


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Classifier:
    torch.manual_seed(0)
    return catalog.build(small(request.param)).eval()


def pictures(model: Classifier, count: int = 2, *, rows: int = 3, cols: int = 2) -> torch.Tensor:
    patch = model.config.backbone.patch
    return torch.randn(count, 3, rows * patch, cols * patch)


def test_shapes_at_the_native_size_and_off_it(model: Classifier) -> None:
    patch = model.config.backbone.patch
    assert model(pictures(model)).logits.shape == (2, 5)
    features = model.backbone(torch.randn(1, 3, 2 * patch + 1, 4 * patch))
    assert features.maps[0].shape == (1, model.backbone.channels[0], 3, 4)
    assert features.prefix.shape == (1, model.config.backbone.prefix, model.backbone.channels[0])
    assert model.backbone.strides == (patch,)


def test_a_picture_is_answered_alike_alone_and_in_a_batch(model: Classifier) -> None:
    images = pictures(model, 3)
    assert_close(model(images).logits[1:2], model(images[1:2]).logits, atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(model: Classifier) -> None:
    model.train()
    model(pictures(model)).logits.square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    # A key's bias shifts all scores of a query alike, so softmax cancels it; it is a third of qkv.bias.
    assert without == []


def test_config_survives_json_and_counts_the_model(model: Classifier) -> None:
    assert from_plain(ClassifierConfig, to_plain(model.config)) == model.config
    counted = account(model.config)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_recorded_attention_is_the_fused_one(model: Classifier) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(mix: ScaledDotProduct, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        queries, keys, values, bias = inputs
        seen.append((mix.weights(queries, keys, bias) @ values, output))

    handles = [
        module.register_forward_hook(record)
        for module in model.modules()
        if isinstance(module, ScaledDotProduct)
    ]
    with torch.no_grad():
        model(pictures(model))
    for handle in handles:
        handle.remove()
    assert len(seen) == 3
    for explicit, fused in seen:
        assert_close(explicit, fused, atol=1e-5, rtol=1e-5)


def test_weights_survive_a_save(model: Classifier, tmp_path: Path) -> None:
    prepare = Preprocess(size=model.config.backbone.image_size, shorter=None)
    save(tmp_path / "model", Checkpoint(model, prepare, tuple("abcde")))
    again = read(tmp_path / "model")
    assert again.classes == tuple("abcde")
    images = pictures(model)
    assert torch.equal(again.model(images).logits, model(images).logits)


def test_torch_export_gives_the_same_logits(model: Classifier) -> None:
    images = pictures(model)
    program = torch.export.export(model, (images,))
    assert_close(program.module()(images).logits, model(images).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("vit_tiny", "vit_ti_"))])
def test_full_size_runs(name: str) -> None:
    config = catalog.configure(name)
    with torch.no_grad():
        logits = catalog.build(config).eval()(torch.randn(1, 3, *config.backbone.image_size)).logits
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()
