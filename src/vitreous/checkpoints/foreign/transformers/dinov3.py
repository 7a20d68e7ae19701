"""transformers' ``DINOv3ViTModel``, read and written: "DINOv3" (arXiv:2508.10104), a ViT with registers
whose queries and keys turn with the place of their patch.

The library has no classifier for it: a model is read and written without a head. A mask token, which
only pretraining looks at, is not read and written as zeros; shifted, jittered and rescaled coordinates are
for training alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.fields import flag, number, pair
from vitreous.checkpoints.foreign.names import (
    BLOCK,
    CLASS_TOKEN,
    NORM,
    PATCHES,
    REGISTERS,
    ZERO,
    Names,
    Table,
    layer,
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
from vitreous.checkpoints.foreign.writing import Limits, Writer, plain_state, weights_file
from vitreous.checkpoints.weights import refuse_oversize
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, ModelConfig

MODEL_TYPE = "dinov3_vit"
PROJECTIONS = ("q_proj", "k_proj", "v_proj")

_INSIDE = {
    **layer("attention_norm", "norm1"),
    **layer("attention.qkv", *(f"attention.{part}" for part in PROJECTIONS)),
    **layer("attention.projection", "attention.o_proj"),
    "attention_scale.scale": ("layer_scale1.lambda1",),
    **layer("mlp_norm", "norm2"),
    **layer("mlp.contract", "mlp.down_proj"),
    "mlp_scale.scale": ("layer_scale2.lambda1",),
}
NAMES = Names(
    outside={
        **layer(PATCHES, "embeddings.patch_embeddings"),
        CLASS_TOKEN: ("embeddings.cls_token",),
        **layer(NORM, "norm"),
    },
    block="layer.{}",
    inside=_INSIDE | layer("mlp.expand", "mlp.up_proj"),
)
GATED = replace(NAMES, inside=_INSIDE | layer("mlp.expand", "mlp.gate_proj", "mlp.up_proj"))
REGISTER_NAME, MASK_NAME = "embeddings.register_tokens", "embeddings.mask_token"
BIASES = ("attention.qkv.bias", "attention.projection.bias", "mlp.expand.bias", "mlp.contract.bias")

LIMITS = Limits(attention="rotary", registers=True, headless=True, swiglu=True, norms=("end",))


def recognises(found: Found) -> bool:
    """Whether these are the names of a transformers DINOv3."""
    names = found.stored.described
    return "embeddings.patch_embeddings.weight" in names and (
        found.model_type == MODEL_TYPE or any(key.startswith("layer.0.attention.q_proj.") for key in names)
    )


def plan(found: Found, model: str | None) -> Plan:
    """Read the model off ``config.json``; keys that it leaves out have the library's defaults.

    Raises:
        CheckpointError: no ``config.json``, another family, or values that the model cannot have.
    """
    shapes, name = found.shapes, found.name
    refuse_name(model, name)
    values = stated_config(found, "heads and activation")
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{name}: tensors of a DINOv3, but model_type {values.get('model_type')!r}; wanted {MODEL_TYPE}"
        )
    config = _classifier(shapes, values, name)
    table = _table(config.vit, _biased(shapes))
    given = found.preprocessor
    unused = {MASK_NAME} | ({REGISTER_NAME} if not config.vit.registers else set())
    return Plan(
        LAYOUT,
        config,
        read_processor(given, config, name) if given else _published_view(config),
        (),
        table,
        zeros=missing_biases(table, shapes, BIASES),
        unused=tuple(key for key in shapes if key in unused),
        assumed=() if given else ("preprocessing",),
        stated_family="dinov3",
    )


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``AutoModel`` and ``AutoImageProcessor`` load.

    Raises:
        CheckpointError: the model has parts that transformers' DINOv3 has no place for.
    """
    backbone = checkpoint.model.config.vit
    width = backbone.encoder.width
    state = plain_state(checkpoint, keep_layer_scale=True)
    # The published models have no bias of keys, and the library expects none where there is none.
    parts = PROJECTIONS if has_key_bias(state, backbone) else ("q_proj", "v_proj")
    table = _table(backbone, parts)
    if backbone.encoder.layer_scale is None:
        scales = [ours for ours in table if ours.endswith("_scale.scale")]
        state |= {ours: state[NORM + ".weight"].new_ones(width) for ours in scales}
    tensors = scatter(table, state)
    tensors[MASK_NAME] = state[CLASS_TOKEN].new_zeros(1, 1, width)
    if not backbone.registers:
        tensors[REGISTER_NAME] = state[CLASS_TOKEN].new_zeros(1, 0, width)
    return {
        "config.json": to_json(_values(checkpoint, parts)),
        # Its own processor resizes tensors; this one resizes pictures, as we do.
        "preprocessor_config.json": to_json(write_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(tensors),
    }


def has_key_bias(state: Mapping[str, Tensor], backbone: ViTConfig) -> bool:
    """Whether any key has a bias. Turned keys do: softmax cancels only one that is the same everywhere."""
    biases = (state[f"{BLOCK}.{index}.attention.qkv.bias"] for index in range(backbone.depth))
    return any(bool(bias.chunk(3)[1].any()) for bias in biases)


def reasons(config: ModelConfig) -> list[str]:
    """Why the library has no place for a model; empty where it has."""
    found = LIMITS.reasons(config)
    if isinstance(config, ClassifierConfig) and config.vit.positions != "none":
        found.append("it has a table of positions beside")
    if config.classes:
        found.append("it has a head, and there is no classifier on a DINOv3 there")
    return found


def _table(backbone: ViTConfig, biased: Collection[str]) -> Table:
    """``biased`` are the projections that have a bias; that of the others is zero."""
    names = GATED if backbone.encoder.mlp == "swiglu" else NAMES
    bias = tuple(f"attention.{part}.bias" if part in biased else ZERO for part in PROJECTIONS)
    inside = {**names.inside, "attention.qkv.bias": bias if biased else names.inside["attention.qkv.bias"]}
    table = replace(names, inside=inside).table(backbone.depth)
    return table | ({REGISTERS: (REGISTER_NAME,)} if backbone.registers else {})


def _biased(shapes: Shapes) -> tuple[str, ...]:
    """The projections that have a bias in any block; one that only some blocks lack is damage."""
    return tuple(
        part for part in PROJECTIONS if any(key.endswith(f".attention.{part}.bias") for key in shapes)
    )


def _classifier(shapes: Shapes, values: Mapping[str, Any], name: str) -> ClassifierConfig:
    where = f"{name}/config.json"
    _, channels, kernel = patch_kernel(shapes, "embeddings.patch_embeddings.weight", name)
    refuse_patch(values, kernel, where)
    height, across = pair(values.get("image_size", 224), f"{where}: image_size")
    registers = table_rows(shapes, REGISTER_NAME, name)
    if values.get("num_register_tokens", 0) != registers:
        stated = values.get("num_register_tokens", 0)
        raise CheckpointError(f"{where}: num_register_tokens {stated!r}, but the weights have {registers}")
    depth, heads = stated_blocks(values, where, heads=6)
    try:
        backbone = ViTConfig(
            encoder=_encoder(values, where),
            depth=depth,
            heads=heads,
            patch=kernel,
            image_size=(height // kernel * kernel, across // kernel * kernel),
            channels=channels,
            registers=registers,
            positions="none",
            class_position=False,
            attention="rotary",
            rotary_base=number(values.get("rope_theta", 100.0), f"{where}: rope_theta"),
            rotary_step="rate",
            cut_edges=True,
        )
        config = ClassifierConfig(backbone=backbone, classes=0)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error
    refuse_oversize(config, len(shapes), where)
    return config


def _encoder(values: Mapping[str, Any], where: str) -> EncoderConfig:
    gated = flag(values.get("use_gated_mlp", False), f"{where}: use_gated_mlp")
    given = values.get("hidden_act", "gelu")
    if gated and given not in ("silu", "swish"):
        raise CheckpointError(
            f"{where}: hidden_act {given!r} of a gated MLP is not read; wanted silu (SwiGLU)"
        )
    activation = "gelu" if gated else stated_activation(values, where)
    return replace(
        stated_encoder(values, activation, where, width=384, mlp_width=1536, norm_eps=1e-5),
        mlp="swiglu" if gated else "plain",
        layer_scale=number(values.get("layerscale_value", 1.0), f"{where}: layerscale_value"),
    )


def _published_view(config: ClassifierConfig) -> Preprocess:
    mean, std = imagenet_statistics(config.channels)
    return Preprocess(size=(224, 224), shorter=None, interpolation="bilinear", mean=mean, std=std)


def _values(checkpoint: Checkpoint, biased: Collection[str]) -> dict[str, Any]:
    config = checkpoint.model.config
    backbone, encoder = config.vit, config.vit.encoder
    height, width = backbone.image_size
    return {
        "architectures": ["DINOv3ViTModel"],
        "model_type": MODEL_TYPE,
        "hidden_size": encoder.width,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": backbone.heads,
        "intermediate_size": encoder.mlp_width,
        "use_gated_mlp": encoder.mlp == "swiglu",
        "hidden_act": "silu" if encoder.mlp == "swiglu" else ACTIVATION_NAMES[encoder.activation],
        "attention_dropout": 0.0,
        "drop_path_rate": 0.0,
        "layer_norm_eps": encoder.norm_eps,
        "layerscale_value": 1.0 if encoder.layer_scale is None else encoder.layer_scale,
        "image_size": height if height == width else [height, width],
        "patch_size": backbone.patch,
        "num_channels": backbone.channels,
        "num_register_tokens": backbone.registers,
        "rope_theta": backbone.rotary_base,
        "query_bias": "q_proj" in biased,
        "key_bias": "k_proj" in biased,
        "value_bias": "v_proj" in biased,
        "proj_bias": True,
        "mlp_bias": True,
        "pos_embed_shift": None,
        "pos_embed_jitter": None,
        "pos_embed_rescale": 2.0,
        "torch_dtype": str(next(checkpoint.model.parameters()).dtype).removeprefix("torch."),
    }


READER = Reader(LAYOUT, "dinov3", recognises, plan, (NAMES, GATED))
WRITER = Writer("transformers' DINOv3ViTModel", ("rotary",), reasons, write)
