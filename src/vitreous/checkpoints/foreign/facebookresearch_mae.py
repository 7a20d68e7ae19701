"""The masked autoencoders that the paper's authors published with their decoder, ``mae_visualize_vit_*.pth``
and ``mae_pretrain_vit_*_full.pth``: read, not written.

A file without a decoder has timm's names: ``mae_pretrain_vit_*.pth`` is timm's ViT without a head,
``mae_finetuned_vit_*.pth`` one with mean pooling.
"""

from typing import NamedTuple

from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.names import Names, layer
from vitreous.checkpoints.foreign.plan import (
    FACEBOOKRESEARCH,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Found,
    Plan,
    Reader,
    Shapes,
    heads_of,
    patch_kernel,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.vit import NAMES, NOT_PLAIN
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG, names
from vitreous.models.config import MAEConfig

EPS = 1e-6
DECODER_HEADS = {512: 16}  # of the width that all published decoders have

PAINT = "decoder.paint"
DECODER_BLOCK = "decoder.encoder.blocks"
DECODER = Names(
    outside={
        "decoder.mask_token": ("mask_token",),
        "decoder.positions.table": ("decoder_pos_embed",),
        **layer("decoder.embed", "decoder_embed"),
        **layer("decoder.norm", "decoder_norm"),
        **layer(PAINT, "decoder_pred"),
    },
    block="decoder_blocks.{}",
    inside={ours: theirs for ours, theirs in NAMES.inside.items() if "scale" not in ours},
    ours=DECODER_BLOCK,
)
REFUSED = {part: reason for part, reason in NOT_PLAIN.items() if part != "mask_token"}
REFUSED |= {"head.": "a classifier's head", "fc_norm": "a classifier's norm", "ls1.": "LayerScale"}


class _Heads(NamedTuple):
    encoder: int
    decoder: int


def channels_first(tensors: dict[str, Tensor], patch: int, channels: int) -> dict[str, Tensor]:
    """The decoder's last layer with its rows put into the order in which ``patchify`` flattens a patch,
    channel, row, column; the authors' is row, column, channel."""
    return _reordered(tensors, (patch, patch, channels), (2, 0, 1))


def channels_last(tensors: dict[str, Tensor], patch: int, channels: int) -> dict[str, Tensor]:
    """The inverse of ``channels_first``."""
    return _reordered(tensors, (channels, patch, patch), (1, 2, 0))


def recognises(found: Found) -> bool:
    """Whether these are the names of a published masked autoencoder with its decoder."""
    tensors = found.stored.described
    return "patch_embed.proj.weight" in tensors and any(
        key in tensors for key in ("decoder_pos_embed", "decoder_blocks.0.attn.qkv.weight")
    )


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes. ``model`` is a name of our catalog, for widths whose heads the file
    does not say.

    Raises:
        CheckpointError: parts that a masked autoencoder does not have, or heads that must be named.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, REFUSED, name)
    config = _config(shapes, model, name)
    patch, channels = config.backbone.patch, config.channels
    statistics = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels,) * 2
    return Plan(
        FACEBOOKRESEARCH,
        config,
        Preprocess(
            size=config.image_size,
            shorter=None,
            interpolation="bicubic",
            mean=statistics[0],
            std=statistics[1],
        ),
        (),
        NAMES.table(config.backbone.depth) | DECODER.table(config.decoder_depth),
        assumed=("preprocessing", "mask ratio", "targets that are not normalised"),
        finish=lambda tensors: channels_first(tensors, patch, channels),
    )


def _config(shapes: Shapes, model: str | None, name: str) -> MAEConfig:
    width, channels, patch = patch_kernel(shapes, "patch_embed.proj.weight", name)
    decoder_width = rows_of(shapes, "decoder_embed.weight", name)
    heads = _heads(width, decoder_width, name) if model is None else _named(model, name)
    try:
        return MAEConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(
                    width=width, mlp_width=rows_of(shapes, "blocks.0.mlp.fc1.weight", name), norm_eps=EPS
                ),
                depth=NAMES.depth(shapes),
                heads=heads.encoder,
                patch=patch,
                image_size=square_side(table_rows(shapes, "pos_embed", name) - 1, patch, name),
                channels=channels,
                position_resize="plain",
            ),
            decoder_width=decoder_width,
            decoder_depth=DECODER.depth(shapes),
            decoder_heads=heads.decoder,
            decoder_mlp_width=rows_of(shapes, "decoder_blocks.0.mlp.fc1.weight", name),
            decoder_positions="learned",
            decoder_position_resize="plain",
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _heads(width: int, decoder_width: int, name: str) -> _Heads:
    if decoder_width not in DECODER_HEADS:
        raise CheckpointError(
            f"{name}: the number of heads of a decoder of width {decoder_width} is not in the file;"
            " give name= of the model"
        )
    return _Heads(heads_of(width, name), DECODER_HEADS[decoder_width])


def _named(model: str, name: str) -> _Heads:
    known = CATALOG.get(model)
    if not isinstance(known, MAEConfig):
        raise CheckpointError(
            f"{name}: holds a masked autoencoder, but {model!r} is none; wanted name= one of"
            f" {', '.join(names('mae_*'))}"
        )
    return _Heads(known.backbone.heads, known.decoder_heads)


def _reordered(
    tensors: dict[str, Tensor], sides: tuple[int, int, int], order: tuple[int, int, int]
) -> dict[str, Tensor]:
    count = sides[0] * sides[1] * sides[2]
    changed = dict(tensors)
    for leaf in ("weight", "bias"):
        rows = tensors.get(f"{PAINT}.{leaf}")
        if rows is not None and rows.ndim and len(rows) == count:  # else the strict loader says so
            axes = (*order, *range(3, rows.ndim + 2))
            cube = rows.reshape(*sides, *rows.shape[1:])
            changed[f"{PAINT}.{leaf}"] = cube.permute(axes).flatten(0, 2)
    return changed


READER = Reader(FACEBOOKRESEARCH, "mae", recognises, plan, (NAMES, DECODER))
