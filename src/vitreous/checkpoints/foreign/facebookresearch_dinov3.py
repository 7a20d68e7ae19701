"""DINOv3 as its authors publish it, ``dinov3_vits16_pretrain_*.pth`` and its like: read, not written.

"DINOv3" (arXiv:2508.10104). A file keeps the periods of the turning in 16 bits. As timm and transformers
do with the same files, they are computed anew, and those of the file only checked. The biases of keys are
masked.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.names import (
    BLOCK,
    CLASS_TOKEN,
    NORM,
    PATCHES,
    REGISTERS,
    Names,
    layer,
)
from vitreous.checkpoints.foreign.plan import (
    FACEBOOKRESEARCH,
    Found,
    Plan,
    Reader,
    Shapes,
    imagenet_statistics,
    missing_biases,
    named,
    patch_kernel,
    refuse,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.dinov3 import heads_of_width
from vitreous.checkpoints.foreign.timm.vit import BIASES
from vitreous.checkpoints.foreign.timm.vit import NAMES as VIT_NAMES
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig

EPS = 1e-5
LAYER_SCALE = 1e-5
SIDE = 256  # pixels, at which the published models look
MASK, PERIODS = "bias_mask", "rope_embed.periods"
COARSE = 0.01  # what 16 bits leave of a period, as a share of it

NAMES = Names(
    outside={
        **layer(PATCHES, "patch_embed.proj"),
        CLASS_TOKEN: ("cls_token",),
        REGISTERS: ("storage_tokens",),
        **layer(NORM, "norm"),
        PERIODS: (PERIODS,),
    },
    block="blocks.{}",
    inside={**VIT_NAMES.inside, MASK: ("attn.qkv.bias_mask",)},
)
GATED = replace(
    NAMES,
    inside={**NAMES.inside, **layer("mlp.expand", "mlp.w1", "mlp.w2"), **layer("mlp.contract", "mlp.w3")},
)
UNUSED = ("mask_token", "local_cls_norm.weight", "local_cls_norm.bias")
NOT_HERE = {
    "pos_embed": "a table of positions",
    "attn.wq": "queries apart from keys (Sapiens)",
    "cls_norm": "a norm of the class token's own",
    "projectors.": "heads of distillation (EUPE)",
}


def recognises(found: Found) -> bool:
    """Whether these are the names of a published DINOv3."""
    names = found.stored.described
    return "storage_tokens" in names and "patch_embed.proj.weight" in names


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes; ``model`` is a name of our catalog, for widths that were never
    published.

    Raises:
        CheckpointError: parts that DINOv3 does not have, heads that must be named, or periods of another
            base than the published ones have.
    """
    shapes, name = found.shapes, found.name
    refuse([key for key in shapes if key not in UNUSED], NOT_HERE, name, "DINOv3")
    config = _classifier(shapes, name, heads_named=model is not None)
    if model is not None:
        config = named(config, model, name)
    table = (GATED if config.vit.encoder.mlp == "swiglu" else NAMES).table(config.vit.depth)
    mean, std = imagenet_statistics(config.channels)
    return Plan(
        FACEBOOKRESEARCH,
        config,
        Preprocess(size=(SIDE, SIDE), shorter=None, interpolation="bilinear", mean=mean, std=std),
        (),
        table,
        zeros=missing_biases(table, shapes, BIASES),
        unused=tuple(key for key in shapes if key in UNUSED),
        assumed=("preprocessing",),
        finish=lambda tensors: _finished(tensors, config.vit, name),
        stated_family="dinov3",
    )


def _classifier(shapes: Shapes, name: str, *, heads_named: bool) -> ClassifierConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    gated = "blocks.0.mlp.w1.weight" in shapes
    side = max(patch, SIDE // patch * patch)
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width,
                    mlp_width=rows_of(shapes, f"blocks.0.mlp.{'w1' if gated else 'fc1'}.weight", name),
                    norm_eps=EPS,
                    mlp="swiglu" if gated else "plain",
                    layer_scale=LAYER_SCALE if "blocks.0.ls1.gamma" in shapes else None,
                ),
                depth=NAMES.depth(shapes),
                heads=1 if heads_named else heads_of_width(width, name),
                patch=patch,
                image_size=(side, side),
                channels=channels,
                registers=table_rows(shapes, "storage_tokens", name),
                positions="none",
                class_position=False,
                attention="rotary",
            ),
            classes=0,
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _finished(tensors: dict[str, Tensor], vit: ViTConfig, name: str) -> dict[str, Tensor]:
    """The tensors with their masks applied, and without what was only to be checked."""
    plain = dict(tensors)
    periods = plain.pop(PERIODS, None)
    if periods is not None:
        count = vit.encoder.width // vit.heads // 4
        wanted = vit.rotary_base ** (torch.arange(count) / count)
        if periods.shape != wanted.shape or ((periods.float() / wanted - 1).abs() > COARSE).any():
            raise CheckpointError(f"{name}: {PERIODS} are not those of base {vit.rotary_base:g}")
    for index in range(vit.depth):
        mask = plain.pop(f"{BLOCK}.{index}.{MASK}", None)
        bias = f"{BLOCK}.{index}.attention.qkv.bias"
        if mask is not None and bias in plain and plain[bias].shape == mask.shape:
            plain[bias] = plain[bias] * mask.to(plain[bias].dtype)
    return plain


READER = Reader(FACEBOOKRESEARCH, "dinov3", recognises, plan, (NAMES, GATED))
