"""DINOv2 as its authors published it, ``dinov2_vits14_pretrain.pth`` and its like, with registers or
without, alone or below a linear head; also the teacher of a training run. Read, not written.

Its own code adds a tenth of a patch when it carries positions to another grid; the models with registers
are published with antialiasing in its place. "DINOv2" (arXiv:2304.07193).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.names import REGISTERS, Names, layer
from vitreous.checkpoints.foreign.plan import (
    FACEBOOKRESEARCH,
    Found,
    Plan,
    Reader,
    Shapes,
    heads_of,
    imagenet_statistics,
    missing_biases,
    named,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm import vit as timm
from vitreous.checkpoints.weights import shape_text
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig

EPS = 1e-6
LAYER_SCALE = 1.0  # the first value in its published configurations

NAMES = Names(
    outside={ours: theirs for ours, theirs in timm.NAMES.outside.items() if not ours.startswith("pool_norm")}
    | {REGISTERS: ("register_tokens",)}
    | layer("head", "linear_head"),
    block="blocks.{}",
    inside=timm.NAMES.inside,
)
GATED = replace(
    NAMES, inside={**NAMES.inside, **layer("mlp.expand", "mlp.w12"), **layer("mlp.contract", "mlp.w3")}
)
BASES = ("", "backbone.", "teacher.backbone.")
# What stands beside the backbone in a training run.
TRAINING = ("dino_head.", "ibot_head.", "teacher.dino_head.", "teacher.ibot_head.", "student.")
CHUNKED = re.compile(r"blocks\.\d+\.(\d+)\.")  # a block's number goes on from one chunk to the next
HEAD_ALONE = ({"weight", "bias"}, {"linear.weight", "linear.bias"})
NOT_HERE = {
    "norm_pre.": "a norm ahead of the blocks",
    "q_norm": "a norm of queries and keys",
    "storage_tokens": "a register of another kind (DINOv3)",
    "relative_position": "a relative position bias (BEiT)",
    "decoder": "a decoder (MAE)",
    "cls_pos_embed": "a class position of its own",
}


class Inside(NamedTuple):
    """The names of a file as its code has them: without the prefix ``base`` and the number of a chunk.
    ``actual`` are the file's own."""

    base: str
    shapes: Shapes
    actual: Mapping[str, str]


def recognises(found: Found) -> bool:
    """Whether these are the names of a published DINOv2, or of a linear head of one."""
    names = found.stored.described
    if found.config is None and set(names) in HEAD_ALONE:
        return True
    base = _base(names)
    if base is None:
        return False
    mask = names.get(f"{base}mask_token")
    own = any(f"{base}{key}" in names for key in ("register_tokens", "blocks.0.mlp.w12.weight")) or any(
        CHUNKED.match(key.removeprefix(base)) for key in names
    )
    return own or (mask is not None and len(mask.shape) == 2)


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes; ``model`` is a name of our catalog, for widths that were never
    published.

    Raises:
        CheckpointError: a head without its backbone, parts that DINOv2 does not have, or heads that must
            be named.
    """
    name = found.name
    if set(found.shapes) in HEAD_ALONE:
        shape = next(found.shapes[key] for key in found.shapes if key.endswith("weight"))
        raise CheckpointError(
            f"{name}: a linear head alone ({shape_text(shape)}), without the backbone that it stands on;"
            " give the backbone's file (dinov2_vits14_pretrain.pth), or a state dict of both"
        )
    inside = _inside(found.shapes, name)
    refuse(inside.shapes, NOT_HERE, name, "DINOv2")
    config = _classifier(inside.shapes, name, named_heads=model is not None)
    if model is not None:
        config = named(config, model, name)
    names = GATED if config.vit.encoder.mlp == "swiglu" else NAMES
    canonical = names.table(config.vit.depth)
    classes = unnamed(config.classes)
    mean, std = imagenet_statistics(config.channels)
    table = {
        ours: tuple(inside.actual.get(part, inside.base + part) for part in theirs)
        for ours, theirs in canonical.items()
    }
    return Plan(
        FACEBOOKRESEARCH,
        config,
        Preprocess(size=(224, 224), shorter=256, interpolation="bicubic", mean=mean, std=std),
        classes.names,
        table,
        zeros=missing_biases(table, found.shapes, timm.BIASES),
        unused=tuple(
            key for key in found.shapes if key == f"{inside.base}mask_token" or key.startswith(TRAINING)
        ),
        assumed=("preprocessing", *classes.assumed),
        stated_family="dinov2",
    )


def _base(names: Collection[str]) -> str | None:
    return next((base for base in BASES if f"{base}patch_embed.proj.weight" in names), None)


def _inside(shapes: Shapes, name: str) -> Inside:
    base = _base(shapes) or ""
    plain: dict[str, tuple[int, ...]] = {}
    actual: dict[str, str] = {}
    for key, shape in shapes.items():
        if not key.startswith((base, "linear_head.")) or (not base and key.startswith(TRAINING)):
            continue
        ours = CHUNKED.sub(r"blocks.\1.", key.removeprefix(base), count=1)
        if ours in actual:
            raise CheckpointError(f"{name}: {actual[ours]} and {key} are the same block's")
        plain[ours], actual[ours] = shape, key
    return Inside(base, plain, actual)


def _classifier(shapes: Shapes, name: str, *, named_heads: bool) -> ClassifierConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    gated = "blocks.0.mlp.w12.weight" in shapes
    rows = rows_of(shapes, f"blocks.0.mlp.{'w12' if gated else 'fc1'}.weight", name)
    registers = table_rows(shapes, "register_tokens", name) if "register_tokens" in shapes else 0
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width,
                    mlp_width=rows // 2 if gated else rows,
                    norm_eps=EPS,
                    mlp="swiglu" if gated else "plain",
                    layer_scale=LAYER_SCALE if "blocks.0.ls1.gamma" in shapes else None,
                ),
                depth=NAMES.depth(shapes),
                heads=1 if named_heads else heads_of(width, name, gated=gated),
                patch=patch,
                image_size=square_side(table_rows(shapes, "pos_embed", name) - 1, patch, name),
                channels=channels,
                registers=registers,
                position_resize="antialias" if registers else "offset",
            ),
            classes=_classes(shapes, width, name),
            pool="class_mean" if "linear_head.weight" in shapes else "class",
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _classes(shapes: Shapes, width: int, name: str) -> int:
    shape = shapes.get("linear_head.weight")
    if shape is None:
        return 0
    if len(shape) != 2 or shape[1] != 2 * width:
        seen = shape[1] // width - 1 if len(shape) == 2 else 0
        raise CheckpointError(
            f"{name}: a head on the class tokens of {seen} layers is not read, only one on those of the last"
        )
    return shape[0]


READER = Reader(FACEBOOKRESEARCH, "dinov2", recognises, plan, (NAMES, GATED))
