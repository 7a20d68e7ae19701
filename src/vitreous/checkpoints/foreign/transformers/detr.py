"""transformers' ``DetrForObjectDetection``, read and written: DETR (arXiv:2005.12872) on the backbones of
``detr_backbones``. Names are those on disk.

Where ``auxiliary_loss`` is on, the library's decoder normalises what its layers hand on, which the paper does
not; ``norm_between`` says so here. What padding is, it reads off the nearest pixel of the mask after the
backbone has seen it; here pictures of several sizes are answered as they are alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import distinct, from_id2label
from vitreous.checkpoints.foreign.fields import flag, integer, number
from vitreous.checkpoints.foreign.names import Names, Table, layer, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, Shapes, refuse_name, rows_of
from vitreous.checkpoints.foreign.transformers.common import LAYOUT, stated_config
from vitreous.checkpoints.foreign.transformers.detection_processor import read_sides, write_sides
from vitreous.checkpoints.foreign.transformers.detr_backbones import (
    backbone_reasons,
    read_backbone,
    write_backbone,
)
from vitreous.checkpoints.foreign.transformers.detr_parts import ReadBackbone
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import DetrConfig, ModelConfig
from vitreous.models.detr_config import Activation

MARK = "model.query_position_embeddings.weight"
CLASSIFIER = "class_labels_classifier"
ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
COSTS: Mapping[str, Any] = {
    "class_cost": 1,
    "bbox_cost": 5,
    "giou_cost": 2,
    "bbox_loss_coefficient": 5,
    "giou_loss_coefficient": 2,
    "eos_coefficient": 0.1,
}
HEADS: Table = {
    **layer("project", "model.input_projection"),
    "query_places": (MARK,),
    **layer("transformer.norm", "model.decoder.layernorm"),
    **layer("classify", CLASSIFIER),
    **{
        ours: theirs
        for number in range(3)
        for ours, theirs in layer(f"locate.layers.{number}", f"bbox_predictor.layers.{number}").items()
    },
}


def _attention(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    names = {"queries": "q_proj", "keys": "k_proj", "values": "v_proj", "projection": "out_proj"}
    return {
        mine: other
        for part, name in names.items()
        for mine, other in layer(f"{ours}.{part}", f"{theirs}.{name}").items()
    }


LAYER = {
    **_attention("attention", "self_attn"),
    **layer("attention_norm", "self_attn_layer_norm"),
    **layer("mlp.expand", "fc1"),
    **layer("mlp.contract", "fc2"),
    **layer("mlp_norm", "final_layer_norm"),
}
ENCODER = Names(outside=HEADS, block="model.encoder.layers.{}", inside=LAYER, ours="transformer.encoder")
DECODER = Names(
    outside={},
    block="model.decoder.layers.{}",
    inside={
        **LAYER,
        **_attention("cross_attention", "encoder_attn"),
        **layer("cross_norm", "encoder_attn_layer_norm"),
    },
    ours="transformer.decoder",
)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers DETR."""
    return {MARK, "model.decoder.layers.0.encoder_attn.q_proj.weight"} <= set(found.stored.described)


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``, held to the shapes; what it leaves out is the library's default.

    Raises:
        CheckpointError: no ``config.json``, a relative of DETR, or a value that a DETR cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found, untold="backbone and heads")
    if found.model_type != "detr":
        raise CheckpointError(f"{name}: model_type {found.model_type!r}; only 'detr' is read")
    try:
        backbone = read_backbone(shapes, values, name)
        config = _config(shapes, values, backbone, name)
    except ConfigError as error:
        raise CheckpointError(f"{name}/config.json: {error}") from error
    given = found.preprocessor
    preprocess = read_sides(given, config, name)
    if isinstance(config.backbone, ConvNetBackboneConfig):  # to which every size is native
        side = preprocess.shorter
        size = preprocess.size if side is None else (side, side)
        config = replace(config, backbone=replace(config.backbone, image_size=size))
        preprocess = replace(preprocess, size=config.image_size)
    classes = from_id2label(values, config.classes, name)
    return Plan(
        LAYOUT,
        config,
        preprocess,
        distinct(classes.names),
        _table(config, backbone.table),
        zeros=backbone.zeros,
        unused=backbone.unused,
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        finish=backbone.finish,
        facts=stated_costs(values, f"{name}/config.json"),
    )


def stated_costs(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What ``config.json`` says of the loss, as a fact of the lineage; nothing of the usual values."""
    stated = {key: number(values.get(key, usual), f"{where}: {key}") for key, usual in COSTS.items()}
    return {"loss": stated} if any(stated[key] != usual for key, usual in COSTS.items()) else {}


def written_costs(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a ``config.json`` that is written."""
    stated = lineage.get("loss")
    return {
        key: stated.get(key, usual) if isinstance(stated, dict) else usual for key, usual in COSTS.items()
    }


def _config(shapes: Shapes, values: Mapping[str, Any], backbone: ReadBackbone, name: str) -> DetrConfig:
    where = f"{name}/config.json"
    if values.get("position_embedding_type", "sine") != "sine":
        told = values["position_embedding_type"]
        raise CheckpointError(f"{where}: position_embedding_type {told!r} is not read, only 'sine'")
    activation = values.get("activation_function", "relu")
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(
            f"{where}: activation_function {activation!r} is not read; wanted one of {known}"
        )
    depths = {"encoder": ENCODER.depth(shapes), "decoder": DECODER.depth(shapes)}
    stated = {
        side: [values.get(f"{side}_{key}", usual) for key, usual in (("layers", 6), ("attention_heads", 8))]
        for side in depths
    }
    for side, found in depths.items():
        if stated[side][0] != found:
            raise CheckpointError(f"{where}: {side}_layers {stated[side][0]!r}, but the weights have {found}")
    hidden = [rows_of(shapes, f"model.{side}.layers.0.fc1.weight", name) for side in depths if depths[side]]
    heads = [integer(stated[side][1], f"{where}: {side}_attention_heads") for side in depths if depths[side]]
    if len(set(hidden)) > 1 or len(set(heads)) > 1:
        raise CheckpointError(
            f"{where}: encoder and decoder have {heads} heads and MLPs of {hidden}; here both have the same"
        )
    queries = shapes[MARK]
    return DetrConfig(
        backbone=backbone.config,
        classes=rows_of(shapes, f"{CLASSIFIER}.weight", name) - 1,
        width=queries[1] if len(queries) == 2 else 0,
        encoder_depth=depths["encoder"],
        decoder_depth=depths["decoder"],
        heads=heads[0],
        mlp_width=hidden[0],
        queries=queries[0],
        activation=ACTIVATIONS[activation],
        dropout=number(values.get("dropout", 0.1), f"{where}: dropout"),
        norm_between=flag(values.get("auxiliary_loss", False), f"{where}: auxiliary_loss"),
    )


def _table(config: DetrConfig, backbone: Table) -> dict[str, tuple[str, ...]]:
    return {**ENCODER.table(config.encoder_depth), **DECODER.table(config.decoder_depth), **backbone}


def reasons(config: ModelConfig) -> list[str]:
    """Why the library's class has no place for a model; empty where it has."""
    if not isinstance(config, DetrConfig):
        return ["it is no DETR"]
    found: list[str] = [] if config.references == "none" else [f"its boxes are told from {config.references}"]
    return [*found, *backbone_reasons(config)]


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``DetrForObjectDetection`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    config: DetrConfig = checkpoint.model.config
    backbone = write_backbone(config)
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    return {
        "config.json": to_json(written_config(checkpoint, backbone.values)),
        "preprocessor_config.json": to_json(write_sides(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(_table(config, backbone.table), backbone.ready(state))),
    }


def written_config(checkpoint: Checkpoint, backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a ``config.json``."""
    config: DetrConfig = checkpoint.model.config
    labels = {str(index): label for index, label in enumerate(checkpoint.classes)}
    activations = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    return {
        "architectures": ["DetrForObjectDetection"],
        "model_type": "detr",
        "backbone_config": dict(backbone),
        "use_timm_backbone": False,
        "num_channels": config.channels,
        "d_model": config.width,
        "num_queries": config.queries,
        "encoder_layers": config.encoder_depth,
        "decoder_layers": config.decoder_depth,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.mlp_width,
        "decoder_ffn_dim": config.mlp_width,
        "activation_function": activations[config.activation],
        "dropout": config.dropout,
        "auxiliary_loss": config.norm_between,
        "position_embedding_type": "sine",
        "dilation": False,
        **written_costs(checkpoint.lineage),
        "id2label": labels,
        "label2id": {label: int(index) for index, label in labels.items()},
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


READER = Reader(LAYOUT, "detr", recognises, plan, (ENCODER, DECODER))
WRITER = Writer("transformers' DetrForObjectDetection", ("detr",), reasons, write)
