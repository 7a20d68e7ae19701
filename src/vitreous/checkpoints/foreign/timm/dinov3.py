"""timm's ``Eva`` as it stands for DINOv3 (rope_type "dinov3"): a directory as its ``save_for_hf`` writes
it, or a bare state dict; read and written.

``Eva`` stands for many models, EVA-02 among them. What is read here is pre-norm blocks whose queries and
keys turn with the place of their patch, or do not. Where its pairs of dimensions lie otherwise than ours,
the rows of queries and keys are put in our order: both are multiplied with one another, so the order does
not matter but in what turns them.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.fields import flag, integer, number, section
from vitreous.checkpoints.foreign.names import (
    BLOCK,
    CLASS_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    REGISTERS,
    ZERO,
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
)
from vitreous.checkpoints.foreign.timm.architectures import Architecture
from vitreous.checkpoints.foreign.timm.common import (
    LAYOUT,
    POOLS,
    architecture_of,
    class_names_in,
    layer_scale_in,
    pretrained_of,
    read_transform,
    refuse_arguments,
    tokens_in,
)
from vitreous.checkpoints.foreign.timm.vit import native_size, placed, with_edges
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, Pool

EPS = 1e-5  # of the norms that these architectures' names stand for
HEAD_WIDTH = 64  # of the published ones but the largest
LARGEST = {4096: 32}
PUBLISHED = {"input_size": [3, 256, 256], "crop_pct": 1.0, "interpolation": "bicubic"}

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
        "attention.qkv.weight": ("attn.qkv.weight",),
        "attention.qkv.bias": ("attn.q_bias", ZERO, "attn.v_bias"),
        **layer("attention.projection", "attn.proj"),
        "attention_scale.scale": ("gamma_1",),
        **layer("mlp_norm", "norm2"),
        **layer("mlp.expand", "mlp.fc1"),
        **layer("mlp.contract", "mlp.fc2"),
        "mlp_scale.scale": ("gamma_2",),
    },
)
BIASES = ("attention.qkv.bias",)
NOT_HERE = {
    "norm_pre.": "a norm ahead of the blocks",
    "q_norm": "a norm of queries and keys",
    "attn.norm": "a norm inside attention (EVA-02)",
    "mlp.norm": "a norm inside the MLP (EVA-02)",
    "attn.gate": "a gate behind attention",
    "attn_pool.": "attention pooling",
    "rope.freqs": "learned frequencies (rope_type 'mixed')",
    "relative_position": "a relative position bias (BEiT)",
    "mask_token": "a mask token (self-supervised pretraining)",
}

# Arguments of Eva that weights or the rest of this file account for, or that only training knows. Any
# other argument could change what the model computes, and is refused by name.
# fmt: off
ACCOUNTED = frozenset({
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth", "num_heads",
    "qkv_bias", "qkv_fused", "mlp_ratio", "swiglu_mlp", "swiglu_align_to", "attn_type", "drop_rate",
    "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "init_values",
    "class_token", "num_reg_tokens", "no_embed_class", "use_abs_pos_emb", "use_rot_pos_emb",
    "rope_temperature", "rope_rotate_half", "rope_grid_indexing", "rope_shift_coords", "rope_jitter_coords",
    "rope_rescale_coords", "use_post_transformer_norm", "use_fc_norm", "dynamic_img_size",
    "dynamic_img_pad", "strict_img_size", "ref_feat_shape", "head_init_scale", "rope_type",
})
# fmt: on
OFF = frozenset(
    {"qk_norm", "scale_mlp", "scale_attn_inner", "use_post_norm", "use_pre_transformer_norm", "num_kv_heads"}
    | {"attn_only_layer_scale", "rope_grid_offset", "attn_pool_num_heads", "attn_pool_mlp_ratio"}
)


class Turning(NamedTuple):
    """How a head's dimensions are paired there: ``halves`` i and i + d / 2, else 2 i and 2 i + 1; and
    whether the pairs that turn with the column come first."""

    halves: bool = True
    columns_first: bool = False


def recognises(found: Found) -> bool:
    """Whether these are the names of a DINOv3 of timm: no positions, but registers beside a class token,
    and factors of every channel. All others of timm's that turn and have registers have no class token."""
    names = found.stored.described
    if "patch_embed.proj.weight" not in names:
        return False
    said = (found.config or {}).get("architecture")
    if said is not None:
        return isinstance(said, str) and ("dinov3" in said or "lingbot" in said)
    other = "pos_embed" in names or any("relative_position" in key or "mask_token" in key for key in names)
    return {"cls_token", "reg_token", "blocks.0.gamma_1"} <= names.keys() and not other


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show, and the rest from ``config`` or from the name of the architecture.

    ``model`` is a timm architecture or a name of our catalog, for a bare file.

    Raises:
        CheckpointError: parts that DINOv3 does not have, arguments that are not known, or a size that
            must be named.
    """
    shapes, values, name = found.shapes, found.config or {}, found.name
    refuse(shapes, NOT_HERE, name, "DINOv3")
    told = architecture_of(values, model, "dinov3", name)
    arguments = section(values, "model_args", name)
    refuse_arguments(arguments, ACCOUNTED, OFF, "a DINOv3", name)
    pretrained = pretrained_of(values, name) or PUBLISHED
    config = _classifier(shapes, arguments, pretrained, told, model, name)
    if model is not None and model in CATALOG:
        config = named(config, model, name)
    table = _names(shapes, config.vit.encoder).table(config.vit.depth)
    classes = class_names_in(values, pretrained, config.classes, name)
    preprocess, assumed = read_transform(pretrained, config, name)
    if found.config is None:
        named_there = model is not None and model not in CATALOG
        assumed = ("preprocessing", *(() if named_there else ("pooling",)))
    turning = _turning(arguments, name)
    return Plan(
        LAYOUT,
        config,
        preprocess,
        classes.names,
        table,
        zeros=missing_biases(table, shapes, BIASES),
        assumed=(*assumed, *classes.assumed),
        finish=partial(_finished, config.vit, turning),
        stated_family="dinov3",
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
    size, class_placed = native_size(shapes, arguments, pretrained, patch, name)
    size, cut = with_edges(size, patch, arguments, name)
    rotary = flag(arguments.get("use_rot_pos_emb", True), f"{name}: use_rot_pos_emb")
    kind = arguments.get("rope_type", "dinov3")
    if rotary and kind != "dinov3":
        raise CheckpointError(f"{name}: rope_type {kind!r} is not read, only 'dinov3'")
    class_token, classes = "cls_token" in shapes, "head.weight" in shapes
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=_encoder(shapes, arguments, width, name),
                depth=NAMES.depth(shapes),
                heads=_heads(arguments, model, width, name),
                patch=patch,
                image_size=size,
                channels=channels,
                class_token=class_token,
                registers=tokens_in(shapes, "reg_token", name),
                positions="learned" if "pos_embed" in shapes else "none",
                class_position=class_placed,
                attention="rotary" if rotary else "plain",
                rotary_base=number(arguments.get("rope_temperature", 100.0), f"{name}: rope_temperature"),
                final_norm="norm.weight" in shapes,
                cut_edges=cut,
            ),
            classes=rows_of(shapes, "head.weight", name) if classes else 0,
            pool=_pool(arguments, told, class_token=class_token, headless=not classes, name=name),
            pool_norm="fc_norm.weight" in shapes,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _encoder(shapes: Shapes, arguments: Mapping[str, Any], width: int, name: str) -> EncoderConfig:
    second = shapes.get("blocks.0.mlp.fc2.weight", ())
    if len(second) != 2:
        raise CheckpointError(f"{name}: blocks.0.mlp.fc2.weight is missing, or no matrix")
    apart = "blocks.0.mlp.fc1_g.weight" in shapes
    first = rows_of(shapes, f"blocks.0.mlp.{'fc1_g' if apart else 'fc1'}.weight", name)
    if "blocks.0.gamma_1" in shapes and "blocks.0.gamma_2" not in shapes:
        raise CheckpointError(f"{name}: LayerScale of attention alone (gamma_1 without gamma_2) is not read")
    return EncoderConfig(
        width=width,
        mlp_width=second[1],
        norm_eps=EPS,
        mlp="swiglu" if apart or first == 2 * second[1] else "plain",
        layer_scale=layer_scale_in(shapes, "blocks.0.gamma_1", arguments, name),
    )


def _heads(arguments: Mapping[str, Any], model: str | None, width: int, name: str) -> int:
    if arguments.get("num_heads") is not None:
        return integer(arguments["num_heads"], f"{name}: num_heads")
    if model in CATALOG:
        return 1  # ``named`` puts the right number in its place
    return heads_of_width(width, name)


def heads_of_width(width: int, name: str) -> int:
    """The heads of a published DINOv3 of this width; CheckpointError for widths that none has."""
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{name}: the number of heads of width {width} is not in the file;"
            " give name= of the model, or the directory with its config.json"
        )
    return LARGEST.get(width, width // HEAD_WIDTH)


def _pool(
    arguments: Mapping[str, Any], told: Architecture, *, class_token: bool, headless: bool, name: str
) -> Pool:
    given = arguments.get("global_pool")
    if given is None:
        return told.pool if class_token else "mean"
    if given == "" and headless:
        return "class" if class_token else "mean"
    if given not in POOLS:
        raise CheckpointError(f"{name}: global_pool {given!r} is not read; wanted token or avg")
    return POOLS[given]


def _names(shapes: Shapes, encoder: EncoderConfig) -> Names:
    """How this file calls what there are several ways of naming: one matrix for queries, keys and values or
    three, with the biases or apart from them; a gate with what it lets pass or apart."""
    inside: dict[str, tuple[str, ...]] = dict(NAMES.inside)
    if "blocks.0.attn.q_proj.weight" in shapes:
        inside["attention.qkv.weight"] = tuple(f"attn.{part}_proj.weight" for part in "qkv")
        inside["attention.qkv.bias"] = tuple(
            f"attn.{part}_proj.bias" if _somewhere(shapes, f".attn.{part}_proj.bias") else ZERO
            for part in "qkv"
        )
        if not any(inside["attention.qkv.bias"]):
            inside["attention.qkv.bias"] = tuple(f"attn.{part}_proj.bias" for part in "qkv")
    elif _somewhere(shapes, ".attn.qkv.bias"):
        inside["attention.qkv.bias"] = ("attn.qkv.bias",)
    if encoder.mlp == "swiglu" and "blocks.0.mlp.fc1_g.weight" in shapes:
        inside |= layer("mlp.expand", "mlp.fc1_g", "mlp.fc1_x")
    return replace(NAMES, inside=inside)


def _somewhere(shapes: Shapes, ending: str) -> bool:
    """Whether any block has it; where only some have it, the strict loader says so."""
    return any(key.endswith(ending) for key in shapes)


def _turning(arguments: Mapping[str, Any], name: str) -> Turning:
    indexing = arguments.get("rope_grid_indexing", "ij")
    if indexing not in ("ij", "xy"):
        raise CheckpointError(f"{name}: rope_grid_indexing {indexing!r} is not known; wanted ij or xy")
    halves = flag(arguments.get("rope_rotate_half", True), f"{name}: rope_rotate_half")
    return Turning(halves, columns_first=indexing == "xy")


def _finished(backbone: ViTConfig, turning: Turning, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Registers with positions, and queries and keys with other pairs, as ours are."""
    tensors = placed(tensors, backbone)
    if backbone.attention != "rotary" or turning == Turning():
        return tensors
    order = _order(backbone.encoder.width, backbone.heads, turning)
    turned = dict(tensors)
    for index in range(backbone.depth):
        for leaf in ("weight", "bias"):
            key = f"{BLOCK}.{index}.attention.qkv.{leaf}"
            # A tensor of another shape is left to the strict loader.
            if key in turned and turned[key].shape[0] == 3 * backbone.encoder.width:
                turned[key] = turned[key][order]
    return turned


def _order(width: int, heads: int, turning: Turning) -> Tensor:
    """(3 D,): which of their rows of queries, keys and values each of ours is."""
    size = width // heads
    pairs = torch.arange(size // 2)
    if turning.columns_first:
        pairs = pairs.roll(size // 4)
    first, second = (pairs, pairs + size // 2) if turning.halves else (2 * pairs, 2 * pairs + 1)
    each = torch.cat([first, second])  # (d,)
    every = (torch.arange(heads)[:, None] * size + each).flatten()  # (D,)
    return torch.cat([every, width + every, 2 * width + torch.arange(width)])


READER = Reader(LAYOUT, "dinov3", recognises, plan, (NAMES,))
