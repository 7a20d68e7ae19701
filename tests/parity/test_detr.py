"""What DetrForObjectDetection's settings can say, what is refused, and its loss."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.case import compare
from tests.parity.cases_detr import (
    BACKBONES,
    CASES,
    detr_twin,
    dinov2,
    from_transformers,
    swin,
    timm_resnet,
    vitdet,
)
from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError

pytest.importorskip("transformers")

VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "the norm between layers": (vitdet, {"auxiliary_loss": True}),
    "another activation": (vitdet, {"activation_function": "gelu"}),
    "no encoder": (vitdet, {"encoder_layers": 0}),
    "no bias of queries": (vitdet, {"under": {"qkv_bias": False}}),
    "no last norm": (dinov2, {"under": {"apply_layernorm": False}}),
    "a gated MLP": (dinov2, {"under": {"use_swiglu_ffn": True}}),
    "windows larger than the maps": (swin, {"under": {"window_size": 12}}),
    "Swin's quick GELU": (swin, {"under": {"hidden_act": "quick_gelu", "qkv_bias": False}}),
    "bottlenecks": (BACKBONES["resnet"], {"under": {"layer_type": "bottleneck"}}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_there_and_back(tmp_path: Path, variant: str) -> None:
    backbone, values = VARIANTS[variant]
    twin = detr_twin(tmp_path / "theirs", backbone, **values)
    checkpoint = read_any(tmp_path / "theirs")
    assert compare(CASES[0], checkpoint.model, twin.forward, (64, 80)).relative < 1e-4
    write_any(tmp_path / "again", checkpoint, "transformers")
    _, forward = from_transformers(tmp_path / "again")
    assert compare(CASES[0], checkpoint.model, forward, (64, 80)).relative < 1e-4


def test_preprocessing_and_classes_come_along(tmp_path: Path) -> None:
    detr_twin(tmp_path, id2label={0: "N/A", 1: "cat", 2: "N/A"})
    checkpoint = read_any(tmp_path)
    assert checkpoint.classes == ("N/A (0)", "cat", "N/A (2)")
    assert (checkpoint.preprocess.shorter, checkpoint.preprocess.longest) == (64, 128)
    write_any(tmp_path / "again", checkpoint, "transformers")
    values = json.loads((tmp_path / "again" / "preprocessor_config.json").read_text())
    assert values["size"] == {"shortest_edge": 64, "longest_edge": 128}
    assert read_any(tmp_path / "again").preprocess == checkpoint.preprocess


def test_older_files_name_their_backbone_alone(tmp_path: Path) -> None:
    twin = detr_twin(tmp_path, timm_resnet)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["backbone_config"]
    (tmp_path / "config.json").write_text(json.dumps(values | {"backbone": "resnet18"}))
    assert compare(CASES[0], read_any(tmp_path).model, twin.forward, (64, 64)).relative < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"position_embedding_type": "learned"}, "position_embedding_type 'learned' is not read"),
        ({"activation_function": "silu"}, "activation_function 'silu' is not read"),
        ({"encoder_layers": 6}, "encoder_layers 6, but the weights have 2"),
        ({"decoder_attention_heads": 8}, "here both have the same"),
        ({"model_type": "conditional_detr"}, "only 'detr' is read"),
        ({"backbone_config": {"model_type": "pvt"}}, "model_type 'pvt' is not read under a DETR"),
        ({"backbone_config": 3}, "backbone_config: wanted an object"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    detr_twin(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_any(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("under", "reason"),
    [
        ({"window_block_indices": [0], "window_size": 2}, "1 blocks look through windows"),
        ({"use_relative_position_embeddings": True}, "a relative position"),
        ({"residual_block_indices": [1]}, "a residual block between others"),
        ({"out_features": ["stage1"]}, "only the last stage, stage2, is read"),
    ],
)
def test_other_plain_backbones_are_refused(tmp_path: Path, under: dict[str, Any], reason: str) -> None:
    detr_twin(tmp_path, under=under)
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path)


@pytest.mark.parametrize(
    ("under", "reason"),
    [
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps 1e-06; wanted 1e-05"),
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings is true"),
        ({"out_features": ["stage1"]}, "only the last stage, stage2, is read"),
    ],
)
def test_other_swins_are_refused(tmp_path: Path, under: dict[str, Any], reason: str) -> None:
    detr_twin(tmp_path, swin, under=under)
    with pytest.raises(CheckpointError, match=reason):
        read_any(tmp_path)


def test_a_mask_of_padding_does_what_theirs_does_where_the_backbone_sees_none(tmp_path: Path) -> None:
    from transformers.modeling_outputs import BackboneOutput

    twin = detr_twin(tmp_path)
    model = read_any(tmp_path).model
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 3, 64, 96, generator=generator)
    grid = torch.randn(2, 32, 4, 6, generator=generator)
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, 32:] = valid[1, :, 64:] = False
    seen = valid[:, ::16, ::16]
    theirs = twin.model.model.backbone.model
    theirs.forward = lambda *_, **__: BackboneOutput(feature_maps=(grid,))
    model.maps = lambda *_: (grid, seen)
    with torch.no_grad():
        told, ours = twin.model(images, pixel_mask=valid.long()), model(images, valid)
    assert torch.allclose(ours.logits, told.logits, atol=1e-4)
    assert torch.allclose(ours.boxes, told.pred_boxes, atol=1e-4)
