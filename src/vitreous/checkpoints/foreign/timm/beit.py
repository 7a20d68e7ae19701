"""timm's ``Beit`` (BEiT and BEiT v2), read: a directory as its ``save_for_hf`` writes it, or a
bare state dict. ``microsoft_beit`` reads the authors' own files, whose names are nearly the same.

A BEiT without relative positions gets tables of zeros: it is one nevertheless, and goes back as one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign import relative
from vitreous.checkpoints.foreign.fields import section
from vitreous.checkpoints.foreign.names import (
    CLASS_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    RELATIVE_INDEX,
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
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.architectures import Architecture
from vitreous.checkpoints.foreign.timm.common import (
    EPS,
    LAYOUT,
    POOLS,
    architecture_of,
    class_names_in,
    heads_in,
    layer_scale_in,
    pretrained_of,
    read_transform,
    refuse_arguments,
    stated_size,
)
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, ModelConfig, Pool

_INSIDE = {
    **layer("attention_norm", "norm1"),
    "attention.qkv.weight": ("attn.qkv.weight",),
    "attention.qkv.bias": ("attn.q_bias", ZERO, "attn.v_bias"),
    **layer("attention.projection", "attn.proj"),
    relative.OURS: ("attn.relative_position_bias_table",),
    "attention_scale.scale": ("gamma_1",),
    **layer("mlp_norm", "norm2"),
    "mlp_scale.scale": ("gamma_2",),
}
NAMES = Names(
    outside={
        **layer(PATCHES, "patch_embed.proj"),
        CLASS_TOKEN: ("cls_token",),
        POSITIONS: ("pos_embed",),
        **layer(NORM, "norm"),
        **layer("pool_norm", "fc_norm"),
        **layer("head", "head"),
    },
    block="blocks.{}",
    inside=_INSIDE | layer("mlp.expand", "mlp.fc1") | layer("mlp.contract", "mlp.fc2"),
)
GATED = replace(
    NAMES, inside=_INSIDE | layer("mlp.expand", "mlp.fc1_g", "mlp.fc1_x") | layer("mlp.contract", "mlp.fc2")
)
TABLE = "blocks.0.attn.relative_position_bias_table"
SHARED = "rel_pos_bias.relative_position_bias_table"
NOT_BEIT = {
    "mlp.norm": "a norm inside the MLP",
    "attn.norm": "a norm inside attention",
    "mlp.w12": "another gated MLP (EVA-02)",
    "q_norm": "a norm of queries and keys",
}
# fmt: off
ACCOUNTED = frozenset({
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth",
    "num_heads", "qkv_bias", "mlp_ratio", "swiglu_mlp", "drop_rate", "pos_drop_rate",
    "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "init_values", "use_abs_pos_emb",
    "use_rel_pos_bias", "use_shared_rel_pos_bias", "head_init_scale", "use_fc_norm", "norm_layer",
})
# fmt: on
OFF = frozenset({"scale_mlp"})


class Parts(NamedTuple):
    """A backbone, and the names that its blocks have in the file."""

    names: Names
    backbone: ViTConfig


def recognises(found: Found) -> bool:
    """Whether these are the names of a timm BEiT, or ``config.json`` says so of names that a ViT has too."""
    names = found.stored.described
    chosen = (found.config or {}).get("architecture")
    blocks = "patch_embed.proj.weight" in names and any(key.startswith("blocks.0.") for key in names)
    if isinstance(chosen, str):
        return blocks and chosen.startswith("beit")
    return blocks and (TABLE in names or SHARED in names or "blocks.0.attn.q_bias" in names)


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show, and the rest from ``config`` or from the name of the architecture.

    ``model`` is a timm architecture or a name of our catalog, for a bare file.

    Raises:
        CheckpointError: parts that a BEiT does not have, arguments that are not known, or a size that
            must be named.
    """
    shapes, name = found.shapes, found.name
    values = found.config or {}
    refuse_another(shapes, values.get("architecture") or model, name)
    told = architecture_of(values, model, "beit", name)
    arguments = section(values, "model_args", name)
    refuse_arguments(arguments, ACCOUNTED, OFF, "BEiT", name)
    if arguments.get("norm_layer") is not None:
        raise CheckpointError(f"{name}: norm_layer {arguments['norm_layer']!r} is not read")
    pretrained = pretrained_of(values, name)
    names, backbone = backbone_of(shapes, arguments, pretrained, told, model, name)
    try:
        config = ClassifierConfig(
            backbone=backbone,
            classes=rows_of(shapes, "head.weight", name) if "head.weight" in shapes else 0,
            pool=_pool(shapes, arguments, told, found.config is None, name),
            pool_norm="fc_norm.weight" in shapes,
        )
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    if model is not None and model in CATALOG:
        config = named(config, model, name)
    table = names.table(config.vit.depth)
    biases = relative.arrange(table, shapes, SHARED, config.vit.heads, config.vit.grid, name)
    classes = class_names_in(values, pretrained, config.classes, name, by_folder=True)
    preprocess, _ = read_transform(pretrained or usual_transform(config, model, 0.9), config, name)
    assumed = (*(() if pretrained else ("preprocessing",)), *classes.assumed)
    if found.config is None and not config.pool_norm:
        assumed += ("pooling",)
    return Plan(
        LAYOUT,
        config,
        preprocess,
        classes.names,
        biases.table,
        zeros={**biases.zeros, **missing_biases(table, shapes, ["attention.qkv.bias"])},
        unused=tuple(key for key in shapes if key.endswith(RELATIVE_INDEX)),
        assumed=assumed,
        finish=biases.finish,
    )


def refuse_another(shapes: Shapes, chosen: Any, name: str) -> None:
    """CheckpointError for what is no BEiT, or could be another model with the same names."""
    refuse(shapes, NOT_BEIT, name, "BEiT")
    told = isinstance(chosen, str) and chosen.startswith("beit")
    if TABLE not in shapes and SHARED not in shapes and not told:
        raise CheckpointError(
            f"{name}: separate biases of queries and values, but no relative positions: a BEiT without them,"
            " or an EVA, whose rotary positions leave no trace; give name= of the model"
        )


def usual_transform(config: ModelConfig, model: str | None, crop: float) -> dict[str, Any]:
    """What pictures are mostly prepared like where a bare file does not say; BEiT v2 has ImageNet's mean and
    deviation, BEiT a half for both."""
    half = {} if (model or "").startswith("beitv2") else {"mean": [0.5], "std": [0.5]}
    return {"crop_pct": crop if max(config.image_size) < 384 else 1.0, **half}


def backbone_of(
    shapes: Shapes,
    arguments: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    told: Architecture,
    model: str | None,
    name: str,
) -> Parts:
    """The backbone that the shapes show."""
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    gated = "blocks.0.mlp.fc1_g.weight" in shapes
    names = GATED if gated else NAMES
    heads = relative.heads_of_table(shapes, TABLE if TABLE in shapes else SHARED)
    try:
        backbone = ViTConfig(
            encoder=EncoderConfig(
                width=width,
                mlp_width=rows_of(shapes, f"blocks.0.mlp.fc1{'_g' if gated else ''}.weight", name),
                norm_eps=EPS,
                mlp="swiglu" if gated else "plain",
                layer_scale=layer_scale_in(shapes, "blocks.0.gamma_1", arguments, name),
            ),
            depth=names.depth(shapes),
            heads=heads or heads_in(arguments, told, model, width, name),
            patch=patch,
            image_size=_size(shapes, arguments, pretrained, patch, name),
            channels=channels,
            positions="learned" if "pos_embed" in shapes else "none",
            class_position="pos_embed" in shapes,
            attention="relative",
            bias_resize="geometric",
            final_norm="norm.weight" in shapes,
            cut_edges=True,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    return Parts(names, backbone)


def _size(
    shapes: Shapes, arguments: Mapping[str, Any], pretrained: Mapping[str, Any], patch: int, name: str
) -> tuple[int, int]:
    """The native picture size: the stated one where the tables are of that size, else a square."""
    size = stated_size(arguments, pretrained, name)
    table = TABLE if TABLE in shapes else SHARED
    if size is not None:
        grid = (size[0] // patch, size[1] // patch)
        placed = "pos_embed" not in shapes or table_rows(shapes, "pos_embed", name) == grid[0] * grid[1] + 1
        if placed and (table not in shapes or relative.fits(rows_of(shapes, table, name), grid)):
            return size
        # A model made for another size than its pretraining's keeps the old one in pretrained_cfg.
    if table in shapes:
        grid = relative.square_grid(rows_of(shapes, table, name), table, name)
        return grid[0] * patch, grid[1] * patch
    if "pos_embed" in shapes:
        return square_side(table_rows(shapes, "pos_embed", name) - 1, patch, name)
    raise CheckpointError(f"{name}: without positions the file does not say a picture size")


def _pool(shapes: Shapes, arguments: Mapping[str, Any], told: Architecture, bare: bool, name: str) -> Pool:
    given = arguments.get("global_pool")
    if given is None and bare:
        # There is a norm after the mean, or one ahead of the class token.
        return "mean" if "fc_norm.weight" in shapes else "class"
    if given is None:
        return told.pool
    if given == "" and "head.weight" not in shapes:
        return "class"
    if given not in POOLS:
        raise CheckpointError(f"{name}: global_pool {given!r} is not read; wanted token or avg")
    return POOLS[given]


READER = Reader(LAYOUT, "beit", recognises, plan, (NAMES, GATED))
