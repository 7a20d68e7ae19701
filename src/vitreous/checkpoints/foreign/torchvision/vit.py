"""torchvision's ``VisionTransformer``: a bare ``.pth`` of weights, or the directory that we write.

The library keeps sizes, preprocessing and class names in code, so a bare file is completed from what
its published weights have in common. We write no pickle; the two lines that load what we write are

    model = VisionTransformer(**json.load(open("config.json"))["vision_transformer"])
    model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.fields import integer, section
from vitreous.checkpoints.foreign.names import CLASS_TOKEN, NORM, PATCHES, POSITIONS, Names, layer
from vitreous.checkpoints.foreign.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Found,
    Plan,
    Reader,
    Shapes,
    heads_of,
    named,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.torchvision.common import LAYOUT, told, written
from vitreous.checkpoints.foreign.writing import Limits, Writer, plain_state, weights_file, written_names
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig

EPS = 1e-6

NAMES = Names(
    outside={
        **layer(PATCHES, "conv_proj"),
        CLASS_TOKEN: ("class_token",),
        POSITIONS: ("encoder.pos_embedding",),
        **layer(NORM, "encoder.ln"),
        **layer("head", "heads.head"),
    },
    block="encoder.layers.encoder_layer_{}",
    inside={
        **layer("attention_norm", "ln_1"),
        "attention.qkv.weight": ("self_attention.in_proj_weight",),
        "attention.qkv.bias": ("self_attention.in_proj_bias",),
        **layer("attention.projection", "self_attention.out_proj"),
        **layer("mlp_norm", "ln_2"),
        **layer("mlp.expand", "mlp.0"),
        **layer("mlp.contract", "mlp.3"),
    },
)
MLP_HEAD = {**layer("head.hidden", "heads.pre_logits"), **layer("head.output", "heads.head")}
OLD_MLP = {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"}  # before torchvision 0.13

NOT_PLAIN = {"conv_proj.conv_": "a convolutional stem"}
LIMITS = Limits(
    eps=EPS,
    activations=("gelu",),
    channels=(3,),
    square=True,
    mlp_head=True,
    norms=("end",),
)


def recognises(found: Found) -> bool:
    """Whether these are the names of a torchvision ViT."""
    names = found.stored.described
    return "encoder.pos_embedding" in names and any(key.startswith("conv_proj.") for key in names)


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes, and the rest from ``config`` where we have written one.

    Raises:
        CheckpointError: parts that the plain ViT does not have, or a size that must be named.
    """
    shapes, config, name = found.shapes, found.config, found.name
    refuse(shapes, NOT_PLAIN, name)
    classifier = _classifier(shapes, config, name, model)
    table = NAMES.table(classifier.vit.depth)
    if classifier.head == "mlp":
        table = {key: value for key, value in table.items() if not key.startswith("head.")} | MLP_HEAD
    if "encoder.layers.encoder_layer_0.mlp.linear_1.weight" in shapes:
        table = {ours: (_old(theirs[0]),) for ours, theirs in table.items()}
    if config is None:
        classes, assumed = unnamed(classifier.classes)
        preprocess, assumed = _preprocess(classifier.vit), ("preprocessing", *assumed)
    else:
        preprocess, classes, assumed = *told(config, name), ()
    return Plan(LAYOUT, classifier, preprocess, classes, table, assumed=assumed)


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that torchvision's class can be filled from.

    Raises:
        CheckpointError: the model has parts that torchvision's ViT has no place for.
    """
    config = checkpoint.model.config
    table = NAMES.table(config.vit.depth) | (MLP_HEAD if config.head == "mlp" else {})
    tensors = written_names(table, plain_state(checkpoint), config)
    values = {
        "layout": LAYOUT,
        "vision_transformer": _arguments(config),
        **written(checkpoint),
    }
    return {"config.json": to_json(values), "model.safetensors": weights_file(tensors)}


def _arguments(config: ClassifierConfig) -> dict[str, Any]:
    backbone = config.vit
    return {
        "image_size": backbone.image_size[0],
        "patch_size": backbone.patch,
        "num_layers": backbone.depth,
        "num_heads": backbone.heads,
        "hidden_dim": backbone.encoder.width,
        "mlp_dim": backbone.encoder.mlp_width,
        "num_classes": config.classes,
        "representation_size": backbone.encoder.width if config.head == "mlp" else None,
    }


def _classifier(
    shapes: Shapes, config: Mapping[str, Any] | None, name: str, model: str | None
) -> ClassifierConfig:
    width, channels, patch = patch_kernel(shapes, "conv_proj.weight", name)
    mlp = "mlp.0.weight" if "encoder.layers.encoder_layer_0.mlp.0.weight" in shapes else "mlp.linear_1.weight"
    mlp_width = rows_of(shapes, f"encoder.layers.encoder_layer_0.{mlp}", name)
    side = square_side(table_rows(shapes, "encoder.pos_embedding", name) - 1, patch, name)
    if config is not None:
        heads = integer(section(config, "vision_transformer", name).get("num_heads"), f"{name}: num_heads")
    else:
        heads = 1 if model else heads_of(width, name)  # ``named`` puts the right one in its place
    try:
        found = ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(width=width, mlp_width=mlp_width, norm_eps=EPS),
                depth=NAMES.depth(shapes),
                heads=heads,
                patch=patch,
                image_size=side,
                channels=channels,
                position_resize="corners",
            ),
            classes=rows_of(shapes, "heads.head.weight", name),
            head="mlp" if "heads.pre_logits.weight" in shapes else "linear",
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    return found if model is None else named(found, model, name)


def _preprocess(backbone: ViTConfig) -> Preprocess:
    """What torchvision's published weights of this size were measured with."""
    size = backbone.image_size
    default = Preprocess(
        size=size, shorter=256, interpolation="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    if size[0] != 224:  # the only published ones are SWAG's, which crop nothing
        return replace(default, shorter=size[0], interpolation="bicubic")
    large = (backbone.encoder.width, backbone.patch) == (1024, 16)
    return replace(default, shorter=242) if large else default


def _old(theirs: str) -> str:
    return re.sub(r"mlp\.[03]", lambda match: OLD_MLP[match.group()], theirs)


READER = Reader(LAYOUT, "vit", recognises, plan, (NAMES,))
WRITER = Writer("torchvision's VisionTransformer", ("vit",), LIMITS.reasons, write)
