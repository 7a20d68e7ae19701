"""transformers' ``BeitForSemanticSegmentation``, read and written: a BEiT under a UPerNet.

``out_indices`` count the states of the encoder from 1, the embedded patches being the first, so a tap is
one block less. Names are those on disk.
"""

from collections.abc import Mapping
from typing import Any

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign import relative
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import flag, integer
from vitreous.checkpoints.foreign.names import RELATIVE_INDEX, Names, Table, layer, prefixed, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, Shapes, refuse_name, rows_of
from vitreous.checkpoints.foreign.transformers import beit, beit_writer
from vitreous.checkpoints.foreign.transformers.common import LAYOUT
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.writing import Writer, plain_state, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import LEVELS, ModelConfig, UPerNetConfig

BASE = beit.MODEL_TYPES["beit"]
NORM_LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _norm(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return {f"{ours}.{leaf}": (f"{theirs}.{leaf}",) for leaf in NORM_LEAVES}


def _convolution(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return {f"{ours}.convolution.weight": (f"{theirs}.conv.weight",), **_norm(f"{ours}.norm", f"{theirs}.bn")}


HEADS = {
    **layer("scales.fourfold.0", "fpn1.0"),
    **_norm("scales.fourfold.1", "fpn1.1"),
    **layer("scales.fourfold.3", "fpn1.3"),
    **layer("scales.twofold", "fpn2.0"),
    **_convolution("head.deepest", "decode_head.bottleneck"),
    **_convolution("head.fuse", "decode_head.fpn_bottleneck"),
    **layer("head.classify", "decode_head.classifier"),
    **{
        ours: theirs
        for level in range(LEVELS - 1)
        for part, other in (("lateral", "lateral_convs"), ("smooth", "fpn_convs"))
        for ours, theirs in _convolution(f"head.{part}.{level}", f"decode_head.{other}.{level}").items()
    },
}
JOIN = _convolution("auxiliary.join", "auxiliary_head.conv_cat")
AUXILIARY = layer("auxiliary.classify", "auxiliary_head.classifier")


def recognises(found: Found) -> bool:
    """Whether these are a BEiT's names with a segmentation head beside them."""
    return beit.recognises(found) and "decode_head.classifier.weight" in found.stored.described


def plan(found: Found, model: str | None) -> Plan:
    """Read the backbone as any BEiT's, and the heads off ``config.json``.

    Raises:
        CheckpointError: as for a BEiT, or heads that are not the library's.
    """
    shapes, values, name = found.shapes, found.config, found.name
    refuse_name(model, name)
    if values is None or values.get("model_type") != "beit":
        raise CheckpointError(
            f"{name}: tensors of a BEiT under a UPerNet, whose settings stand in config.json;"
            " give the directory that holds both, with model_type 'beit'"
        )
    shared = BASE + beit.SHARED
    backbone = beit.read_backbone(shapes, values, BASE, shared, name)
    config = _config(shapes, values, backbone, name)
    biases = relative.arrange(_table(config), shapes, shared, backbone.heads, backbone.grid, name)
    classes = from_id2label(values, config.classes, name, by_folder=True)
    given = found.preprocessor
    return Plan(
        LAYOUT,
        config,
        read_processor(given or {}, config, name),
        classes.names,
        biases.table,
        zeros=biases.zeros,
        unused=tuple(key for key in shapes if key.endswith(RELATIVE_INDEX) or key == BASE + beit.MASK),
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        finish=biases.finish,
    )


def reasons(config: ModelConfig) -> list[str]:
    """Why the library's class has no place for a model; empty where it has."""
    found = beit_writer.backbone_reasons(config)
    if isinstance(config, UPerNetConfig) and max(config.taps) == config.vit.depth:
        found.append("it takes a map after its last block, and there the last state is the one before it")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``BeitForSemanticSegmentation.from_pretrained`` loads.

    Raises:
        CheckpointError: the preprocessing has a part that transformers has no place for.
    """
    config: UPerNetConfig = checkpoint.model.config
    state = beit_writer.placed_state(
        checkpoint.model.config.vit, plain_state(checkpoint, keep_layer_scale=True)
    )
    values = beit_writer.backbone_values(checkpoint) | {
        "architectures": ["BeitForSemanticSegmentation"],
        "out_indices": [tap + 1 for tap in config.taps],
        "out_features": [f"stage{tap + 1}" for tap in config.taps],
        "pool_scales": list(config.pool_scales),
        "use_mean_pooling": not config.vit.final_norm,
        "use_mask_token": False,
        "use_auxiliary_head": config.auxiliary_depth > 0,
        "auxiliary_num_convs": max(1, config.auxiliary_depth),
        "auxiliary_channels": config.auxiliary_width,
        "auxiliary_concat_input": config.auxiliary_join,
    }
    return {
        "config.json": to_json(values),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(_table(config), state)),
    }


def _config(shapes: Shapes, values: Mapping[str, Any], backbone: Any, name: str) -> UPerNetConfig:
    where = f"{name}/config.json"
    given = values.get("out_indices", values.get("segmentation_indices"))
    if not isinstance(given, list) or len(given) != LEVELS:
        raise CheckpointError(f"{where}: out_indices must name {LEVELS} blocks, got {given!r}")
    scales = values.get("pool_scales", [1, 2, 3, 6])
    if not isinstance(scales, list):
        raise CheckpointError(f"{where}: pool_scales must be a list, got {scales!r}")
    depth = 0
    if flag(values.get("use_auxiliary_head", True), f"{where}: use_auxiliary_head"):
        depth = integer(values.get("auxiliary_num_convs", 1), f"{where}: auxiliary_num_convs")
    join = flag(values.get("auxiliary_concat_input", False), f"{where}: auxiliary_concat_input")
    first, second, third, fourth = (integer(index, f"{where}: out_indices") - 1 for index in given)
    try:
        return UPerNetConfig(
            backbone=backbone,
            taps=(first, second, third, fourth),
            classes=rows_of(shapes, "decode_head.classifier.weight", name),
            pool_scales=tuple(integer(scale, f"{where}: pool_scales") for scale in scales),
            auxiliary_depth=depth,
            auxiliary_width=integer(values.get("auxiliary_channels", 256), f"{where}: auxiliary_channels"),
            auxiliary_join=join and depth > 0,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _table(config: UPerNetConfig) -> Table:
    table = prefixed(beit.NAMES.table(config.vit.depth), BASE) | HEADS
    for index in range(len(config.pool_scales)):
        table |= _convolution(f"head.pooled.{index}", f"decode_head.psp_modules.{index}.1")
    if config.auxiliary_depth:
        table |= AUXILIARY | (JOIN if config.auxiliary_join else {})
    for index in range(config.auxiliary_depth):
        table |= _convolution(f"auxiliary.convolutions.{index}", f"auxiliary_head.convs.{index}")
    return table


EXPLAINED = (beit.NAMES, Names(outside=HEADS | AUXILIARY, block=beit.NAMES.block, inside={}))
READER = Reader(LAYOUT, "upernet", recognises, plan, EXPLAINED)
WRITER = Writer("transformers' BeitForSemanticSegmentation", ("upernet",), reasons, write)
