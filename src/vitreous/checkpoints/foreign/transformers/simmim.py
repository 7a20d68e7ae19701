"""transformers' ``SwinForMaskedImageModeling``: a Swin, its mask token, and the layer that rebuilds pictures.
Theirs takes square ones alone, and where something is hidden only those of the native size.
"""

from typing import Any

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.fields import integer
from vitreous.checkpoints.foreign.names import layer, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, missing_biases, refuse, refuse_name
from vitreous.checkpoints.foreign.swin import NOT_SWIN, QKV_BIAS, joined, reasons, unused_in
from vitreous.checkpoints.foreign.transformers.common import LAYOUT
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.transformers.swin import (
    BASE,
    MARK,
    MASK,
    PLACE,
    backbone_of,
    require_config,
    stage_names,
    written_config,
)
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.errors import CheckpointError
from vitreous.models.config import ModelConfig, SimMIMConfig

PAINT = layer("paint", "decoder.0")
OWN = {"mask_token": (BASE + MASK,), **PAINT}


def recognises(found: Found) -> bool:
    """Whether these are the names of a Swin that rebuilds pictures."""
    names = found.stored.described
    return BASE + MARK in names and PAINT["paint.weight"][0] in names


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that it cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = require_config(found)
    refuse(shapes, NOT_SWIN, name, "Swin")
    backbone, table = backbone_of(shapes, values, BASE, name)
    apart = backbone.patch * 2 ** (len(backbone.depths) - 1)
    where = f"{name}/config.json: encoder_stride"
    stride = integer(values.get("encoder_stride", 32), where)
    if stride != apart:
        raise CheckpointError(
            f"{where} {stride} paints no whole picture: cells of the last map are {apart} apart"
        )
    height, width = backbone.image_size
    if height != width:
        raise CheckpointError(
            f"{name}/config.json: pictures of {height}x{width} pixels, where theirs are square"
        )
    config = SimMIMConfig(backbone=backbone)
    return Plan(
        LAYOUT,
        config,
        read_processor(found.preprocessor or {}, config, name),
        (),
        table | OWN,
        zeros=missing_biases(table, shapes, [QKV_BIAS]),
        unused=unused_in(shapes),
        assumed=() if found.preprocessor is not None else ("preprocessing",),
    )


def _reasons(config: ModelConfig) -> list[str]:
    found = reasons(config, PLACE)
    height, width = config.image_size
    if height != width:
        found.append(f"its pictures of {height}x{width} pixels are not square")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``AutoModelForMaskedImageModeling`` loads.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    depths = checkpoint.model.config.backbone.depths
    stages = tuple(stage_names(stage, BASE) for stage in range(len(depths)))
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    values: dict[str, Any] = written_config(checkpoint) | {"architectures": ["SwinForMaskedImageModeling"]}
    for key in ("id2label", "label2id"):
        del values[key]
    return {
        "config.json": to_json(values),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(joined(stages, depths) | OWN, state)),
    }


READER = Reader(LAYOUT, "simmim", recognises, plan, tuple(map(stage_names, range(4))))
WRITER = Writer("transformers' SwinForMaskedImageModeling", ("simmim",), _reasons, write)
