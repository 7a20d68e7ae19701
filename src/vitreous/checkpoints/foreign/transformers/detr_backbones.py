"""The backbones that transformers puts under a DETR, read and written: residual networks, Swin, VitDet and
DINOv2. Names are those on disk, ahead of which the model's own stand.

VitDet's windows, relative positions and residual blocks have no place here, and are refused; its table of
positions has a row for a class token that nothing sees, which is written as zeros.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import EncoderConfig, SwinConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.foreign.fields import flag, number
from vitreous.checkpoints.foreign.names import CLASS_TOKEN, NORM, PATCHES, POSITIONS, Names, layer, prefixed
from vitreous.checkpoints.foreign.plan import (
    Shapes,
    missing_biases,
    patch_kernel,
    refuse,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers import dinov2
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    refuse_patch,
    stated_activation,
    stated_blocks,
)
from vitreous.checkpoints.foreign.transformers.detr_parts import (
    BASE,
    Finish,
    ReadBackbone,
    WrittenBackbone,
    last_stage,
    refuse_middle,
)
from vitreous.checkpoints.foreign.transformers.detr_residual import read_resnet, read_timm, write_residual
from vitreous.checkpoints.foreign.transformers.detr_swin import read_swin, swin_reasons, write_swin
from vitreous.checkpoints.foreign.writing import NORMS
from vitreous.errors import CheckpointError
from vitreous.models.config import ClassifierConfig, DetrConfig

VITDET = Names(
    outside={
        **layer(PATCHES, "embeddings.projection"),
        POSITIONS: ("embeddings.position_embeddings",),
    },
    block="encoder.layer.{}",
    inside={
        **layer("attention_norm", "norm1"),
        **layer("attention.qkv", "attention.qkv"),
        **layer("attention.projection", "attention.proj"),
        **layer("mlp_norm", "norm2"),
        **layer("mlp.expand", "mlp.fc1"),
        **layer("mlp.contract", "mlp.fc2"),
    },
)
NOT_PLAIN = {
    "attention.rel_pos_": "a relative position",
    "residual.conv1": "a residual block between others",
}


def read_backbone(shapes: Shapes, values: Mapping[str, Any], name: str) -> ReadBackbone:
    """What ``config.json`` says of the backbone, held to the shapes.

    Raises:
        CheckpointError: a backbone of another kind, or one that does not fit the weights.
        ConfigError: values of which none can be made.
    """
    where = f"{name}/config.json: backbone_config"
    told = values.get("backbone_config")
    if told is None:  # as files say it that are older than backbone_config
        told = {"model_type": "timm_backbone", "backbone": values.get("backbone") or "resnet50"}
        if flag(values.get("dilation", False), f"{name}/config.json: dilation"):
            told["output_stride"] = 16
    if not isinstance(told, dict):
        raise CheckpointError(f"{where}: wanted an object, got {told!r}")
    kind = told.get("model_type")
    if kind == "timm_backbone":
        return read_timm(shapes, told, where)
    if kind == "resnet":
        return read_resnet(shapes, told, where)
    if kind == "swin":
        return read_swin(shapes, told, name, where)
    if kind == "vitdet":
        return _vitdet(shapes, told, name, where)
    if kind in dinov2.CLASSES:
        return _dinov2(shapes, told, name, where)
    known = ", ".join(("resnet", "timm_backbone", "swin", "vitdet", *dinov2.CLASSES))
    raise CheckpointError(f"{where}: model_type {kind!r} is not read under a DETR; wanted one of {known}")


def write_backbone(config: DetrConfig) -> WrittenBackbone:
    """How a backbone is written, for which ``reasons`` says nothing."""
    backbone = config.backbone
    if isinstance(backbone, ConvNetBackboneConfig):
        return write_residual(backbone)
    if isinstance(backbone, SwinConfig):
        return write_swin(backbone)
    vit = config.vit
    if vit.class_token:
        values: dict[str, Any] = dinov2.backbone_values(vit) | {"apply_layernorm": vit.final_norm}
        values |= {"reshape_hidden_states": True, "use_mask_token": True}
        table = prefixed(dinov2.table_of(vit, ""), BASE)
        mask = BASE + dinov2.MASK_NAME
        return WrittenBackbone(
            values | last_stage(vit.depth), table | {mask: (mask,)}, _for_dinov2(vit, mask)
        )
    encoder = vit.encoder
    side = vit.image_size[0] // vit.patch * vit.patch
    values = {
        "model_type": "vitdet",
        "hidden_size": encoder.width,
        "num_hidden_layers": vit.depth,
        "num_attention_heads": vit.heads,
        "mlp_ratio": encoder.mlp_width // encoder.width,
        "hidden_act": ACTIVATION_NAMES[encoder.activation],
        "layer_norm_eps": encoder.norm_eps,
        "image_size": side,
        "pretrain_image_size": side,
        "patch_size": vit.patch,
        "num_channels": vit.channels,
        "qkv_bias": True,
        "drop_path_rate": encoder.drop_path,
        "use_absolute_position_embeddings": True,
        "use_relative_position_embeddings": False,
        "window_block_indices": [],
        "residual_block_indices": [],
    }
    return WrittenBackbone(
        values | last_stage(vit.depth), prefixed(VITDET.table(vit.depth), BASE), _with_class_row
    )


def backbone_reasons(config: DetrConfig) -> list[str]:
    """Why the library has no place for a backbone; empty where it has."""
    backbone = config.backbone
    if isinstance(backbone, ConvNetBackboneConfig):
        return ["the last stage of its backbone is dilated"] if backbone.dilated else []
    if isinstance(backbone, SwinConfig):
        return swin_reasons(config)
    if backbone.class_token:
        found = dinov2.LIMITS.reasons(_as_classifier(backbone))
        return [reason for reason in found if reason != NORMS["none"]]
    encoder = backbone.encoder
    height, width = backbone.image_size
    checks = {
        "its backbone normalises at the end, and has no class token": backbone.final_norm,
        "its backbone has register tokens and no class token": bool(backbone.registers),
        "its backbone has LayerScale and no class token": encoder.layer_scale is not None,
        "the MLP of its backbone is gated, and there is no class token": encoder.mlp != "plain",
        "its backbone has a convolutional stem": backbone.stem != "linear",
        f"the attention of its backbone is {backbone.attention}": backbone.attention != "plain",
        f"its backbone has {backbone.positions} positions": backbone.positions != "learned",
        "the MLP of its backbone is no whole multiple of its width": encoder.mlp_width % encoder.width > 0,
        f"its pictures of {height}x{width} pixels are not square": height != width,
    }
    return [reason for reason, holds in checks.items() if holds]


def _as_classifier(backbone: ViTConfig) -> Any:
    return ClassifierConfig(backbone=backbone, classes=1)


def _vitdet(shapes: Shapes, told: Mapping[str, Any], name: str, where: str) -> ReadBackbone:
    found = [key.removeprefix(BASE) for key in shapes if key.startswith(BASE)]
    refuse(found, NOT_PLAIN, name, "a plain ViT under a DETR")
    depth, heads = stated_blocks(told, where)
    refuse_middle(told, depth, where)
    windows = told.get("window_block_indices") or []
    if windows and told.get("window_size", 0):
        raise CheckpointError(
            f"{where}: {len(windows)} blocks look through windows, and here those of a plain ViT see all"
        )
    width, channels, patch = patch_kernel(shapes, BASE + "embeddings.projection.weight", name)
    refuse_patch(told, patch, where)
    table = prefixed(VITDET.table(depth), BASE)
    rows = table_rows(shapes, table[POSITIONS][0], name)
    side = isqrt(rows - 1)
    if side * side != rows - 1:
        raise CheckpointError(f"{name}: {rows} positions are no square grid and a class token")
    encoder = EncoderConfig(
        width=width,
        mlp_width=rows_of(shapes, BASE + "encoder.layer.0.mlp.fc1.weight", name),
        norm_eps=number(told.get("layer_norm_eps", 1e-6), f"{where}: layer_norm_eps"),
        activation=stated_activation(told, where),
        drop_path=number(told.get("drop_path_rate", 0.0), f"{where}: drop_path_rate"),
    )
    config = ViTConfig(
        encoder=encoder,
        depth=depth,
        heads=heads,
        patch=patch,
        image_size=(side * patch, side * patch),
        channels=channels,
        class_token=False,
        class_position=False,
        position_resize="plain",
        final_norm=False,
        cut_edges=True,
    )
    zeros = missing_biases(table, shapes, ["attention.qkv.bias"])
    return ReadBackbone(config, table, zeros, finish=_without_class_row)


def _dinov2(shapes: Shapes, told: Mapping[str, Any], name: str, where: str) -> ReadBackbone:
    config = dinov2.backbone_of(shapes, {"layerscale_value": 1.0, **told}, BASE, name)
    refuse_middle(told, config.depth, where)
    if not flag(told.get("reshape_hidden_states", True), f"{where}: reshape_hidden_states"):
        raise CheckpointError(
            f"{where}: reshape_hidden_states is false, and a DETR needs a map; wanted it true"
        )
    table = prefixed(dinov2.table_of(config, ""), BASE)
    unused = [BASE + dinov2.MASK_NAME]
    if not flag(told.get("apply_layernorm", True), f"{where}: apply_layernorm"):
        config = replace(config, final_norm=False)
        unused += [theirs for leaf in ("weight", "bias") for theirs in table.pop(f"{NORM}.{leaf}")]
    zeros = missing_biases(table, shapes, ["attention.qkv.bias"])
    return ReadBackbone(config, table, zeros, tuple(key for key in unused if key in shapes))


def _without_class_row(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, POSITIONS: tensors[POSITIONS][:, 1:].contiguous()}


def _with_class_row(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    table = tensors[POSITIONS]
    return {**tensors, POSITIONS: torch.cat([table.new_zeros(1, 1, table.shape[2]), table], dim=1)}


def _for_dinov2(vit: ViTConfig, mask: str) -> Finish:
    def ready(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        token = tensors[CLASS_TOKEN]
        made = {mask: token.new_zeros(1, vit.encoder.width)}
        if vit.encoder.layer_scale is None:
            scales = [key for key in dinov2.table_of(vit, "") if key.endswith("_scale.scale")]
            made |= {key: token.new_ones(vit.encoder.width) for key in scales}
        if not vit.final_norm:
            made |= {f"{NORM}.weight": token.new_ones(vit.encoder.width)}
            made |= {f"{NORM}.bias": token.new_zeros(vit.encoder.width)}
        return {**tensors, **made}

    return ready
