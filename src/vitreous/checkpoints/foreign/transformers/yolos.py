"""transformers' ``YolosForObjectDetection``, read and written: YOLOS (arXiv:2106.00666), a ViT with queries
among its tokens. Names are those on disk.

One table there holds the positions of the class token, of the patches and of the queries, in this order, and
one more all tables between blocks; here the queries stand ahead of the patches, their positions beside them.
``auxiliary_loss`` asks more of training alone, and is not kept.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import distinct, from_id2label
from vitreous.checkpoints.foreign.fields import flag, pair
from vitreous.checkpoints.foreign.names import POSITIONS, Names, layer, prefixed, scatter
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
    ACTIVATION_NAMES,
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
    stated_encoder,
)
from vitreous.checkpoints.foreign.transformers.detection_processor import YOLOS, read_sides, write_sides
from vitreous.checkpoints.foreign.transformers.detr import stated_costs, written_costs
from vitreous.checkpoints.foreign.writing import Limits, Writer, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, ModelConfig, YolosConfig

MARK = "vit.embeddings.detection_tokens"
BETWEEN = "vit.encoder.mid_position_embeddings"
QUERY_PLACES = "query_places"
OURS_BETWEEN = "positions_between.{}.table"
HEADS = {
    ours: theirs
    for part, name in (("classify", "class_labels_classifier"), ("locate", "bbox_predictor"))
    for index in range(3)
    for ours, theirs in layer(f"{part}.layers.{index}", f"{name}.layers.{index}").items()
}
NAMES = Names(
    outside={**prefixed(vit.NAMES.outside, "vit."), "queries": (MARK,), **HEADS},
    block="vit." + vit.NAMES.block,
    inside=vit.NAMES.inside,
)
LIMITS = Limits(norms=("end",), no_layer_scale=True)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers YOLOS."""
    return MARK in found.stored.described


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``, held to the shapes; what it leaves out is the library's default.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that a YOLOS cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found)
    if found.model_type != "yolos":
        raise CheckpointError(f"{name}: model_type {found.model_type!r}; only 'yolos' is read")
    try:
        config = _config(shapes, values, name)
    except ConfigError as error:
        raise CheckpointError(f"{name}/config.json: {error}") from error
    table = NAMES.table(config.backbone.depth)
    if config.positions_between:
        table[OURS_BETWEEN.format(0)] = (BETWEEN,)  # all of them, until they are cut apart
    given = found.preprocessor
    classes = from_id2label(values, config.classes, name)
    return Plan(
        LAYOUT,
        config,
        read_sides(given, config, name, YOLOS),
        distinct(classes.names),
        table,
        zeros=missing_biases(table, shapes, ["attention.qkv.bias"]),
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        finish=_apart(config.queries),
        facts=stated_costs(values, f"{name}/config.json"),
    )


def _config(shapes: Shapes, values: Mapping[str, Any], name: str) -> YolosConfig:
    where = f"{name}/config.json"
    _, channels, patch = patch_kernel(shapes, "vit.embeddings.patch_embeddings.projection.weight", name)
    refuse_patch(values, patch, where)
    height, width = (
        side // patch * patch for side in pair(values.get("image_size", [512, 864]), f"{where}: image_size")
    )
    depth, heads = stated_blocks(values, where)
    between = flag(values.get("use_mid_position_embeddings", True), f"{where}: use_mid_position_embeddings")
    config = YolosConfig(
        backbone=ViTConfig(
            encoder=stated_encoder(values, stated_activation(values, where), where),
            depth=depth,
            heads=heads,
            patch=patch,
            image_size=(height, width),
            channels=channels,
            position_resize="plain",
            cut_edges=True,
        ),
        classes=rows_of(shapes, "class_labels_classifier.layers.2.weight", name) - 1,
        queries=table_rows(shapes, MARK, name),
        positions_between=between and depth > 1,
    )
    rows, cols = config.backbone.grid
    wanted = config.prefix + rows * cols
    tables: dict[str, tuple[int, ...]] = {
        vit.BASE + "embeddings.position_embeddings": (1, wanted, config.backbone.encoder.width)
    }
    if config.positions_between:
        tables[BETWEEN] = (depth - 1, 1, wanted, config.backbone.encoder.width)
    for key, shape in tables.items():
        if shapes.get(key) != shape:
            sizes = "x".join(map(str, shapes.get(key, ()))) or "none"
            raise CheckpointError(
                f"{where}: says {key} of {'x'.join(map(str, shape))} (image_size {height}x{width},"
                f" {config.queries} queries), but the weights have {sizes}"
            )
    return config


def _apart(queries: int) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """The tables of positions in our order: what is told of queries stands ahead of the patches."""

    def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        whole = tensors[POSITIONS]  # (1, 1+P+Q, D)
        made = dict(tensors)
        made[POSITIONS] = whole[:, :-queries].contiguous()
        made[QUERY_PLACES] = whole[:, -queries:].contiguous()
        first = OURS_BETWEEN.format(0)
        if first in tensors:
            for index, table in enumerate(tensors[first]):  # (1, 1+P+Q, D)
                parts = [table[:, :1], table[:, -queries:], table[:, 1:-queries]]
                made[OURS_BETWEEN.format(index)] = torch.cat(parts, dim=1)
        return made

    return finish


def _together(config: YolosConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``_apart``."""
    made = {key: value for key, value in state.items() if not key.startswith("positions_between.")}
    made[POSITIONS] = torch.cat([made[POSITIONS], made.pop(QUERY_PLACES)], dim=1)
    if config.positions_between:
        queries, tables = config.queries, []
        for index in range(config.backbone.depth - 1):
            table = state[OURS_BETWEEN.format(index)]
            tables.append(
                torch.cat([table[:, :1], table[:, 1 + queries :], table[:, 1 : 1 + queries]], dim=1)
            )
        made[BETWEEN] = torch.stack(tables)
    return made


def reasons(config: ModelConfig) -> list[str]:
    """Why the library's class has no place for a model; empty where it has."""
    if not isinstance(config, YolosConfig):
        return ["it is no YOLOS"]
    backbone = config.backbone
    found = LIMITS.reasons(ClassifierConfig(backbone=backbone, classes=1, pool="mean"))
    found = [reason for reason in found if reason != "it pools the mean of its patches"]
    if backbone.positions != "learned" or not backbone.class_position:
        found.append("it has no learned position for each token")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``YolosForObjectDetection`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    config: YolosConfig = checkpoint.model.config
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    table = NAMES.table(config.backbone.depth) | {BETWEEN: (BETWEEN,)}
    return {
        "config.json": to_json(written_config(checkpoint)),
        "preprocessor_config.json": to_json(write_sides(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(table, _together(config, state))),
    }


def written_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of a ``config.json``."""
    config: YolosConfig = checkpoint.model.config
    backbone, encoder = config.backbone, config.backbone.encoder
    labels = {str(index): label for index, label in enumerate(checkpoint.classes)}
    return {
        "architectures": ["YolosForObjectDetection"],
        "model_type": "yolos",
        "image_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "hidden_size": encoder.width,
        "intermediate_size": encoder.mlp_width,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": backbone.heads,
        "hidden_act": ACTIVATION_NAMES[encoder.activation],
        "layer_norm_eps": encoder.norm_eps,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
        "num_detection_tokens": config.queries,
        "use_mid_position_embeddings": config.positions_between,
        "auxiliary_loss": False,
        **written_costs(checkpoint.lineage),
        "id2label": labels,
        "label2id": {label: int(index) for index, label in labels.items()},
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


READER = Reader(LAYOUT, "yolos", recognises, plan, (NAMES,))
WRITER = Writer("transformers' YolosForObjectDetection", ("yolos",), reasons, write)
