"""transformers' ``SwinForImageClassification`` and ``SwinModel``: a directory with ``config.json``,
``preprocessor_config.json`` and weights under the published names.

transformers decides for each picture how far windows are shifted: not at all where one covers the shorter
side of a map. A model of theirs remembers that for the pictures after it; here, as in one newly loaded,
every picture is judged alone. Where a map is smaller than a window theirs fails, and here it is padded.
"""

from collections.abc import Mapping
from typing import Any

from vitreous.backbones.config import ShiftRule, SwinConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import flag, integer, number, pair
from vitreous.checkpoints.foreign.names import NORM, PATCHES, POSITIONS, Names, layer, scatter
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    refuse,
    refuse_name,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.swin import (
    BLOCKS,
    NOT_SWIN,
    PATCH_NORM,
    QKV_BIAS,
    TABLE,
    Place,
    half,
    joined,
    merging,
    mlp_ratio,
    reasons,
    sizes_in,
    stages_in,
    unused_in,
    without_temperature,
)
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    LAYOUT,
    stated_activation,
    stated_config,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.geometry import shift_on
from vitreous.models.config import ClassifierConfig, ModelConfig

BASE = "swin."  # ahead of every name but the head's, where there is a head
MARK = "encoder.layers.0.blocks.0.attention.self.query.weight"
MASK = "embeddings.mask_token"
HEAD = layer("head", "classifier")
RULE: ShiftRule = "shorter_axis"
PLACE = Place(
    shifts=lambda grid, window: shift_on(grid, window, half(window), RULE),
    any_norm_eps=True,
    any_activation=True,
    learned_positions=True,
    larger_windows=False,
    oblong_windows=False,
)


def stage_names(stage: int, base: str = "") -> Names:
    """A stage's names; neighbours are merged at the end of the stage before."""
    outside = {
        **layer(PATCHES, f"{base}embeddings.patch_embeddings.projection"),
        **layer(PATCH_NORM, f"{base}embeddings.norm"),
        POSITIONS: (f"{base}embeddings.position_embeddings",),
        **layer(NORM, f"{base}layernorm"),
    }
    queries, keys, values = (f"attention.self.{part}" for part in ("query", "key", "value"))
    return Names(
        outside=merging(stage, f"{base}encoder.layers.{stage - 1}.downsample") if stage else outside,
        block=f"{base}encoder.layers.{stage}.blocks.{{}}",
        inside={
            **layer("attention_norm", "layernorm_before"),
            **layer("attention.attention.qkv", queries, keys, values),
            **layer("attention.attention.projection", "attention.output.dense"),
            TABLE: ("attention.self.relative_position_bias_table",),
            **layer("mlp_norm", "layernorm_after"),
            **layer("mlp.expand", "intermediate.dense"),
            **layer("mlp.contract", "output.dense"),
        },
        ours=BLOCKS.format(stage),
    )


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers Swin, or of a relative that is refused."""
    names = found.stored.described
    return any(f"{base}{MARK}" in names for base in (BASE, "swinv2.", ""))


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that a Swin cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = require_config(found)
    refuse(shapes, NOT_SWIN, name, "Swin")
    base = BASE if any(key.startswith(BASE) for key in shapes) else ""
    classifier, table = _classifier(shapes, values, base, name)
    classes = from_id2label(values, classifier.classes, name)
    assumed = () if found.preprocessor is not None else ("preprocessing",)
    return Plan(
        LAYOUT,
        classifier,
        read_processor(found.preprocessor or {}, classifier, name),
        classes.names,
        table | (HEAD if classifier.classes else {}),
        zeros=missing_biases(table, shapes, [QKV_BIAS]),
        # Of a SwinModel with use_mask_token; without a decoder nothing tells what it was for.
        unused=(*unused_in(shapes), *(key for key in shapes if key == base + MASK)),
        assumed=(*assumed, *classes.assumed),
    )


def require_config(found: Found) -> Mapping[str, Any]:
    """``config.json``, without which activation and epsilon are not known.

    Raises:
        CheckpointError: it is missing, or another family's.
    """
    values = stated_config(found)
    if found.model_type != "swin":
        raise CheckpointError(f"{found.name}: model_type {found.model_type!r}; only 'swin' is read")
    return values


def _classifier(
    shapes: Shapes, values: Mapping[str, Any], base: str, name: str
) -> tuple[ClassifierConfig, dict[str, tuple[str, ...]]]:
    backbone, table = backbone_of(shapes, values, base, name)
    head = "classifier.weight"
    try:
        return ClassifierConfig(
            backbone=backbone, classes=rows_of(shapes, head, name) if head in shapes else 0, pool="mean"
        ), table
    except ConfigError as error:
        raise CheckpointError(f"{name}/config.json: {error}") from error


def backbone_of(
    shapes: Shapes, values: Mapping[str, Any], base: str, name: str
) -> tuple[SwinConfig, dict[str, tuple[str, ...]]]:
    """The backbone that ``config.json`` describes, held to the shapes; and its names."""
    where = f"{name}/config.json"
    activation = stated_activation(values, where)
    stages = stages_in(shapes, lambda stage: stage_names(stage, base))
    sizes = sizes_in(shapes, stages, name)
    patch = pair(values.get("patch_size", 4), f"{where}: patch_size")
    stated = {
        "patch_size": (list(patch), [sizes.patch] * 2),
        "embed_dim": (values.get("embed_dim", 96), sizes.width),
        "depths": (values.get("depths", [2, 2, 6, 2]), list(sizes.depths)),
        "num_heads": (values.get("num_heads", [3, 6, 12, 24]), list(sizes.heads)),
    }
    for key, (said, found) in stated.items():
        if said != found:
            raise CheckpointError(f"{where}: {key} {said}, but the weights have {found}")
    positions = flag(values.get("use_absolute_embeddings", False), f"{where}: use_absolute_embeddings")
    size = pair(values.get("image_size", 224), f"{where}: image_size")
    if positions:  # there is none for a part of a patch
        size = size[0] // sizes.patch * sizes.patch, size[1] // sizes.patch * sizes.patch
    try:
        backbone = SwinConfig(
            width=sizes.width,
            depths=sizes.depths,
            heads=sizes.heads,
            window=integer(values.get("window_size", 7), f"{where}: window_size"),
            shift=RULE,
            patch=sizes.patch,
            positions="learned" if positions else "none",
            mlp_ratio=mlp_ratio(sizes, number(values.get("mlp_ratio", 4.0), f"{where}: mlp_ratio"), name),
            norm_eps=number(values.get("layer_norm_eps", 1e-5), f"{where}: layer_norm_eps"),
            activation=activation,
            image_size=size,
            channels=sizes.channels,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    table = joined(stages, sizes.depths)
    if positions:
        rows = table_rows(shapes, table[POSITIONS][0], name)
        if rows != backbone.grid[0] * backbone.grid[1]:
            raise CheckpointError(f"{where}: image_size {size[0]}x{size[1]} does not fit {rows} positions")
    return backbone, table


def _reasons(config: ModelConfig) -> list[str]:
    return reasons(config, PLACE)


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``AutoModelForImageClassification`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    depths = checkpoint.model.config.backbone.depths
    stages = tuple(stage_names(stage, BASE) for stage in range(len(depths)))
    tensors = scatter(joined(stages, depths) | HEAD, without_temperature(checkpoint))
    return {
        "config.json": to_json(written_config(checkpoint)),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(tensors),
    }


def written_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of a ``config.json``."""
    config = checkpoint.model.config
    swin: SwinConfig = config.backbone
    height, width = swin.image_size
    labels = {str(index): label for index, label in enumerate(checkpoint.classes)}
    return {
        "architectures": ["SwinForImageClassification"],
        "model_type": "swin",
        "image_size": height if height == width else [height, width],
        "patch_size": swin.patch,
        "num_channels": swin.channels,
        "embed_dim": swin.width,
        "depths": list(swin.depths),
        "num_heads": list(swin.heads),
        "window_size": swin.windows[0][0],
        "mlp_ratio": swin.mlp_ratio,
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": swin.drop_path,
        "hidden_act": ACTIVATION_NAMES[swin.activation],
        "use_absolute_embeddings": swin.positions == "learned",
        "layer_norm_eps": swin.norm_eps,
        "encoder_stride": swin.patch * 2 ** (len(swin.depths) - 1),
        "id2label": labels,
        "label2id": {label: int(index) for index, label in labels.items()},
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


READER = Reader(LAYOUT, "swin", recognises, plan, tuple(map(stage_names, range(4))))
WRITER = Writer("transformers' SwinForImageClassification", ("swin",), _reasons, write)
