"""Every parameter has a layer, the layers are those of the paper, and heads are told by name."""

import pytest

from vitreous.models import catalog
from vitreous.models.layering import heads_of, layer_of, top_layer

CLASSIFIERS = ("vit_tiny", "deit_tiny", "beit_tiny", "dinov2_tiny", "dinov3_tiny", "swin_tiny")
DETECTORS = ("detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny")
CONVOLUTIONS = ("resnet_18", "efficientnet_b0", "regnet_y_400mf")


@pytest.mark.parametrize("name", [*CLASSIFIERS, *CONVOLUTIONS, *DETECTORS, "mae_tiny", "simmim_swin_tiny"])
def test_every_layer_has_parameters_and_none_is_beyond(name: str) -> None:
    model = catalog.build(catalog.configure(name, classes=3 * (name not in ("mae_tiny", "simmim_swin_tiny"))))
    layers = [layer_of(parameter, model.config) for parameter, _ in model.named_parameters()]
    assert set(layers) == set(range(top_layer(model.config) + 1))


@pytest.mark.parametrize("name", [*CLASSIFIERS, *CONVOLUTIONS])
def test_heads_are_linear_and_have_the_classes(name: str) -> None:
    model = catalog.build(catalog.configure(name, classes=3))
    heads = heads_of(model.config)
    assert len(heads) == (2 if name == "deit_tiny" else 1)
    for head in heads:
        assert model.get_submodule(head).out_features == 3
        assert layer_of(f"{head}.weight", model.config) == top_layer(model.config)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "beit_b_16",
            {
                "backbone.embed.class_token": 0,
                "backbone.embed.patches.projection.weight": 0,
                "backbone.encoder.blocks.0.attention.bias.table": 1,
                "backbone.encoder.blocks.11.mlp_scale.scale": 12,
                "pool_norm.weight": 13,
                "head.bias": 13,
            },
        ),
        (
            "deit_s_16",
            {
                "backbone.embed.distillation_token": 0,
                "backbone.embed.positions.table": 0,
                "backbone.encoder.blocks.9.mlp.expand.weight": 10,
                "backbone.norm.bias": 13,
                "distillation_head.weight": 13,
            },
        ),
        (
            "swin_t",  # 2, 2, 6 and 2 blocks
            {
                "backbone.embed.norm.weight": 0,
                "backbone.stages.0.encoder.blocks.1.mlp_norm.weight": 2,
                "backbone.stages.1.merging.reduce.weight": 2,
                "backbone.stages.1.encoder.blocks.0.attention.attention.qkv.weight": 3,
                "backbone.stages.2.merging.norm.weight": 4,
                "backbone.stages.2.encoder.blocks.5.mlp.contract.bias": 10,
                "backbone.stages.3.merging.norm.bias": 10,
                "backbone.stages.3.encoder.blocks.1.attention.attention.bias.table": 12,
                "backbone.norm.weight": 13,
                "head.weight": 13,
            },
        ),
        (
            "resnet_50",
            {
                "network.conv1.weight": 0,
                "network.bn1.bias": 0,
                "network.layer1.2.conv3.weight": 1,
                "network.layer4.0.downsample.0.weight": 4,
                "network.fc.weight": 5,
            },
        ),
        (
            "efficientnet_b0",
            {
                "network.features.0.0.weight": 0,
                "network.features.7.0.block.0.0.weight": 7,
                "network.features.8.0.weight": 8,
                "network.classifier.1.weight": 8,
            },
        ),
        (
            "regnet_y_400mf",
            {
                "network.stem.0.weight": 0,
                "network.trunk_output.block2.block2-0.f.se.fc1.weight": 2,
                "network.fc.bias": 5,
            },
        ),
    ],
)
def test_the_layers_are_those_of_the_papers(name: str, layers: dict[str, int]) -> None:
    config = catalog.configure(name)
    assert {parameter: layer_of(parameter, config) for parameter in layers} == layers
