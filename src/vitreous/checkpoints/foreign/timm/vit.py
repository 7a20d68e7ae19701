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

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.fields import flag, section
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
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    named,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.architectures import Architecture, contradiction
from vitreous.checkpoints.foreign.timm.common import (
    EPS,
    LAYOUT,
    POOLS,
    VIEW,
    activation_of,
    architecture_of,
    class_names_in,
    heads_in,
    layer_scale_in,
    pretrained_of,
    read_transform,
    refuse_arguments,
    stated_size,
    tokens_in,
)
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, Pool

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
    "attn.q_bias": "biases of queries and values apart from their matrix (BEiT, EVA)",
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
    told = architecture_of(values, model, "vit", name)
    arguments = section(values, "model_args", name)
    refuse_arguments(arguments, ACCOUNTED, OFF, "the plain ViT", name)
    pretrained = pretrained_of(values, name)
    classifier = _classifier(shapes, arguments, pretrained, told, model, name)
    if model is not None and model in CATALOG:
        classifier = named(classifier, model, name)
    elif model is not None and config is None:
        wrong = contradiction(model, classifier.vit.class_token)
        if wrong is not None:
            raise CheckpointError(f"{name}: not the tensors of {model}: {wrong}")
    table = NAMES.table(classifier.vit.depth)
    classes = class_names_in(values, pretrained, classifier.classes, name)
    preprocess, assumed = read_transform(pretrained, classifier, name, view=values.get(VIEW))
    assumed += classes.assumed
    if config is None and model is None:
        assumed += ("activation", "pooling")
    return Plan(
        LAYOUT,
        classifier,
        preprocess,
        classes.names,
        table,
        zeros=missing_biases(table, shapes, BIASES),
        assumed=assumed,
        finish=lambda tensors: placed(tensors, classifier.vit),
        stated_family="dinov2" if "dinov2" in str(values.get("architecture", model)) else None,
    )


def _classifier(
    shapes: Shapes,
    arguments: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    told: Architecture,
    model: str | None,
    name: str,
) -> ClassifierConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    class_token, registers = "cls_token" in shapes, tokens_in(shapes, "reg_token", name)
    positions = "pos_embed" in shapes
    size, class_placed = native_size(shapes, arguments, pretrained, patch, name)
    size, cut = with_edges(size, patch, arguments, name)
    gated = _gated(shapes, arguments, told, name)
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width,
                    mlp_width=rows_of(shapes, "blocks.0.mlp.fc1.weight", name) // (2 if gated else 1),
                    norm_eps=EPS,
                    mlp="swiglu" if gated else "plain",
                    activation="gelu" if gated else activation_of(arguments, told.activation, name),
                    layer_scale=layer_scale_in(shapes, "blocks.0.ls1.gamma", arguments, name),
                ),
                depth=NAMES.depth(shapes),
                heads=heads_in(arguments, told._replace(gated=gated), model, width, name),
                patch=patch,
                image_size=size,
                channels=channels,
                class_token=class_token,
                registers=registers,
                positions="learned" if positions else "none",
                class_position=class_placed or not class_token,
                final_norm="norm.weight" in shapes,
                cut_edges=cut,
            ),
            classes=rows_of(shapes, "head.weight", name) if "head.weight" in shapes else 0,
            pool=_pool(shapes, arguments, told, name),
            pool_norm="fc_norm.weight" in shapes,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _gated(shapes: Shapes, arguments: Mapping[str, Any], told: Architecture, name: str) -> bool:
    """Whether the first layer of the MLP puts out a gate as well: then it is twice as wide as the second."""
    first, second = (shapes.get(f"blocks.0.mlp.{layer}.weight", ()) for layer in ("fc1", "fc2"))
    gated = len(first) == len(second) == 2 and first[0] == 2 * second[1]
    activation = arguments.get("act_layer")
    if (gated or told.gated) and activation not in (None, "silu", "swish"):
        raise CheckpointError(
            f"{name}: act_layer {activation!r} of a gated MLP is not read, only silu (SwiGLU)"
        )
    return gated


def with_edges(
    size: tuple[int, int], patch: int, arguments: Mapping[str, Any], name: str
) -> tuple[tuple[int, int], bool]:
    """The native picture size whose grid the table has, and whether a part of a patch at the edge is left
    out. timm leaves it out of pictures of the native size, pads others or refuses them."""
    whole = (size[0] // patch * patch, size[1] // patch * patch)
    padded = flag(arguments.get("dynamic_img_pad", False), f"{name}: dynamic_img_pad")
    return (whole, False) if padded else (size, whole != size)


def native_size(
    shapes: Shapes, arguments: Mapping[str, Any], pretrained: Mapping[str, Any], patch: int, name: str
) -> tuple[tuple[int, int], bool]:
    """The native picture size, and whether the table of positions has rows for prefix tokens."""
    size = stated_size(arguments, pretrained, name)
    if "pos_embed" not in shapes:
        if size is None:
            raise CheckpointError(f"{name}: without positions the file does not say a picture size")
        return size, False
    rows = table_rows(shapes, "pos_embed", name)
    prefix = int("cls_token" in shapes) + tokens_in(shapes, "reg_token", name)
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


def _pool(shapes: Shapes, arguments: Mapping[str, Any], told: Architecture, name: str) -> Pool:
    given = arguments.get("global_pool")
    if given is None:
        # Left alone, timm puts a norm after pooling where it pools the mean, and nowhere else.
        normed = "fc_norm.weight" in shapes and arguments.get("fc_norm") is None
        return "mean" if normed or "cls_token" not in shapes else told.pool
    if given == "" and "head.weight" not in shapes:
        return "class" if "cls_token" in shapes else "mean"
    if given not in POOLS:
        raise CheckpointError(f"{name}: global_pool {given!r} is not read; wanted token or avg")
    return POOLS[given]


def placed(tensors: dict[str, Tensor], backbone: ViTConfig) -> dict[str, Tensor]:
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


READER = Reader(LAYOUT, "vit", recognises, plan, (NAMES,))
