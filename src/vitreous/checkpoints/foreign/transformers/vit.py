"""transformers' ``ViTForImageClassification`` and ``ViTModel``: a directory with ``config.json``,
``preprocessor_config.json`` and weights under the published names, which the library writes and reads
whatever it calls its modules in memory.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import pair
from vitreous.checkpoints.foreign.names import CLASS_TOKEN, NORM, PATCHES, POSITIONS, Names, layer, prefixed
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    patch_kernel,
    refuse,
    refuse_name,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
    stated_encoder,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.writing import Limits, Writer, plain_state, weights_file, written_names
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig

NAMES = Names(
    outside={
        **layer(PATCHES, "embeddings.patch_embeddings.projection"),
        CLASS_TOKEN: ("embeddings.cls_token",),
        POSITIONS: ("embeddings.position_embeddings",),
        **layer(NORM, "layernorm"),
    },
    block="encoder.layer.{}",
    inside={
        **layer("attention_norm", "layernorm_before"),
        **layer(
            "attention.qkv",
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
        ),
        **layer("attention.projection", "attention.output.dense"),
        **layer("mlp_norm", "layernorm_after"),
        **layer("mlp.expand", "intermediate.dense"),
        **layer("mlp.contract", "output.dense"),
    },
)
HEAD = layer("head", "classifier")
BASE = "vit."  # ahead of every name but the head's, where there is a head
POOLER = ("pooler.dense.weight", "pooler.dense.bias")  # ViTModel's; no classifier looks at it

NOT_PLAIN = {
    "mask_token": "a mask token (ViTForMaskedImageModeling)",
    "distillation_token": "a distillation token (DeiT)",
    "lambda1": "LayerScale (Dinov2)",
    "relative_position_bias": "a relative position bias (BEiT)",
}
LIMITS = Limits(norms=("end",), cut_edges=True)
STRICT = replace(LIMITS, no_layer_scale=True)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers ViT."""
    names = found.stored.described
    return any(f"{base}embeddings.patch_embeddings.projection.weight" in names for base in (BASE, ""))


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that the plain ViT cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    config = stated_config(found)
    if config.get("model_type") != "vit":
        raise CheckpointError(f"{name}: model_type {config.get('model_type')!r}; only 'vit' is read")
    refuse(shapes, NOT_PLAIN, name)
    base = BASE if any(key.startswith(BASE) for key in shapes) else ""
    classifier = _classifier(shapes, config, base, name)
    table = prefixed(NAMES.table(classifier.vit.depth), base)
    assumed: list[str] = []
    if found.preprocessor is None:
        assumed.append("preprocessing")
    classes = from_id2label(config, classifier.classes, name)
    assumed += classes.assumed
    return Plan(
        LAYOUT,
        classifier,
        read_processor(found.preprocessor or {}, classifier, name),
        classes.names,
        table | (HEAD if classifier.classes else {}),
        zeros=missing_biases(table, shapes, ["attention.qkv.bias"]),
        unused=tuple(key for key in shapes if key.removeprefix(base) in POOLER),
        assumed=tuple(assumed),
    )


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``AutoModelForImageClassification`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the model has parts that transformers' ViT has no place for.
    """
    config = checkpoint.model.config
    table = prefixed(NAMES.table(config.vit.depth), BASE)
    tensors = written_names(table | HEAD, plain_state(checkpoint), config)
    return {
        "config.json": to_json(written_config(checkpoint)),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(tensors),
    }


def _classifier(shapes: Shapes, config: Mapping[str, Any], base: str, name: str) -> ClassifierConfig:
    where = f"{name}/config.json"
    activation = stated_activation(config, where)
    _, channels, kernel = patch_kernel(shapes, f"{base}embeddings.patch_embeddings.projection.weight", name)
    refuse_patch(config, kernel, where)
    size = pair(config.get("image_size", 224), f"{where}: image_size")
    depth, heads = stated_blocks(config, where)
    try:
        backbone = ViTConfig(
            encoder=stated_encoder(config, activation, where),
            depth=depth,
            heads=heads,
            patch=kernel,
            image_size=size,
            channels=channels,
            position_resize="plain",
            cut_edges=True,
        )
        head = "classifier.weight" in shapes
        found = ClassifierConfig(
            backbone=backbone, classes=rows_of(shapes, "classifier.weight", name) if head else 0
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(found, len(shapes), where)
    rows = table_rows(shapes, f"{base}embeddings.position_embeddings", name)
    if rows != 1 + backbone.grid[0] * backbone.grid[1]:
        raise CheckpointError(f"{where}: image_size {size[0]}x{size[1]} does not fit {rows} positions")
    refuse_taken_for_square(backbone.grid, where)
    return found


def refuse_taken_for_square(grid: tuple[int, int], where: str) -> None:
    """CheckpointError for a grid of 2 x 8 and its like: at another picture size the library resamples it as
    if it were 4 x 4, which no table here can repeat."""
    rows, cols = grid
    if rows != cols and isqrt(rows * cols) ** 2 == rows * cols:
        raise CheckpointError(
            f"{where}: a grid of {rows}x{cols} patches is not read: the library takes it for a square one"
        )


def written_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of a ``config.json``, which DeiT and BEiT share in part."""
    config = checkpoint.model.config
    backbone, encoder = config.vit, config.vit.encoder
    height, width = backbone.image_size
    dtype = str(next(checkpoint.model.parameters()).dtype).removeprefix("torch.")
    labels = dict(enumerate(checkpoint.classes))
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_size": encoder.width,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": backbone.heads,
        "intermediate_size": encoder.mlp_width,
        "hidden_act": ACTIVATION_NAMES[encoder.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": encoder.norm_eps,
        "image_size": height if height == width else [height, width],
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "qkv_bias": True,
        "encoder_stride": backbone.patch,
        "id2label": {str(index): label for index, label in labels.items()},
        "label2id": {label: index for index, label in labels.items()},
        "torch_dtype": dtype,
    }


READER = Reader(LAYOUT, "vit", recognises, plan, (NAMES,))
WRITER = Writer("transformers' ViTForImageClassification", ("vit",), STRICT.reasons, write)
# The same, with LayerScale multiplied into the weights, for models that no class with LayerScale can hold.
FOLDED = Writer(WRITER.library, ("vit",), LIMITS.reasons, write)
