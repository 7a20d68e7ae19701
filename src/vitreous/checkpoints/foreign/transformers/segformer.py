"""transformers' ``SegformerForSemanticSegmentation`` and ``SegformerForImageClassification``, read and
written, and ``SegformerModel``, read. Names are those on disk.

Every norm of theirs has an epsilon of 1e-5, whatever ``layer_norm_eps`` says: nobody there looks at it.
``do_reduce_labels`` of the image processor speaks of label maps, not of pictures: 0 is then no class but left
out, and 1 is the first class. It is kept in the checkpoint's lineage as ``reduce_labels``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vitreous.backbones.config import MiTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import flag, integer, number
from vitreous.checkpoints.foreign.names import Names, layer, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, Shapes, refuse_name, rows_of
from vitreous.checkpoints.foreign.swin import without_temperature
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    LAYOUT,
    stated_activation,
    stated_config,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, ModelConfig, SegFormerConfig, with_image_size

BASE = "segformer.encoder."  # ahead of every name but the heads', where there is a head
# That of an encoder alone is taken off where it stands ahead of every name.
BASES = (BASE, "encoder.", "")
MARK = "patch_embeddings.0.proj.weight"
CLASSIFIER = "classifier.weight"
PLACES = "decode_head.classifier.weight"
NORM_EPS = 1e-5
REDUCED = "reduce_labels"  # in our lineage
USUAL: Mapping[str, Any] = {
    "hidden_sizes": [32, 64, 160, 256],
    "depths": [2, 2, 2, 2],
    "num_attention_heads": [1, 2, 5, 8],
    "sr_ratios": [8, 4, 2, 1],
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "mlp_ratios": [4, 4, 4, 4],
}
HEAD = {
    "head.fuse.weight": ("decode_head.linear_fuse.weight",),
    **{
        f"head.norm.{leaf}": (f"decode_head.batch_norm.{leaf}",)
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    },
    **layer("head.classify", "decode_head.classifier"),
}
HEADS = Names(
    outside=HEAD,
    block="decode_head.linear_c.{}",
    inside={"weight": ("proj.weight",), "bias": ("proj.bias",)},
    ours="head.projections",
)


def stage_names(stage: int, reduction: int, base: str = "") -> Names:
    """A stage's names; where nothing is reduced, queries, keys and values are one layer of ours."""
    queries, keys, values = (f"attention.self.{part}" for part in ("query", "key", "value"))
    asked = layer("attention.qkv", queries, keys, values)
    if reduction > 1:
        asked = {
            **layer("attention.queries", queries),
            **layer("attention.keys_values", keys, values),
            **layer("attention.reduce", "attention.self.sr"),
            **layer("attention.norm", "attention.self.layer_norm"),
        }
    ours = f"backbone.stages.{stage}"
    return Names(
        outside={
            **layer(f"{ours}.embed.projection", f"{base}patch_embeddings.{stage}.proj"),
            **layer(f"{ours}.embed.norm", f"{base}patch_embeddings.{stage}.layer_norm"),
            **layer(f"{ours}.norm", f"{base}layer_norm.{stage}"),
        },
        block=f"{base}block.{stage}.{{}}",
        inside={
            **layer("attention_norm", "layer_norm_1"),
            **asked,
            **layer("attention.projection", "attention.output.dense"),
            **layer("mlp_norm", "layer_norm_2"),
            **layer("mlp.expand", "mlp.dense1"),
            **layer("mlp.mix", "mlp.dwconv.dwconv"),
            **layer("mlp.contract", "mlp.dense2"),
        },
        ours=f"{ours}.blocks",
    )


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers SegFormer."""
    return any(f"{base}{MARK}" in found.stored.described for base in BASES)


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``, held to the shapes; what it leaves out is the library's default.

    Raises:
        CheckpointError: no ``config.json``, another family, or a value that a SegFormer cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found, untold="heads and activation")
    if found.model_type != "segformer":
        raise CheckpointError(f"{name}: model_type {found.model_type!r}; only 'segformer' is read")
    base = next(base for base in BASES if base + MARK in shapes)
    backbone = _backbone(shapes, values, base, name)
    config = _config(shapes, values, backbone, name)
    given = found.preprocessor
    preprocess = read_processor(given or {}, config, name)
    classes = from_id2label(values, config.classes, name)
    return Plan(
        LAYOUT,
        with_image_size(config, preprocess.size),  # config.json does not tell it, and every size is native
        preprocess,
        classes.names,
        _table(config, base),
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        facts=_facts(given or {}, config, name),
    )


def _backbone(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> MiTConfig:
    where = f"{name}/config.json"
    stated = {key: _integers(values.get(key, usual), f"{where}: {key}") for key, usual in USUAL.items()}
    stages = integer(values.get("num_encoder_blocks", 4), f"{where}: num_encoder_blocks")
    for key, sizes in stated.items():
        if len(sizes) != stages:
            raise CheckpointError(f"{where}: {len(sizes)} values of {key} for {stages} stages")
    try:
        backbone = MiTConfig(
            widths=stated["hidden_sizes"],
            depths=stated["depths"],
            heads=stated["num_attention_heads"],
            reductions=stated["sr_ratios"],
            kernels=stated["patch_sizes"],
            steps=stated["strides"],
            mlp_ratios=tuple(map(float, stated["mlp_ratios"])),
            norm_eps=NORM_EPS,
            activation=stated_activation(values, where),
            drop_path=number(values.get("drop_path_rate", 0.1), f"{where}: drop_path_rate"),
            channels=integer(values.get("num_channels", 3), f"{where}: num_channels"),
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    _hold(backbone, shapes, base, name)
    return backbone


def _hold(backbone: MiTConfig, shapes: Shapes, base: str, name: str) -> None:
    """CheckpointError where the weights have other sizes than ``config.json`` says."""
    channels = (backbone.channels, *backbone.widths)
    for stage, (width, kernel) in enumerate(zip(backbone.widths, backbone.kernels, strict=True)):
        patches = f"{base}patch_embeddings.{stage}.proj.weight"
        first = f"{base}block.{stage}.0"
        reduction = backbone.reductions[stage]
        expected = {
            patches: (width, channels[stage], kernel, kernel),
            f"{first}.attention.self.sr.weight": (width, width, reduction, reduction),
            f"{first}.mlp.dense1.weight": (backbone.mlp_widths[stage], width),
        }
        if reduction == 1:
            del expected[f"{first}.attention.self.sr.weight"]
        for key, shape in expected.items():
            if shapes.get(key) != shape:
                raise CheckpointError(
                    f"{name}/config.json: says {key} of {_sides(shape)}, but the weights have"
                    f" {_sides(shapes.get(key))}"
                )
        depth = stage_names(stage, reduction, base).depth(shapes)
        if depth != backbone.depths[stage]:
            raise CheckpointError(
                f"{name}/config.json: says {backbone.depths[stage]} blocks in stage {stage}, but the weights"
                f" have {depth}"
            )


def _config(
    shapes: Shapes, values: Mapping[str, Any], backbone: MiTConfig, name: str
) -> ClassifierConfig | SegFormerConfig:
    where = f"{name}/config.json"
    if PLACES not in shapes:
        classes = rows_of(shapes, CLASSIFIER, name) if CLASSIFIER in shapes else 0
        return ClassifierConfig(backbone=backbone, classes=classes, pool="mean")
    if not flag(values.get("reshape_last_stage", True), f"{where}: reshape_last_stage"):
        raise CheckpointError(
            f"{where}: reshape_last_stage is false, and a head for every place needs the last map as a grid;"
            " wanted it true"
        )
    dropout = number(values.get("classifier_dropout_prob", 0.1), f"{where}: classifier_dropout_prob")
    try:
        return SegFormerConfig(
            backbone=backbone,
            classes=rows_of(shapes, PLACES, name),
            decoder_width=integer(values.get("decoder_hidden_size", 256), f"{where}: decoder_hidden_size"),
            decoder_dropout=dropout,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _facts(given: Mapping[str, Any], config: ModelConfig, name: str) -> dict[str, Any]:
    """What the image processor says of label maps; older files call it ``reduce_labels``."""
    if not isinstance(config, SegFormerConfig) or not given:
        return {}
    said = given.get("do_reduce_labels", given.get("reduce_labels"))
    where = f"{name}/preprocessor_config.json: do_reduce_labels"
    return {REDUCED: said is not None and flag(said, where)}


def _table(config: ClassifierConfig | SegFormerConfig, base: str) -> dict[str, tuple[str, ...]]:
    backbone: Any = config.backbone
    table: dict[str, tuple[str, ...]] = {}
    for stage, (reduction, depth) in enumerate(zip(backbone.reductions, backbone.depths, strict=True)):
        table |= stage_names(stage, reduction, base).table(depth)
    if isinstance(config, ClassifierConfig):
        return table | (layer("head", "classifier") if config.classes else {})
    return table | HEADS.table(len(backbone.widths))


def reasons(config: ModelConfig) -> list[str]:
    """Why the library's class has no place for a model; empty where it has."""
    if not isinstance(config, SegFormerConfig | ClassifierConfig):
        return ["it has no head for every place"]
    backbone = config.backbone
    if not isinstance(backbone, MiTConfig):
        return ["it does not stand on a Mix Transformer"]
    whole = config if isinstance(config, ClassifierConfig) else None
    eps = next((value for value in (backbone.norm_eps, backbone.merge_eps) if value != NORM_EPS), NORM_EPS)
    checks = {
        "it has no head": config.classes == 0,
        "it has a head of two layers": whole is not None and whole.head == "mlp",
        "it normalises after pooling": whole is not None and whole.pool_norm,
        f"a norm epsilon is {eps}, there it is {NORM_EPS}": eps != NORM_EPS,
        "the hidden layers of its MLPs are no multiple of their width": any(
            ratio != int(ratio) for ratio in backbone.mlp_ratios
        ),
    }
    return [reason for reason, holds in checks.items() if holds]


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that the library's class for this head and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    config: ClassifierConfig | SegFormerConfig = checkpoint.model.config
    processor = write_processor(checkpoint.preprocess)
    if processor["image_processor_type"] == "ViTImageProcessor":  # which does the same, but knows no maps
        processor["image_processor_type"] = "SegformerImageProcessor"
        processor["do_reduce_labels"] = checkpoint.lineage.get(REDUCED) is True
    state = without_temperature(checkpoint)
    return {
        "config.json": to_json(written_config(checkpoint)),
        "preprocessor_config.json": to_json(processor),
        "model.safetensors": weights_file(scatter(_table(config, BASE), state)),
    }


def written_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The values of a ``config.json``."""
    config: ClassifierConfig | SegFormerConfig = checkpoint.model.config
    backbone: Any = config.backbone
    labels = {str(index): label for index, label in enumerate(checkpoint.classes)}
    head: dict[str, Any] = {"architectures": ["SegformerForImageClassification"]}
    if isinstance(config, SegFormerConfig):
        head = {
            "architectures": ["SegformerForSemanticSegmentation"],
            "classifier_dropout_prob": config.decoder_dropout,
            "decoder_hidden_size": config.decoder_width,
            "semantic_loss_ignore_index": 255,
        }
    return {
        **head,
        "model_type": "segformer",
        "num_channels": backbone.channels,
        "num_encoder_blocks": len(backbone.widths),
        "hidden_sizes": list(backbone.widths),
        "depths": list(backbone.depths),
        "num_attention_heads": list(backbone.heads),
        "sr_ratios": list(backbone.reductions),
        "patch_sizes": list(backbone.kernels),
        "strides": list(backbone.steps),
        "mlp_ratios": list(map(int, backbone.mlp_ratios)),
        "hidden_act": ACTIVATION_NAMES[backbone.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": backbone.drop_path,
        "layer_norm_eps": backbone.norm_eps,
        "reshape_last_stage": True,
        "id2label": labels,
        "label2id": {label: int(index) for index, label in labels.items()},
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


def _integers(given: Any, where: str) -> tuple[int, ...]:
    if not isinstance(given, list):
        raise CheckpointError(f"{where}: wanted a list of whole numbers, got {given!r}")
    return tuple(integer(value, where) for value in given)


def _sides(shape: Sequence[int] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape))


EXPLAINED = (
    *(stage_names(stage, reduction, BASE) for stage, reduction in enumerate(USUAL["sr_ratios"])),
    HEADS,
)
READER = Reader(LAYOUT, "segformer", recognises, plan, EXPLAINED)
CLASSIFIER_WRITER = Writer("transformers' SegformerForImageClassification", ("mit",), reasons, write)
WRITER = Writer("transformers' SegformerForSemanticSegmentation", ("segformer",), reasons, write)
