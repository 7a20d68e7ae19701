"""The files of DETR's and SegFormer's authors: read whole under the names they publish, refused by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.checkpoints.make import same
from tests.parity.authors import detr_state, save, segformer_state
from tests.parity.twins import randomise
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError
from vitreous.models.catalog import build, configure
from vitreous.models.config import ClassifierConfig, ModelConfig
from vitreous.models.sizes import MIT_WIDTHS


def drawn(config: ModelConfig) -> nn.Module:
    """A random value in every tensor and running statistic."""
    model = randomise(build(config))
    with torch.no_grad():
        for key, value in model.named_buffers():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape) + (0.5 if key.endswith("var") else 0.0))
    return model


def detr(classes: int = 3, **changes: Any) -> Any:
    """A narrow DETR on a narrow ResNet, frozen as published ones."""
    config: Any = configure("detr_resnet_tiny", classes=classes)
    usual = {
        "widths": (16, 24),
        "depths": (2, 1),
        "stem_width": 8,
        "norm": "frozen",
        "image_size": (800, 800),
    }
    backbone = ConvNetBackboneConfig(**usual | {"bottleneck": False} | changes)
    sizes = {"width": 32, "encoder_depth": 2, "decoder_depth": 2, "mlp_width": 48, "dropout": 0.1}
    return replace(config, backbone=backbone, queries=7, **sizes)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_detr_of_its_authors_is_read_bit_for_bit(tmp_path: Path, bottleneck: bool) -> None:
    model = drawn(detr(bottleneck=bottleneck, depths=(2, 3)))
    found = read_any(save(tmp_path / "detr.pth", detr_state(model), "model"), name="detr_resnet_tiny")
    assert found.model.config == model.config and same(found.model, model)
    assert (found.preprocess.shorter, found.preprocess.longest) == (800, 1333)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_close(found.model(images).boxes, model(images).boxes)
    assert "a last stage that is not dilated" in found.lineage["assumed"]


def test_the_published_detr_has_these_names() -> None:
    """The largest kinds of tensors of detr-r50, by the names of models/detr.py and torch's own attention."""
    with torch.device("meta"):
        state = detr_state(build(configure("detr_resnet_50", classes=91)))
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    known = {
        "transformer.encoder.layers.5.self_attn.in_proj_weight": (768, 256),
        "transformer.encoder.layers.0.self_attn.out_proj.bias": (256,),
        "transformer.encoder.layers.0.norm2.weight": (256,),
        "transformer.decoder.layers.5.multihead_attn.in_proj_bias": (768,),
        "transformer.decoder.layers.0.linear1.weight": (2048, 256),
        "transformer.decoder.layers.0.norm3.weight": (256,),
        "transformer.decoder.norm.weight": (256,),
        "class_embed.weight": (92, 256),
        "bbox_embed.layers.2.weight": (4, 256),
        "query_embed.weight": (100, 256),
        "input_proj.weight": (256, 2048, 1, 1),
        "backbone.0.body.conv1.weight": (64, 3, 7, 7),
        "backbone.0.body.bn1.running_var": (64,),
        "backbone.0.body.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.0.body.layer4.2.conv3.weight": (2048, 512, 1, 1),
        "backbone.0.body.layer4.2.bn3.running_mean": (2048,),
    }
    assert {key: shapes.get(key) for key in known} == known
    body = [key for key in shapes if not key.startswith("backbone")]
    assert len(body) == 2 + 1 + 2 + 2 + 6 + 6 * 12 + 6 * 18  # as many as the authors' modules have


def test_classes_of_coco_have_its_names(tmp_path: Path) -> None:
    model = drawn(detr(classes=91))
    found = read_any(save(tmp_path / "detr.pth", detr_state(model), "model"), name="detr_resnet_tiny")
    assert len(set(found.classes)) == 91
    assert (found.classes[0], found.classes[1], found.classes[17]) == ("N/A (0)", "person", "cat")
    assert (found.classes[12], found.classes[90]) == ("N/A (12)", "toothbrush")


@pytest.mark.parametrize(
    ("more", "less", "name", "reason"),
    [
        ("bbox_attention.q_linear.weight", "", None, "a head of masks"),
        ("transformer.level_embed", "", None, "Deformable DETR"),
        ("transformer.encoder.norm.weight", "", None, "a norm ahead of each layer"),
        ("", "", None, "number of heads of width 32 is not in the file"),
        ("", "", "vit_tiny", "holds a DETR, which vit_tiny is not"),
        ("strange.weight", "", "detr_resnet_tiny", "1 tensors .* does not explain: strange.weight"),
        ("", "backbone.0.body.conv1.weight", "detr_resnet_tiny", "stands on no ResNet"),
        ("", "class_embed.bias", "detr_resnet_tiny", "class_embed.bias"),
    ],
)
def test_relatives_of_detr_are_refused(
    tmp_path: Path, more: str, less: str, name: str | None, reason: str
) -> None:
    state = detr_state(drawn(detr()))
    state |= {more: torch.zeros(3, 3)} if more else {}
    state.pop(less, None)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(save(tmp_path / "detr.pth", state, "model"), name=name)
    assert "\n" not in str(caught.value)


def segformer(name: str = "segformer_tiny", classes: int = 3) -> Any:
    """As the authors' code would build it: two epsilons."""
    config: Any = configure(name, classes=classes)
    return replace(config, backbone=replace(config.backbone, norm_eps=1e-6, merge_eps=1e-5))


def test_a_segformer_of_its_authors_is_read_bit_for_bit(tmp_path: Path) -> None:
    model = drawn(segformer())
    state = segformer_state(model)
    state |= {
        "decode_head.conv_seg.weight": torch.zeros(3, 96, 1, 1),
        "decode_head.conv_seg.bias": torch.zeros(3),
    }
    found = read_any(save(tmp_path / "b0.pth", state, "state_dict"), name="segformer_tiny")
    assert found.model.config == replace(model.config, decoder_dropout=0.1)
    assert same(found.model, model)
    assert found.classes == ("class 0", "class 1", "class 2")
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_close(found.model(images).logits, model(images).logits)


def test_an_encoder_of_its_authors_is_a_classifier(tmp_path: Path) -> None:
    tiny: Any = segformer()
    model = drawn(
        ClassifierConfig(
            backbone=replace(tiny.backbone, widths=(8, 16, 40, 64), heads=(1, 2, 5, 8)),
            pool="mean",
            classes=4,
        )
    )
    state = segformer_state(model, "")
    with pytest.raises(CheckpointError, match="heads of widths 8, 16, 40, 64 is not in the file; give name="):
        read_any(save(tmp_path / "mit.pth", state, "state_dict"))
    real = ClassifierConfig(
        backbone=replace(
            tiny.backbone,
            widths=(32, 64, 160, 256),
            heads=(1, 2, 5, 8),
            depths=(1, 1, 1, 1),
            reductions=(8, 4, 2, 1),
            kernels=(7, 3, 3, 3),
            steps=(4, 2, 2, 2),
            image_size=(224, 224),
            drop_path=0.1,
        ),
        pool="mean",
        classes=4,
    )
    model = drawn(real)
    found = read_any(save(tmp_path / "mit.pth", segformer_state(model, ""), "state_dict"))
    assert found.model.config == real and same(found.model, model)
    assert (found.preprocess.size, found.preprocess.shorter) == ((224, 224), 256)
    assert "heads" in found.lineage["assumed"]


def test_the_published_segformer_has_these_names() -> None:
    with torch.device("meta"):
        state = segformer_state(build(configure("segformer_b2")))
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    wide = MIT_WIDTHS
    known = {
        "backbone.patch_embed1.proj.weight": (wide[0], 3, 7, 7),
        "backbone.patch_embed4.norm.bias": (wide[3],),
        "backbone.block1.0.attn.q.weight": (wide[0], wide[0]),
        "backbone.block1.2.attn.kv.weight": (2 * wide[0], wide[0]),
        "backbone.block2.3.attn.sr.weight": (wide[1], wide[1], 4, 4),
        "backbone.block2.3.attn.norm.weight": (wide[1],),
        "backbone.block4.0.attn.q.bias": (wide[3],),
        "backbone.block4.0.attn.kv.bias": (2 * wide[3],),
        "backbone.block3.5.mlp.dwconv.dwconv.weight": (4 * wide[2], 1, 3, 3),
        "backbone.block3.5.mlp.fc2.weight": (wide[2], 4 * wide[2]),
        "backbone.norm4.weight": (wide[3],),
        "decode_head.linear_c4.proj.weight": (768, wide[3]),
        "decode_head.linear_c1.proj.weight": (768, wide[0]),
        "decode_head.linear_fuse.conv.weight": (768, 4 * 768, 1, 1),
        "decode_head.linear_fuse.bn.running_var": (768,),
        "decode_head.linear_pred.weight": (1000, 768, 1, 1),
    }
    assert {key: shapes.get(key) for key in known} == known


@pytest.mark.parametrize(
    ("more", "name", "reason"),
    [
        ("backbone.pos_embed1", None, r"a table of positions \(PVT\)"),
        ("auxiliary_head.conv_seg.weight", None, "an auxiliary head"),
        ("", "mit_b0", "holds a model of family 'segformer', but mit_b0 is 'mit'"),
        ("", "segformer_b0", "widths 32, 64, 128, 192, which segformer_b0 is not"),
        ("", "segformer_vit_tiny", "which segformer_vit_tiny is not"),
        ("strange.weight", "segformer_tiny", "1 tensors .* does not explain: strange.weight"),
    ],
)
def test_relatives_of_segformer_are_refused(tmp_path: Path, more: str, name: str | None, reason: str) -> None:
    state = segformer_state(drawn(segformer()))
    state |= {more: torch.zeros(3, 3)} if more else {}
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(save(tmp_path / "b0.pth", state, "state_dict"), name=name)
    assert "\n" not in str(caught.value)
