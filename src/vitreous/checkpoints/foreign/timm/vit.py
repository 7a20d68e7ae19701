"""timm's ``VisionTransformer``: a directory as its ``save_for_hf`` writes it (``config.json`` with
architecture, model_args and pretrained_cfg), or a bare state dict.

An architecture's name stands for arguments that the file need not repeat, and some of them (heads,
activation, pooling) leave no trace in the weights: ``timm_architectures`` knows them.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import Activation, EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.fields import integer, number, pair, section
from vitreous.checkpoints.foreign.names import (
    CLASS_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    REGISTERS,
    Names,
    layer,
)
from vitreous.checkpoints.foreign.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LAYER_SCALE,
    Found,
    Plan,
    Reader,
    Shapes,
    heads_of,
    missing_biases,
    named,
    numbered,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.architectures import Architecture, architecture
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, Pool

LAYOUT = "timm"
EPS = 1e-6  # of timm's own LayerNorm, which its ViTs use where their name does not say otherwise

NAMES = Names(
    outside={
        **layer(PATCHES, "patch_embed.proj"),
        CLASS_TOKEN: ("cls_token",),
        REGISTERS: ("reg_token",),
        POSITIONS: ("pos_embed",),
        **layer(NORM, "norm"),
        **layer("pool_norm", "fc_norm"),
        **layer("head", "head"),
    },
    block="blocks.{}",
    inside={
        **layer("attention_norm", "norm1"),
        **layer("attention.qkv", "attn.qkv"),
        **layer("attention.projection", "attn.proj"),
        "attention_scale.scale": ("ls1.gamma",),
        **layer("mlp_norm", "norm2"),
        **layer("mlp.expand", "mlp.fc1"),
        **layer("mlp.contract", "mlp.fc2"),
        "mlp_scale.scale": ("ls2.gamma",),
    },
)
BIASES = ("attention.qkv.bias", "attention.projection.bias", "mlp.expand.bias", "mlp.contract.bias")

NOT_PLAIN = {
    "norm_pre.": "a norm ahead of the blocks (CLIP)",
    "patch_embed.norm": "a norm of the patches",
    "patch_embed.backbone": "a hybrid's convolutional backbone",
    "q_norm": "a norm of queries and keys",
    "attn.norm": "a norm inside attention",
    "mlp.norm": "a norm inside the MLP",
    "attn_pool.": "attention pooling",
    "dist_token": "a distillation token (DeiT)",
    "head_dist": "a distillation head (DeiT)",
    "mlp.fc1_g": "a gated MLP",
    "mlp.w12": "a gated MLP",
    "gamma_": "LayerScale of BEiT or CaiT",
    "relative_position": "a relative position bias (BEiT)",
    "mask_token": "a mask token (self-supervised pretraining)",
    "in_proj": "attention and MLP side by side",
    "attns.": "attention side by side",
}


# Arguments of VisionTransformer that weights or the rest of this file account for, or that only
# training knows. Any other argument could change what the model computes, and is refused by name.
# fmt: off
ACCOUNTED = frozenset({
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth",
    "num_heads", "mlp_ratio", "qkv_bias", "proj_bias", "init_values", "class_token", "pos_embed",
    "no_embed_class", "reg_tokens", "final_norm", "fc_norm", "dynamic_img_size", "dynamic_img_pad",
    "strict_img_size", "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate",
    "attn_drop_rate", "drop_path_rate", "weight_init", "fix_init", "act_layer", "norm_layer",
})
# fmt: on
OFF = frozenset({"pre_norm", "qk_norm", "scale_attn_norm", "scale_mlp_norm", "pool_include_prefix"})
ACTIVATIONS: Mapping[Any, Activation] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
POOLS: Mapping[Any, Pool] = {"token": "class", "avg": "mean"}


def recognises(found: Found) -> bool:
    """Whether these are the names of a timm ViT."""
    names = found.stored.described
    return "patch_embed.proj.weight" in names and any(key.startswith("blocks.0.") for key in names)


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show, and the rest from ``config`` or from the name of the architecture.

    ``model`` is a timm architecture or a name of our catalog, for a bare file.

    Raises:
        CheckpointError: parts that the plain ViT does not have, arguments that are not known, or a
            size that must be named.
    """
    shapes, config, name = found.shapes, found.config, found.name
    refuse(shapes, NOT_PLAIN, name)
    values = config or {}
    chosen = values.get("architecture", model if model not in CATALOG else None)
    told = _told(chosen, name)
    arguments = section(values, "model_args", name)
    _refuse_arguments(arguments, name)
    pretrained = _pretrained(values, name)
    classifier = _classifier(shapes, arguments, pretrained, told, model, name)
    if model is not None and model in CATALOG:
        classifier = named(classifier, model, name)
    table = NAMES.table(classifier.vit.depth)
    classes, known = _class_names(values, pretrained, classifier.classes, name)
    preprocess, assumed = _preprocess(pretrained, classifier.vit, name)
    assumed += () if known else ("class names",)
    if config is None and model is None:
        assumed += ("activation", "pooling")
    return Plan(
        LAYOUT,
        classifier,
        preprocess,
        classes,
        table,
        zeros=missing_biases(table, shapes, BIASES),
        assumed=assumed,
        finish=lambda tensors: _placed(tensors, classifier.vit),
    )


def _told(chosen: Any, name: str) -> Architecture:
    if chosen is None:
        return Architecture()
    found = architecture(chosen) if isinstance(chosen, str) else None
    if found is None:
        raise CheckpointError(
            f"{name}: architecture {chosen!r} is not a plain ViT of timm that is known here"
        )
    return found


def _refuse_arguments(arguments: Mapping[str, Any], name: str) -> None:
    for key, value in arguments.items():
        if key in OFF and value in (False, None):
            continue
        if key not in ACCOUNTED:
            raise CheckpointError(f"{name}: model_args.{key} {value!r} is not a part of the plain ViT")
    if arguments.get("norm_layer") not in (None, "layernorm"):
        raise CheckpointError(f"{name}: norm_layer {arguments['norm_layer']!r} is not read, only 'layernorm'")


def _pretrained(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if "pretrained_cfg" in values:
        return section(values, "pretrained_cfg", name)
    return {key: value for key, value in values.items() if key not in ("architecture", "model_args")}


def _classifier(
    shapes: Shapes,
    arguments: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    told: Architecture,
    model: str | None,
    name: str,
) -> ClassifierConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    class_token, registers = "cls_token" in shapes, _count(shapes, "reg_token", name)
    positions = "pos_embed" in shapes
    size, class_placed = _size(shapes, arguments, pretrained, patch, name)
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width,
                    mlp_width=rows_of(shapes, "blocks.0.mlp.fc1.weight", name),
                    norm_eps=EPS,
                    activation=_activation(arguments, told, name),
                    layer_scale=_layer_scale(shapes, arguments, name),
                ),
                depth=NAMES.depth(shapes),
                heads=_heads(arguments, told, model, width, name),
                patch=patch,
                image_size=size,
                channels=channels,
                class_token=class_token,
                registers=registers,
                positions="learned" if positions else "none",
                class_position=class_placed or not class_token,
                final_norm="norm.weight" in shapes,
            ),
            classes=rows_of(shapes, "head.weight", name) if "head.weight" in shapes else 0,
            pool=_pool(shapes, arguments, told, name),
            pool_norm="fc_norm.weight" in shapes,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _size(
    shapes: Shapes, arguments: Mapping[str, Any], pretrained: Mapping[str, Any], patch: int, name: str
) -> tuple[tuple[int, int], bool]:
    """The native picture size, and whether the table of positions has rows for prefix tokens."""
    size = _stated_size(arguments, pretrained, name)
    if "pos_embed" not in shapes:
        if size is None:
            raise CheckpointError(f"{name}: without positions the file does not say a picture size")
        return size, False
    rows = table_rows(shapes, "pos_embed", name)
    prefix = int("cls_token" in shapes) + _count(shapes, "reg_token", name)
    if size is not None:
        patches = (size[0] // patch) * (size[1] // patch)
        if rows in (patches, patches + prefix):
            return size, rows != patches
        # A model made for another size than its pretraining's keeps the old one in pretrained_cfg.
    free = arguments.get("no_embed_class")
    candidates = {True: [rows], False: [rows - prefix], None: [rows - prefix, rows]}[free]
    for patches in candidates:
        if patches > 0 and math.isqrt(patches) ** 2 == patches:
            return square_side(patches, patch, name), patches != rows
    return square_side(candidates[0], patch, name), False


def _stated_size(
    arguments: Mapping[str, Any], pretrained: Mapping[str, Any], name: str
) -> tuple[int, int] | None:
    if arguments.get("img_size") is not None:
        return pair(arguments["img_size"], f"{name}: img_size")
    size = pretrained.get("input_size")
    if size is None:
        return None
    if not isinstance(size, list | tuple) or len(size) != 3:
        raise CheckpointError(f"{name}: input_size must be channels, height and width, got {size!r}")
    return pair(list(size[1:]), f"{name}: input_size")


def _count(shapes: Shapes, key: str, name: str) -> int:
    if key not in shapes:
        return 0
    return table_rows(shapes, key, name)


def _activation(arguments: Mapping[str, Any], told: Architecture, name: str) -> Activation:
    given = arguments.get("act_layer")
    if given is None:
        return told.activation
    if given not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(f"{name}: act_layer {given!r} is not known; wanted one of {known}")
    return ACTIVATIONS[given]


def _heads(arguments: Mapping[str, Any], told: Architecture, model: str | None, width: int, name: str) -> int:
    if arguments.get("num_heads") is not None:
        return integer(arguments["num_heads"], f"{name}: num_heads")
    if model in CATALOG:
        return 1  # ``named`` puts the right number in its place
    return told.heads or heads_of(width, name)


def _pool(shapes: Shapes, arguments: Mapping[str, Any], told: Architecture, name: str) -> Pool:
    given = arguments.get("global_pool")
    if given is None:
        return told.pool if "cls_token" in shapes else "mean"
    if given == "" and "head.weight" not in shapes:
        return "class" if "cls_token" in shapes else "mean"
    if given not in POOLS:
        raise CheckpointError(f"{name}: global_pool {given!r} is not read; wanted token or avg")
    return POOLS[given]


def _layer_scale(shapes: Shapes, arguments: Mapping[str, Any], name: str) -> float | None:
    if "blocks.0.ls1.gamma" not in shapes:
        return None
    given = arguments.get("init_values")
    return LAYER_SCALE if not given else number(given, f"{name}: init_values")


def _placed(tensors: dict[str, Tensor], backbone: ViTConfig) -> dict[str, Tensor]:
    """Registers that have positions take them in for good: the sum is the same at every size."""
    table, registers = tensors.get(POSITIONS), tensors.get(REGISTERS)
    rows = backbone.grid[0] * backbone.grid[1] + backbone.prefix
    if table is None or registers is None or table.shape[1] != rows:
        return tensors
    first = int(backbone.class_token)
    own = table[:, first : backbone.prefix]
    if own.any():
        registers = registers + own
    table = torch.cat([table[:, :first], table[:, backbone.prefix :]], dim=1)
    return {**tensors, POSITIONS: table, REGISTERS: registers}


def _class_names(
    values: Mapping[str, Any], pretrained: Mapping[str, Any], classes: int, name: str
) -> tuple[tuple[str, ...], bool]:
    labels = values.get("label_names", pretrained.get("label_names", pretrained.get("labels")))
    if not labels or not classes:
        return numbered(classes), not classes
    if isinstance(labels, dict):
        labels = [labels.get(str(index), f"class {index}") for index in range(classes)]
    if not isinstance(labels, list) or len(labels) != classes:
        raise CheckpointError(f"{name}: label_names does not name the {classes} classes of the head")
    return tuple(map(str, labels)), True


def _preprocess(
    values: Mapping[str, Any], backbone: ViTConfig, name: str
) -> tuple[Preprocess, tuple[str, ...]]:
    """What timm's own evaluation transform does with these values, and what of it is assumed."""
    size = backbone.image_size
    crop = number(values.get("crop_pct") or 0.875, f"{name}: crop_pct")
    mode = values.get("crop_mode") or "center"
    assumed = () if values else ("preprocessing",)
    shorter = None
    if mode == "center" and 0 < crop <= size[0]:
        if size[0] == size[1]:
            shorter = math.floor(size[0] / crop)
        else:  # timm covers such a size and cuts out its centre; here it is squashed
            assumed = ("preprocessing",)
    elif mode != "squash" or crop != 1.0:
        raise CheckpointError(f"{name}: crop_mode {mode!r} with crop_pct {crop} is not read")
    try:
        preprocess = Preprocess(
            size=size,
            shorter=shorter,
            interpolation=values.get("interpolation") or "bicubic",
            mean=_statistic(values.get("mean"), IMAGENET_MEAN, backbone.channels, f"{name}: mean"),
            std=_statistic(values.get("std"), IMAGENET_STD, backbone.channels, f"{name}: std"),
        )
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return preprocess, assumed


def _statistic(given: Any, default: tuple[float, ...], channels: int, where: str) -> tuple[float, ...]:
    if given is not None and not isinstance(given, list | tuple):
        raise CheckpointError(f"{where}: wanted a list of numbers, got {given!r}")
    values = tuple(number(value, where) for value in given or default)
    if len(values) == 3 and channels == 1:
        return (sum(values) / 3,)  # timm keeps three values for a model of one channel
    return values * channels if len(values) == 1 else values


READER = Reader(LAYOUT, "vit", recognises, plan, (NAMES,))
