"""transformers' ``Dinov2Model`` and ``Dinov2ForImageClassification``, with registers and without, read and
written: "DINOv2" (arXiv:2304.07193), "Vision Transformers Need Registers" (arXiv:2309.16588).

The classifier's head sees the class token and the mean of the patches side by side, so one that sees
only one of the two is written with zeros for the other. A mask token, which only pretraining looks at, is
not read and written as zeros.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import from_id2label
from vitreous.checkpoints.foreign.fields import flag, integer, number, pair
from vitreous.checkpoints.foreign.names import (
    CLASS_TOKEN,
    NORM,
    PATCHES,
    POSITIONS,
    REGISTERS,
    Names,
    layer,
    prefixed,
    scatter,
)
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    imagenet_statistics,
    missing_biases,
    patch_kernel,
    refuse_name,
    rows_of,
    table_rows,
)
from vitreous.checkpoints.foreign.transformers.common import (
    ACTIVATION_NAMES,
    LAYOUT,
    refuse_patch,
    stated_activation,
    stated_blocks,
    stated_config,
)
from vitreous.checkpoints.foreign.transformers.processor import read_processor, write_processor
from vitreous.checkpoints.foreign.transformers.vit import HEAD
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, ModelConfig, Pool

PLAIN, REGISTERED = "dinov2", "dinov2_with_registers"  # as config.json and as the names of a classifier say
CLASSES = {PLAIN: "Dinov2", REGISTERED: "Dinov2WithRegisters"}

_INSIDE = {
    **layer("attention_norm", "norm1"),
    **layer(
        "attention.qkv",
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
    ),
    **layer("attention.projection", "attention.output.dense"),
    "attention_scale.scale": ("layer_scale1.lambda1",),
    **layer("mlp_norm", "norm2"),
    "mlp_scale.scale": ("layer_scale2.lambda1",),
}
NAMES = Names(
    outside={
        **layer(PATCHES, "embeddings.patch_embeddings.projection"),
        CLASS_TOKEN: ("embeddings.cls_token",),
        POSITIONS: ("embeddings.position_embeddings",),
        **layer(NORM, "layernorm"),
    },
    block="encoder.layer.{}",
    inside=_INSIDE | layer("mlp.expand", "mlp.fc1") | layer("mlp.contract", "mlp.fc2"),
)
GATED = replace(
    NAMES, inside=_INSIDE | layer("mlp.expand", "mlp.weights_in") | layer("mlp.contract", "mlp.weights_out")
)
REGISTER_NAME, MASK_NAME = "embeddings.register_tokens", "embeddings.mask_token"

LIMITS = Limits(
    attention="plain",
    registers=True,
    mean_pool=True,
    class_mean_pool=True,
    headless=True,
    swiglu=True,
    square=True,
    norms=("end",),
)


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers DINOv2."""
    names = found.stored.described
    bases = ("", f"{PLAIN}.", f"{REGISTERED}.")
    embedded = any(f"{base}embeddings.patch_embeddings.projection.weight" in names for base in bases)
    return embedded and (
        found.model_type in CLASSES or any(key.endswith("layer_scale1.lambda1") for key in names)
    )


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or values that the model cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found, "heads and activation")
    if values.get("model_type") not in CLASSES:
        raise CheckpointError(
            f"{name}: tensors of a DINOv2, but model_type {values.get('model_type')!r};"
            f" wanted {PLAIN} or {REGISTERED}"
        )
    base = next((f"{kind}." for kind in CLASSES if any(key.startswith(f"{kind}.") for key in shapes)), "")
    config = _classifier(shapes, values, base, name)
    table = table_of(config.vit, base)
    classes = from_id2label(values, config.classes, name)
    given = found.preprocessor
    unused = {base + MASK_NAME} | ({base + REGISTER_NAME} if not config.vit.registers else set())
    return Plan(
        LAYOUT,
        config,
        read_processor(given, config, name) if given else _published_view(config.channels),
        classes.names,
        table | (HEAD if config.classes else {}),
        zeros=missing_biases(table, shapes, ["attention.qkv.bias"]),
        unused=tuple(key for key in shapes if key in unused),
        assumed=(*(() if given else ("preprocessing",)), *classes.assumed),
        stated_family="dinov2",
    )


def _published_view(channels: int) -> Preprocess:
    """How the published models look at a picture."""
    mean, std = imagenet_statistics(channels)
    return Preprocess(
        size=(224, 224), shorter=256, crop_rounding="down", interpolation="bicubic", mean=mean, std=std
    )


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that transformers' auto classes load: a classifier, or the model alone where
    it has no head and is read off its class token.

    Raises:
        CheckpointError: the model has parts that transformers' DINOv2 has no place for.
    """
    config = checkpoint.model.config
    backbone, width = config.vit, config.vit.encoder.width
    kind = REGISTERED if backbone.registers else PLAIN
    base = f"{kind}." if _stands_below(config) else ""
    state = plain_state(checkpoint, keep_layer_scale=True)
    state[POSITIONS] = native_positions(backbone, state, 1)
    if config.classes:
        state["head.weight"] = _for_both(state["head.weight"], config.pool)
    if backbone.encoder.layer_scale is None:
        state |= {ours: state[NORM + ".weight"].new_ones(width) for ours in _scales(backbone, base)}
    tensors = scatter(table_of(backbone, base) | (HEAD if config.classes else {}), state)
    tensors[base + MASK_NAME] = state[CLASS_TOKEN].new_zeros(1, width)
    return {
        "config.json": to_json(_values(checkpoint, kind)),
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess, "BitImageProcessor")),
        "model.safetensors": weights_file(tensors),
    }


def reasons(config: ModelConfig) -> list[str]:
    """Why the library has no place for a model; empty where it has."""
    found = LIMITS.reasons(config)
    if not isinstance(config, ClassifierConfig) or not isinstance(config.backbone, ViTConfig):
        return found
    encoder = config.backbone.encoder
    if _ratio(encoder) is None:
        found.append(f"its MLP of {encoder.mlp_width} is no whole multiple of its width {encoder.width}")
    if config.classes == 0 and config.pool == "mean":
        found.append("it has no head and pools the mean of its patches")
    return found


def _stands_below(config: ClassifierConfig) -> bool:
    """Whether the backbone is written as a part of a classifier."""
    return bool(config.classes) or config.pool == "class_mean"


def _for_both(weight: Tensor, pool: Pool) -> Tensor:
    """A head (K, D) or (K, 2 D) -> (K, 2 D), for the class token and the mean of the patches."""
    if pool == "class_mean":
        return weight
    empty = torch.zeros_like(weight)
    return torch.cat([weight, empty] if pool == "class" else [empty, weight], dim=1)


def table_of(backbone: ViTConfig, base: str) -> dict[str, tuple[str, ...]]:
    """Our names of a backbone to theirs; ``base`` stands ahead of each."""
    names = GATED if backbone.encoder.mlp == "swiglu" else NAMES
    table = names.table(backbone.depth)
    if backbone.registers:
        table[REGISTERS] = (REGISTER_NAME,)
    return prefixed(table, base)


def _scales(backbone: ViTConfig, base: str) -> list[str]:
    return [ours for ours in table_of(backbone, base) if ours.endswith("_scale.scale")]


def backbone_of(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> ViTConfig:
    """The backbone that ``config.json`` describes, held to the shapes; ``base`` stands ahead of every name.

    Raises:
        CheckpointError: another family's values, or ones that do not fit the weights.
        ConfigError: values of which no backbone can be made.
    """
    where = f"{name}/config.json"
    _, channels, kernel = patch_kernel(shapes, f"{base}embeddings.patch_embeddings.projection.weight", name)
    registered = values["model_type"] == REGISTERED
    refuse_patch(values, kernel, where, default=16 if registered else 14)
    depth, heads = stated_blocks(values, where)
    return ViTConfig(
        encoder=_encoder(shapes, values, base, name),
        depth=depth,
        heads=heads,
        patch=kernel,
        image_size=_image_size(shapes, values, base, kernel, name),
        channels=channels,
        registers=_registers(shapes, values, base, name) if registered else 0,
        position_resize="antialias" if registered else "float32",
        cut_edges=True,
    )


def _classifier(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> ClassifierConfig:
    where = f"{name}/config.json"
    try:
        backbone = backbone_of(shapes, values, base, name)
        head = "classifier.weight" in shapes
        config = ClassifierConfig(
            backbone=backbone,
            classes=rows_of(shapes, "classifier.weight", name) if head else 0,
            # A classifier of no classes answers with what its head would be given.
            pool="class_mean" if base else "class",
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(config, len(shapes), where)
    return config


def _encoder(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> EncoderConfig:
    where = f"{name}/config.json"
    gated = flag(values.get("use_swiglu_ffn", False), f"{where}: use_swiglu_ffn")
    # A gate is SiLU whatever is said of activations.
    activation = "gelu" if gated else stated_activation(values, where)
    rows = rows_of(shapes, f"{base}encoder.layer.0.mlp.{'weights_in' if gated else 'fc1'}.weight", name)
    return EncoderConfig(
        width=integer(values.get("hidden_size", 768), f"{where}: hidden_size"),
        mlp_width=rows // 2 if gated else rows,
        norm_eps=number(values.get("layer_norm_eps", 1e-6), f"{where}: layer_norm_eps"),
        mlp="swiglu" if gated else "plain",
        activation=activation,
        layer_scale=number(values.get("layerscale_value", 1.0), f"{where}: layerscale_value"),
    )


def _image_size(
    shapes: Shapes, values: Mapping[str, Any], base: str, patch: int, name: str
) -> tuple[int, int]:
    """The library takes the square root of the table's rows for both sides, whatever image_size says."""
    stated = pair(values.get("image_size", 224), f"{name}/config.json: image_size")
    patches = table_rows(shapes, f"{base}embeddings.position_embeddings", name) - 1
    if patches != (stated[0] // patch) * (stated[1] // patch):
        size = f"{stated[0]}x{stated[1]}"
        raise CheckpointError(f"{name}/config.json: image_size {size} does not fit {patches + 1} positions")
    side = isqrt(patches)
    if side * side != patches:
        raise CheckpointError(f"{name}: {patches} positions are no square grid, which DINOv2 needs")
    return side * patch, side * patch


def _registers(shapes: Shapes, values: Mapping[str, Any], base: str, name: str) -> int:
    count = table_rows(shapes, base + REGISTER_NAME, name)
    stated = values.get("num_register_tokens", 4)
    if stated != count:
        raise CheckpointError(
            f"{name}/config.json: num_register_tokens {stated!r}, but the weights have {count}"
        )
    return count


def _ratio(encoder: EncoderConfig) -> int | None:
    """The whole number from which the library makes the MLP's width; None where none does."""
    for ratio in range(1, 2 + 2 * encoder.mlp_width // encoder.width):
        hidden = encoder.width * ratio
        if encoder.mlp == "swiglu":
            hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        if hidden == encoder.mlp_width:
            return ratio
    return None


def _values(checkpoint: Checkpoint, kind: str) -> dict[str, Any]:
    config = checkpoint.model.config
    labels = dict(enumerate(checkpoint.classes))
    return backbone_values(config.vit) | {
        "architectures": [CLASSES[kind] + ("ForImageClassification" if _stands_below(config) else "Model")],
        "id2label": {str(index): label for index, label in labels.items()},
        "label2id": {label: index for index, label in labels.items()},
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


def backbone_values(backbone: ViTConfig) -> dict[str, Any]:
    """What ``config.json`` says of a backbone."""
    encoder, kind = backbone.encoder, REGISTERED if backbone.registers else PLAIN
    values = {
        "model_type": kind,
        "hidden_size": encoder.width,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": backbone.heads,
        "mlp_ratio": _ratio(encoder),
        "use_swiglu_ffn": encoder.mlp == "swiglu",
        "hidden_act": ACTIVATION_NAMES[encoder.activation],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "drop_path_rate": 0.0,
        "layer_norm_eps": encoder.norm_eps,
        "layerscale_value": 1.0 if encoder.layer_scale is None else encoder.layer_scale,
        "image_size": backbone.image_size[0],
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "qkv_bias": True,
    }
    return values | ({"num_register_tokens": backbone.registers} if backbone.registers else {})


READER = Reader(LAYOUT, "dinov2", recognises, plan, (NAMES, GATED))
WRITER = Writer("transformers' Dinov2ForImageClassification", ("vit",), reasons, write)
