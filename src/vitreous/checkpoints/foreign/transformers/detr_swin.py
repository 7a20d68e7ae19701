"""Swin under a DETR of transformers, read and written. Names are those on disk.

There a map is normalised by a norm of its own, and the norm at the end of Swin stands beside it unused.
Windows are shifted on every grid, also where one of them covers it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints.foreign.names import NORM, layer, prefixed
from vitreous.checkpoints.foreign.plan import Shapes, missing_biases
from vitreous.checkpoints.foreign.swin import EPS, QKV_BIAS, Place, half, joined, reasons, unused_in
from vitreous.checkpoints.foreign.transformers import swin
from vitreous.checkpoints.foreign.transformers.common import ACTIVATION_NAMES
from vitreous.checkpoints.foreign.transformers.detr_parts import (
    BASE,
    ReadBackbone,
    Table,
    WrittenBackbone,
    last_stage,
    refuse_middle,
)
from vitreous.errors import CheckpointError
from vitreous.models.config import DetrConfig

UNSEEN = "swin.layernorm"
PLACE = Place(
    shifts=lambda _, window: half(window),
    any_activation=True,
    oblong_windows=False,
)


def read_swin(shapes: Shapes, told: Mapping[str, Any], name: str, where: str) -> ReadBackbone:
    """What ``backbone_config`` says, held to the shapes.

    Raises:
        CheckpointError: another map than the last, another epsilon than that of the map's norm, a table of
            positions, or what does not fit the weights.
    """
    backbone, table = swin.backbone_of(shapes, told, BASE, name)
    stages = len(backbone.depths)
    refuse_middle(told, stages, where)
    if backbone.norm_eps != EPS:
        raise CheckpointError(
            f"{where}: layer_norm_eps {backbone.norm_eps}; wanted {EPS}, that of the norm of a map"
        )
    if backbone.positions != "none":
        raise CheckpointError(
            f"{where}: use_absolute_embeddings is true, and transformers resizes them for no other picture"
            " size; wanted it false"
        )
    config = replace(backbone, shift=tuple(map(half, backbone.windows)))
    table |= _norm_of(stages)
    zeros = missing_biases(table, shapes, [QKV_BIAS])
    unseen = (key for key in shapes if key.startswith(BASE + UNSEEN))
    return ReadBackbone(config, table, zeros, (*unused_in(shapes), *unseen))


def write_swin(backbone: SwinConfig) -> WrittenBackbone:
    """As transformers' SwinBackbone."""
    stages = len(backbone.depths)
    values = {
        "model_type": "swin",
        "image_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "embed_dim": backbone.width,
        "depths": list(backbone.depths),
        "num_heads": list(backbone.heads),
        "window_size": backbone.windows[0][0],
        "mlp_ratio": backbone.mlp_ratio,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": backbone.drop_path,
        "hidden_act": ACTIVATION_NAMES[backbone.activation],
        "use_absolute_embeddings": False,
        "layer_norm_eps": backbone.norm_eps,
    }
    names = tuple(swin.stage_names(stage, BASE) for stage in range(stages))
    table: Table = {**joined(names, backbone.depths), **_norm_of(stages)}
    unseen = {f"{BASE}{UNSEEN}.{leaf}": (f"{BASE}{UNSEEN}.{leaf}",) for leaf in ("weight", "bias")}

    def ready(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        weight, bias = unseen
        like = tensors[f"{NORM}.weight"]
        return {**tensors, weight: like.new_ones(like.shape), bias: like.new_zeros(like.shape)}

    return WrittenBackbone(values | last_stage(stages), table | unseen, ready)


def swin_reasons(config: DetrConfig) -> list[str]:
    """Why the library has no place for a DETR on a Swin; empty where it has."""
    return reasons(config, PLACE)


def _norm_of(stages: int) -> Table:
    return prefixed(layer(NORM, f"hidden_states_norms.stage{stages}"), BASE)
