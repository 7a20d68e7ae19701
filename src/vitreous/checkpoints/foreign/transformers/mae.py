"""transformers' ``ViTMAEForPreTraining``, read and written, and ``ViTMAEModel``, read as a plain ViT.

The library writes the decoder's blocks as ``decoder.decoder_encoder.layer.N`` today, while published
files say ``decoder.decoder_layers.N``: both are read, and the latter is written, which every version
of the library loads.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.facebookresearch_mae import (
    DECODER_BLOCK,
    PAINT,
    channels_first,
    channels_last,
)
from vitreous.checkpoints.foreign.fields import flag, integer, number, pair
from vitreous.checkpoints.foreign.names import Names, layer, prefixed
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    missing_biases,
    patch_kernel,
    refuse_name,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
    stated_encoder,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.transformers.vit import BASE, NAMES
from vitreous.checkpoints.foreign.writing import Limits, Writer, plain_state, weights_file, written_names
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.layout import Layout
from vitreous.models.config import ClassifierConfig, MAEConfig, ModelConfig
from vitreous.models.mae import MaskedAutoencoder

MODEL_TYPE = "vit_mae"

DECODER = Names(
    outside={
        "decoder.mask_token": ("decoder.mask_token",),
        "decoder.positions.table": ("decoder.decoder_pos_embed",),
        **layer("decoder.embed", "decoder.decoder_embed"),
        **layer("decoder.norm", "decoder.decoder_norm"),
        **layer(PAINT, "decoder.decoder_pred"),
    },
    block="decoder.decoder_layers.{}",
    inside=NAMES.inside,
    ours=DECODER_BLOCK,
)
PRESENT = replace(DECODER, block="decoder.decoder_encoder.layer.{}")
LIMITS = Limits(square=True, headless=True)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers ViTMAE."""
    names = found.stored.described
    embedded = any(f"{base}embeddings.patch_embeddings.projection.weight" in names for base in (BASE, ""))
    return embedded and (found.model_type == MODEL_TYPE or "decoder.decoder_pos_embed" in names)


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or values that the model cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found, "heads and mask ratio")
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{name}: a masked autoencoder's decoder, but model_type {values.get('model_type')!r};"
            f" wanted {MODEL_TYPE!r}"
        )
    where = f"{name}/config.json"
    base = BASE if any(key.startswith(BASE) for key in shapes) else ""
    config: ModelConfig
    try:
        backbone = _backbone(shapes, values, base, name)
        config = ClassifierConfig(backbone=backbone, classes=0)
        if any(key.startswith("decoder.") for key in shapes):
            config = _autoencoder(backbone, values, where)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(config, len(shapes), where)
    _check_tables(shapes, backbone, base, name)
    table = prefixed(NAMES.table(backbone.depth), base)
    if isinstance(config, MAEConfig):
        spelt = DECODER if DECODER.depth(shapes) else PRESENT
        table |= spelt.table(config.decoder_depth)
    return Plan(
        LAYOUT,
        config,
        read_processor(found.preprocessor or {}, config, name),
        (),
        table,
        zeros=missing_biases(table, shapes, ["attention.qkv.bias"]),
        assumed=() if found.preprocessor else ("preprocessing",),
        finish=lambda tensors: channels_first(tensors, backbone.patch, backbone.channels),
        stated_family="mae",
    )


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``ViTMAEForPreTraining`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the model has parts that transformers' ViTMAE has no place for.
    """
    config = checkpoint.model.config
    backbone = config.backbone
    state = plain_state(checkpoint)
    native = Layout(backbone.prefix, *backbone.grid)
    decoder = cast(MaskedAutoencoder, checkpoint.model).decoder
    state["decoder.positions.table"] = decoder.positions(native).detach().clone()
    state = channels_last(state, backbone.patch, backbone.channels)
    table = prefixed(NAMES.table(backbone.depth), BASE)
    tensors = written_names(table | DECODER.table(config.decoder_depth), state, config)
    return {
        "config.json": to_json(_values(checkpoint)),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(tensors),
    }


def _backbone(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> ViTConfig:
    where = f"{name}/config.json"
    activation = stated_activation(values, where)
    _, channels, kernel = patch_kernel(shapes, f"{base}embeddings.patch_embeddings.projection.weight", name)
    refuse_patch(values, kernel, where)
    size = pair(values.get("image_size", 224), f"{where}: image_size")
    if size[0] != size[1]:
        raise CheckpointError(
            f"{where}: image_size {size[0]}x{size[1]}; a ViTMAE of transformers is made for square pictures"
        )
    depth, heads = stated_blocks(values, where)
    return ViTConfig(
        encoder=stated_encoder(values, activation, where),
        depth=depth,
        heads=heads,
        patch=kernel,
        # A part of a patch at the edge is cut off there; the whole ones are what was learnt.
        image_size=(size[0] // kernel * kernel, size[1] // kernel * kernel),
        channels=channels,
        position_resize="plain",
        cut_edges=True,
    )


def _autoencoder(backbone: ViTConfig, values: Mapping[str, Any], where: str) -> MAEConfig:
    def whole(key: str, default: int) -> int:
        return integer(values.get(key, default), f"{where}: {key}")

    return MAEConfig(
        backbone=backbone,
        decoder_width=whole("decoder_hidden_size", 512),
        decoder_depth=whole("decoder_num_hidden_layers", 8),
        decoder_heads=whole("decoder_num_attention_heads", 16),
        decoder_mlp_width=whole("decoder_intermediate_size", 2048),
        decoder_positions="learned",
        decoder_position_resize="sequence",
        mask_ratio=number(values.get("mask_ratio", 0.75), f"{where}: mask_ratio"),
        normalised_targets=flag(values.get("norm_pix_loss", False), f"{where}: norm_pix_loss"),
    )


def _check_tables(shapes: Shapes, backbone: ViTConfig, base: str, name: str) -> None:
    """Rows that do not fit the picture size are told as that, not as two shapes."""
    rows = table_rows(shapes, f"{base}embeddings.position_embeddings", name)
    if rows != 1 + backbone.grid[0] * backbone.grid[1]:
        height, width = backbone.image_size
        raise CheckpointError(
            f"{name}/config.json: image_size {height}x{width} does not fit {rows} positions"
        )


def _values(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.model.config
    backbone, encoder = config.backbone, config.backbone.encoder
    dtype = str(next(checkpoint.model.parameters()).dtype).removeprefix("torch.")
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": MODEL_TYPE,
        "hidden_size": encoder.width,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": backbone.heads,
        "intermediate_size": encoder.mlp_width,
        "hidden_act": ACTIVATION_NAMES[encoder.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": encoder.norm_eps,
        "image_size": backbone.image_size[0],
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "qkv_bias": True,
        "decoder_hidden_size": config.decoder_width,
        "decoder_num_hidden_layers": config.decoder_depth,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_intermediate_size": config.decoder_mlp_width,
        "mask_ratio": config.mask_ratio,
        "norm_pix_loss": config.normalised_targets,
        "torch_dtype": dtype,
    }


def _reasons(config: ModelConfig) -> list[str]:
    reasons = LIMITS.reasons(config)
    if isinstance(config, MAEConfig):
        if config.backbone.distillation_token:
            reasons.append("it has a distillation token")
        if not config.backbone.final_norm:
            reasons.append("its encoder ends without a norm")
    return reasons


READER = Reader(LAYOUT, "mae", recognises, plan, (NAMES, DECODER))
WRITER = Writer("transformers' ViTMAEForPreTraining", ("mae",), _reasons, write)
