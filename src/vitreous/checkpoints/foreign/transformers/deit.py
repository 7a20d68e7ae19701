"""transformers' DeiT, read and written: ``DeiTForImageClassificationWithTeacher`` (two heads, averaged),
``DeiTForImageClassification`` (one, on the class token; the distillation token is there and takes part in
attention) and ``DeiTModel``. Names are those on disk."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import pair
from vitreous.checkpoints.foreign.names import DISTILLATION_TOKEN, POSITIONS, Names, layer, prefixed, scatter
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    patch_kernel,
    refuse_name,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers import vit
from vitreous.checkpoints.foreign.transformers.common import (
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
    stated_encoder,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, DeiTConfig, ModelConfig

NAMES = replace(
    vit.NAMES, outside={**vit.NAMES.outside, DISTILLATION_TOKEN: ("embeddings.distillation_token",)}
)
BASE = "deit."
HEADS = layer("head", "cls_classifier") | layer("distillation_head", "distillation_classifier")
# For telling which kind an unknown file is nearest to.
EXPLAINED = (NAMES, Names(outside=HEADS, block=NAMES.block, inside={}))
LIMITS = Limits(distillation=True, attention="plain", norms=("end",), headless=True, cut_edges=True)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers DeiT."""
    names = found.stored.described
    return any(f"{base}embeddings.distillation_token" in names for base in (BASE, ""))


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that a DeiT cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found)
    if values.get("model_type") != "deit":
        raise CheckpointError(
            f"{name}: tensors of a DeiT, but model_type {values.get('model_type')!r}; wanted 'deit'"
        )
    base = BASE if any(key.startswith(BASE) for key in shapes) else ""
    if f"{base}embeddings.mask_token" in shapes:
        raise CheckpointError(
            f"{name}: DeiTForMaskedImageModeling is not read, its mask token and decoder have no place here"
        )
    backbone = _backbone(shapes, values, base, name)
    config, heads = _headed(shapes, backbone, name)
    table = prefixed(NAMES.table(backbone.depth), base)
    classes = from_id2label(values, config.classes, name)
    given = found.preprocessor
    return Plan(
        LAYOUT,
        config,
        read_processor(given or {}, config, name),
        classes.names,
        table | heads,
        zeros=missing_biases(table, shapes, ["attention.qkv.bias"]),
        unused=tuple(key for key in shapes if key.removeprefix(base) in vit.POOLER),
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        stated_family="deit",
    )


def reasons(config: ModelConfig) -> list[str]:
    """Why none of transformers' DeiT classes has a place for a model; empty where one has."""
    found = LIMITS.reasons(config)
    if isinstance(config, ClassifierConfig) and not config.vit.distillation_token:
        found.append("it has no distillation token")
    if isinstance(config, DeiTConfig):
        if not config.classes:
            found.append("it has no heads, of which there are two there")
        if not config.backbone.final_norm:
            found.append("it has no norm at its end")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that the library's classes and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has a part that transformers has no place for.
    """
    config = checkpoint.model.config
    heads = HEADS if isinstance(config, DeiTConfig) else vit.HEAD
    base = BASE if config.classes else ""
    table = prefixed(NAMES.table(config.vit.depth), base)
    state = plain_state(checkpoint)
    state[POSITIONS] = native_positions(config.vit, state, 2)
    architecture = "DeiTForImageClassificationWithTeacher" if isinstance(config, DeiTConfig) else "DeiTModel"
    if isinstance(config, ClassifierConfig) and config.classes:
        architecture = "DeiTForImageClassification"
    values = vit.written_config(checkpoint) | {"architectures": [architecture], "model_type": "deit"}
    return {
        "config.json": to_json(values),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(table | heads, state)),
    }


def _backbone(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> ViTConfig:
    where = f"{name}/config.json"
    activation = stated_activation(values, where)
    _, channels, kernel = patch_kernel(shapes, f"{base}embeddings.patch_embeddings.projection.weight", name)
    refuse_patch(values, kernel, where)
    size = pair(values.get("image_size", 224), f"{where}: image_size")
    depth, heads = stated_blocks(values, where)
    try:
        backbone = ViTConfig(
            encoder=stated_encoder(values, activation, where),
            depth=depth,
            heads=heads,
            patch=kernel,
            image_size=size,
            channels=channels,
            distillation_token=True,
            position_resize="plain",
            cut_edges=True,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(ClassifierConfig(backbone=backbone), len(shapes), where)
    rows, cols = backbone.grid
    found = table_rows(shapes, f"{base}embeddings.position_embeddings", name)
    if found != 2 + rows * cols:
        raise CheckpointError(f"{where}: image_size {size[0]}x{size[1]} does not fit {found} positions")
    vit.refuse_taken_for_square(backbone.grid, where)
    return backbone


def _headed(
    shapes: Shapes, backbone: ViTConfig, name: str
) -> tuple[ClassifierConfig | DeiTConfig, dict[str, tuple[str, ...]]]:
    """The model that the heads make of the backbone, and the names of those heads."""
    try:
        if "cls_classifier.weight" in shapes or "distillation_classifier.weight" in shapes:
            return DeiTConfig(
                backbone=backbone, classes=rows_of(shapes, "cls_classifier.weight", name)
            ), HEADS
        if "classifier.weight" in shapes:
            classes = rows_of(shapes, "classifier.weight", name)
            return ClassifierConfig(backbone=backbone, classes=classes), vit.HEAD
        return ClassifierConfig(backbone=backbone, classes=0), {}
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error


READER = Reader(LAYOUT, "deit", recognises, plan, EXPLAINED)
WRITER = Writer("transformers' DeiTForImageClassification", ("deit", "vit"), reasons, write)
