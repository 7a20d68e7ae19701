"""What every catalog entry promises. Each is built at its full depth and width where that is cheap, and
with its own structure at a small width where it is not: the name decides the structure, not the test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tests.checkpoints.make import same
from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.file import Checkpoint, read, save
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.layers.attention import ScaledDotProduct
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.config import (
    ConvNetConfig,
    DetrConfig,
    DVAEConfig,
    MAEConfig,
    ModelConfig,
    SegFormerConfig,
    UPerNetConfig,
    YolosConfig,
    family_of,
)
from vitreous.models.mae import MaskedAutoencoder
from vitreous.models.model import Model

# Of convolutional networks, which torchvision builds at their full width, one of each kind; ``test_convnet``
# counts the others.
SMALLEST = ("resnet_18", "efficientnet_b0", "regnet_y_400mf")
NAMES = tuple(
    name
    for name in catalog.names()
    if name in SMALLEST or not isinstance(catalog.CATALOG[name], ConvNetConfig)
)


def small(name: str) -> ModelConfig:
    """The entry with its patch and heads, three blocks deep and 8 channels a head, on a 3 x 2 grid."""
    config: Any = catalog.configure(name, classes=5)
    if isinstance(config, ConvNetConfig):
        return replace(config, image_size=(64, 32))
    if isinstance(config, DVAEConfig):
        size = (3 * config.stride, 2 * config.stride)
        return replace(config, codes=40, width=16, code_width=12, image_size=size)
    if isinstance(config, DetrConfig):
        sizes = {"encoder_depth": 1, "decoder_depth": 2, "mlp_width": 48, "queries": 6}
        config = replace(config, width=4 * config.heads, **sizes)
    if isinstance(config, YolosConfig):
        config = replace(config, queries=6)
    if isinstance(config, SegFormerConfig):
        config = replace(config, decoder_width=16)
    backbone = config.backbone
    if isinstance(backbone, ConvNetBackboneConfig):
        stages = len(backbone.widths)
        backbone = replace(
            backbone,
            widths=(16, 24, 32, 40)[:stages],
            depths=(2, 1, 1, 1)[:stages],
            stem_width=8,
            image_size=(64, 96),
        )
        return replace(config, backbone=backbone)
    if isinstance(backbone, MiTConfig):
        widths, depths = tuple(8 * heads for heads in backbone.heads), (1,) * len(backbone.depths)
        size = (3 * backbone.strides[-1], 2 * backbone.strides[-1])
        return replace(config, backbone=replace(backbone, widths=widths, depths=depths, image_size=size))
    if isinstance(backbone, SwinConfig):
        size = (6 * backbone.patch, 4 * backbone.patch)
        if isinstance(config, DetrConfig):  # one cell alone would ask nobody
            size = (24 * backbone.patch, 16 * backbone.patch)
        depths = (2, 2, 1, 1)[: len(backbone.depths)]
        sizes = {"width": 8 * backbone.heads[0], "depths": depths, "window": 3}
        return replace(config, backbone=replace(backbone, **sizes, image_size=size))
    width = 8 * backbone.heads
    size = (3 * backbone.patch, 2 * backbone.patch)
    encoder = replace(backbone.encoder, width=width, mlp_width=4 * width)
    backbone = replace(backbone, encoder=encoder, depth=3, image_size=size)
    if isinstance(config, UPerNetConfig):
        return replace(config, backbone=backbone, taps=(1, 2, 2, 3), auxiliary_width=8)
    config = replace(config, backbone=backbone)
    if isinstance(config, MAEConfig):
        config = replace(config, decoder_width=64, decoder_depth=2, decoder_mlp_width=128, mask_ratio=0.5)
    return config


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    return catalog.build(small(request.param)).eval()


def pictures(model: Model, count: int = 2, *, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *model.config.image_size, generator=generator)


def run(model: nn.Module, images: Tensor) -> Tensor:
    """The first field of what a model answers. A masked autoencoder is told what to hide."""
    if isinstance(model, MaskedAutoencoder):
        patches = model.embed_layout(images).patches
        noise = torch.linspace(0, 1, patches).flip(0).expand(len(images), -1)
        return model(images, noise).patches
    return model(images)[0]


def test_answers_at_the_native_size_and_off_it(model: Model) -> None:
    config = model.config
    height, width = config.image_size
    images = pictures(model)
    answer = run(model, images)
    if config.classes:
        queries = isinstance(config, DetrConfig | YolosConfig)  # tell one class more, that of no object
        assert (answer.shape[::2] if queries else answer.shape[:2]) == (2, 5 + queries)
    assert answer.isfinite().all()
    other = run(model, torch.randn(1, 3, height + 1, 2 * width))
    assert other.shape[0] == 1 and other.isfinite().all()


def test_features_keep_the_contract_of_backbones(model: Model) -> None:
    if isinstance(model.config, ConvNetConfig):
        pytest.skip("a network of torchvision, taken as it is")
    if isinstance(model.config, DVAEConfig):
        pytest.skip("a tokenizer, whose maps are no features of a backbone")
    backbone = model.backbone
    height, width = 130, 66
    features = backbone(torch.randn(1, 3, height, width))
    assert len(features.maps) == len(backbone.channels) == len(backbone.strides)
    for grid, channels, stride in zip(features.maps, backbone.channels, backbone.strides, strict=True):
        assert grid.shape == (1, channels, -(-height // stride), -(-width // stride))
    assert features.prefix.shape[::2] == (1, backbone.channels[-1])


def test_a_picture_is_answered_alike_alone_and_in_a_batch(model: Model) -> None:
    images = pictures(model, 3)
    assert_close(run(model, images)[1:2], run(model, images[1:2]), atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(model: Model) -> None:
    # Batch statistics want more than two pictures, and take away what a layer before them adds to all cells.
    if not isinstance(model.config, ConvNetConfig | SegFormerConfig):
        model.train()
    if isinstance(model.config, UPerNetConfig | DVAEConfig):
        answer = torch.cat([part.flatten() for part in model(pictures(model))])
    elif isinstance(model.config, DetrConfig | YolosConfig):
        logits, boxes, _ = model(pictures(model))
        answer = torch.cat([logits, boxes], dim=-1)
    elif model.config.classes or isinstance(model, MaskedAutoencoder):
        answer = run(model, pictures(model))
    else:
        grid = model.config.backbone.grid
        hidden = (torch.arange(grid[0] * grid[1]) % 2 == 0).expand(2, -1)
        answer = model(pictures(model), hidden)[0]
    answer.square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    # A key's bias shifts all scores of a query alike, so softmax cancels it; it is a third of qkv.bias.
    # A query of DETR holds nothing when the first layer of the decoder asks it.
    empty = ("transformer.decoder.0.attention.values.weight",) * isinstance(model.config, DetrConfig)
    assert set(without) <= set(empty)


def test_config_survives_json_and_counts_the_model(model: Model) -> None:
    assert from_plain(type(model.config), to_plain(model.config)) == model.config
    counted = account(model.config)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_recorded_attention_is_the_fused_one(model: Model) -> None:
    if isinstance(model.config, ConvNetConfig | DVAEConfig):
        pytest.skip("a network without attention")
    seen: list[tuple[Tensor, Tensor]] = []

    def record(mix: ScaledDotProduct, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        queries, keys, values, bias = inputs
        seen.append((mix.weights(queries, keys, bias) @ values, output))

    mixes = [module for module in model.modules() if isinstance(module, ScaledDotProduct)]
    handles = [module.register_forward_hook(record) for module in mixes]
    with torch.no_grad():
        run(model, pictures(model))
    for handle in handles:
        handle.remove()
    assert len(seen) == len(mixes) >= 3
    for explicit, fused in seen:
        assert_close(explicit, fused, atol=1e-5, rtol=1e-5)


def test_weights_survive_a_save(model: Model, tmp_path: Path) -> None:
    prepare = Preprocess(size=model.config.image_size, shorter=None)
    names = tuple("abcde") if model.config.classes else ()
    save(tmp_path / "model", Checkpoint(model, prepare, names))
    again = read(tmp_path / "model")
    assert again.classes == names
    assert family_of(again.model.config) == family_of(model.config)
    assert same(again.model, model)
    images = pictures(model)
    assert_close(run(again.model, images), run(model, images), atol=1e-6, rtol=1e-5)


def test_torch_export_gives_the_same_answer(model: Model) -> None:
    images = pictures(model)
    arguments: tuple[Tensor, ...] = (images,)
    if isinstance(model, MaskedAutoencoder):
        arguments += (torch.linspace(0, 1, model.embed_layout(images).patches).expand(2, -1),)
    program = torch.export.export(model, arguments)
    assert_close(program.module()(*arguments)[0], model(*arguments)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if "_tiny" in name or "_ti_" in name])
def test_full_size_runs(name: str) -> None:
    model = catalog.build(catalog.configure(name)).eval()
    with torch.no_grad():
        answer = run(model, pictures(model, 1))
    assert answer.isfinite().all()
    if model.config.classes:
        asked = isinstance(model.config, DetrConfig | YolosConfig)
        assert answer.shape[:2] == ((1, model.config.queries) if asked else (1, 1000))
