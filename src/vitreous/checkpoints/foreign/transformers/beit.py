"""transformers' BEiT, read: ``BeitForImageClassification``, ``BeitModel`` and
``BeitForMaskedImageModeling``; and Data2VecVision (arXiv:2202.03555), which is the same model under
another name. Names are those on disk.

Where the picture is not square, the library takes the sides of a table of offsets for one another, on the
native size too; ``bias_resize`` "bilinear_swapped" does so here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.foreign import relative
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import flag, number, pair
from vitreous.checkpoints.foreign.names import (
    CLASS_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    RELATIVE_INDEX,
    ZERO,
    Names,
    layer,
    prefixed,
)
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    patch_kernel,
    refuse_name,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers.common import (
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
    stated_encoder,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, MaskedTokensConfig

MODEL_TYPES = {"beit": "beit.", "data2vec-vision": "data2vec_vision."}  # and what stands ahead of names
NAMES = Names(
    outside={
        **layer(PATCHES, "embeddings.patch_embeddings.projection"),
        CLASS_TOKEN: ("embeddings.cls_token",),
        POSITIONS: ("embeddings.position_embeddings",),
        **layer(NORM, "layernorm"),
        **layer("pool_norm", "pooler.layernorm"),
    },
    block="encoder.layer.{}",
    inside={
        **layer("attention_norm", "layernorm_before"),
        "attention.qkv.weight": (
            "attention.attention.query.weight",
            "attention.attention.key.weight",
            "attention.attention.value.weight",
        ),
        "attention.qkv.bias": ("attention.attention.query.bias", ZERO, "attention.attention.value.bias"),
        **layer("attention.projection", "attention.output.dense"),
        relative.OURS: ("attention.attention.relative_position_bias.relative_position_bias_table",),
        "attention_scale.scale": ("lambda_1",),
        **layer("mlp_norm", "layernorm_after"),
        **layer("mlp.expand", "intermediate.dense"),
        **layer("mlp.contract", "output.dense"),
        "mlp_scale.scale": ("lambda_2",),
    },
)
SHARED = "encoder.relative_position_bias.relative_position_bias_table"
MASK = "embeddings.mask_token"
HEAD = layer("head", "classifier")
# For telling which kind an unknown file is nearest to.
EXPLAINED = (NAMES, Names(outside=layer("head", "lm_head"), block=NAMES.block, inside={}))
SEGMENTATION = ("decode_head.", "auxiliary_head.", "fpn")


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers BEiT, or ``config.json`` says so."""
    names = found.stored.described
    bases = (*MODEL_TYPES.values(), "")
    if not any(f"{base}embeddings.patch_embeddings.projection.weight" in names for base in bases):
        return False
    owned = any(key.endswith(NAMES.inside[relative.OURS][0]) or key.endswith(".lambda_1") for key in names)
    return owned or found.model_type in MODEL_TYPES


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that a BEiT cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found)
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        raise CheckpointError(
            f"{name}: tensors of a BEiT, but model_type {kind!r}; wanted {' or '.join(MODEL_TYPES)}"
        )
    segmentation = [key for key in shapes if key.startswith(SEGMENTATION)]
    if segmentation:
        raise CheckpointError(
            f"{name}: a pyramid or a segmentation head ({segmentation[0]}) is not read, only the backbone"
            " could be"
        )
    prefix = MODEL_TYPES[kind]
    base = prefix if any(key.startswith(f"{prefix}embeddings.") for key in shapes) else ""
    # A BeitBackbone keeps the shared table under another name than the rest.
    shared = next((key for key in (base + SHARED, prefix + SHARED) if key in shapes), base + SHARED)
    backbone = read_backbone(shapes, values, base, shared, name)
    config = _headed(shapes, values, backbone, base, name)
    table = names_of(config, base)
    biases = relative.arrange(table, shapes, shared, backbone.heads, backbone.grid, name)
    mask, masked, given = base + MASK, isinstance(config, MaskedTokensConfig), found.preprocessor
    # Without a mask token the library's class hides nothing.
    maskless = masked and mask not in shapes
    classes = from_id2label(values, config.classes, name, by_folder=True)
    return Plan(
        LAYOUT,
        config,
        read_processor(given or {}, config, name),
        classes.names,
        biases.table,
        zeros={**biases.zeros, **({"mask_token": (1, 1, backbone.encoder.width)} if maskless else {})},
        unused=tuple(key for key in shapes if key.endswith(RELATIVE_INDEX) or (key == mask and not masked)),
        assumed=(
            *(() if given else ("preprocessing",)),
            *classes.assumed,
            *(("mask token",) if maskless else ()),
        ),
        finish=biases.finish,
        stated_family=kind if kind != "beit" else None,
    )


def names_of(config: ClassifierConfig | MaskedTokensConfig, base: str) -> dict[str, tuple[str, ...]]:
    """Ours to theirs. What normalises patches ahead of the head for visual tokens stands outside of the
    base; where the base has a norm as well, there are two."""
    table = prefixed(NAMES.table(config.vit.depth), base)
    if isinstance(config, ClassifierConfig):
        return table | (HEAD if config.classes else {})
    last = "head_norm" if config.head_norm else NORM
    return table | layer(last, "layernorm") | layer("head", "lm_head") | {"mask_token": (base + MASK,)}


def read_backbone(shapes: Shapes, values: Mapping[str, Any], base: str, shared: str, name: str) -> ViTConfig:
    """The backbone that ``config.json`` and the shapes tell of; ``base`` stands ahead of its names, and
    ``shared`` is the name of a table for all blocks.

    Raises:
        CheckpointError: a value that a BEiT cannot have, or one that its tensors contradict.
    """
    where = f"{name}/config.json"
    activation = stated_activation(values, where)
    _, channels, kernel = patch_kernel(shapes, f"{base}embeddings.patch_embeddings.projection.weight", name)
    refuse_patch(values, kernel, where)
    size = pair(values.get("image_size", 224), f"{where}: image_size")
    placed = f"{base}embeddings.position_embeddings" in shapes
    scale = number(values.get("layer_scale_init_value", 0.1), f"{where}: layer_scale_init_value")
    owned = base + NAMES.block.format(0) + "." + NAMES.inside[relative.OURS][0]
    mean = flag(values.get("use_mean_pooling", True), f"{where}: use_mean_pooling")
    # The library goes by its flags and leaves out what they deny.
    for key, tensor in (
        ("use_relative_position_bias", owned),
        ("use_shared_relative_position_bias", shared),
        ("use_absolute_position_embeddings", f"{base}embeddings.position_embeddings"),
    ):
        told = flag(values.get(key, False), f"{where}: {key}")
        if told != (tensor in shapes):
            raise CheckpointError(f"{where}: {key} is {told}, but {tensor} is {'not ' * told}there")
    depth, heads = stated_blocks(values, where)
    try:
        encoder = stated_encoder(values, activation, where)
        backbone = ViTConfig(
            encoder=replace(encoder, layer_scale=scale if scale > 0 else None),
            depth=depth,
            heads=heads,
            patch=kernel,
            image_size=size,
            channels=channels,
            positions="learned" if placed else "none",
            class_position=placed,
            position_resize="plain",
            attention="relative",
            bias_resize="bilinear" if size[0] // kernel == size[1] // kernel else "bilinear_swapped",
            final_norm=not mean or "lm_head.weight" in shapes,
            cut_edges=True,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(ClassifierConfig(backbone=backbone), len(shapes), where)
    rows, cols = backbone.grid
    if placed:
        found = table_rows(shapes, f"{base}embeddings.position_embeddings", name)
        if found != 1 + rows * cols:
            raise CheckpointError(f"{where}: image_size {size[0]}x{size[1]} does not fit {found} positions")
        if rows != cols:
            raise CheckpointError(
                f"{where}: position embeddings on a grid of {rows}x{cols} patches are not read: the library"
                " takes every such grid for a square one"
            )
    return backbone


def _headed(
    shapes: Shapes, values: Mapping[str, Any], backbone: ViTConfig, base: str, name: str
) -> ClassifierConfig | MaskedTokensConfig:
    """The model that the heads make of the backbone."""
    where = f"{name}/config.json"
    mean = flag(values.get("use_mean_pooling", True), f"{where}: use_mean_pooling")
    try:
        if "lm_head.weight" in shapes:
            tokens = rows_of(shapes, "lm_head.weight", name)
            # There is always a norm ahead of the head; without mean pooling the base has one, too.
            return MaskedTokensConfig(backbone=backbone, visual_tokens=tokens, head_norm=not mean)
        headed = "classifier.weight" in shapes
        return ClassifierConfig(
            backbone=backbone,
            classes=rows_of(shapes, "classifier.weight", name) if headed else 0,
            pool="mean" if mean else "class",
            pool_norm=mean and (headed or f"{base}pooler.layernorm.weight" in shapes),
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


READER = Reader(LAYOUT, "beit", recognises, plan, EXPLAINED)
