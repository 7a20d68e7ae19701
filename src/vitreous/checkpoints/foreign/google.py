"""Google's ``.npz`` of the original ViT and of AugReg: flax's names and its order of axes. Read only.

A kernel there is (in, out); the projections to queries, keys and values are (D, heads, d), the one back
(heads, d, D); the patch kernel is (p, p, C, D). The heads are therefore in the file.
"""

from torch import Tensor

from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.names import CLASS_TOKEN, NORM, PATCHES, POSITIONS, Names, prefixed
from vitreous.checkpoints.foreign.plan import (
    Found,
    Plan,
    Reader,
    Shapes,
    named,
    refuse,
    square_side,
    table_rows,
)
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig

LAYOUT = "google"
EPS = 1e-6  # flax's


def _dense(ours: str, theirs: str, weight: str = "kernel") -> dict[str, tuple[str, ...]]:
    return {f"{ours}.weight": (f"{theirs}/{weight}",), f"{ours}.bias": (f"{theirs}/bias",)}


def _norm(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return _dense(ours, theirs, "scale")


_ATTENTION = "MultiHeadDotProductAttention_1"
NAMES = Names(
    outside={
        **_dense(PATCHES, "embedding"),
        CLASS_TOKEN: ("cls",),
        POSITIONS: ("Transformer/posembed_input/pos_embedding",),
        **_norm(NORM, "Transformer/encoder_norm"),
    },
    block="Transformer/encoderblock_{}",
    inside={
        **_norm("attention_norm", "LayerNorm_0"),
        "attention.qkv.weight": tuple(f"{_ATTENTION}/{part}/kernel" for part in ("query", "key", "value")),
        "attention.qkv.bias": tuple(f"{_ATTENTION}/{part}/bias" for part in ("query", "key", "value")),
        **_dense("attention.projection", f"{_ATTENTION}/out"),
        **_norm("mlp_norm", "LayerNorm_2"),
        **_dense("mlp.expand", "MlpBlock_3/Dense_0"),
        **_dense("mlp.contract", "MlpBlock_3/Dense_1"),
    },
    separator="/",
)
HEAD = _dense("head", "head")
MLP_HEAD = {**_dense("head.hidden", "pre_logits"), **_dense("head.output", "head")}
PREFIX = "opt/target/"  # the state of an optimizer around the weights
NOT_PLAIN = {
    "conv_root": "a ResNet stem (a hybrid)",
    "MAPHead": "attention pooling (big_vision)",
    "params/": "the layout of big_vision",
    "encoderblock/": "the layout of big_vision",
    "MultiHeadDotProductAttention_0": "the layout of big_vision",
    "Encoder_0": "a mixture of experts, or a mixer",
    "MixerBlock": "a mixer",
}


def recognises(found: Found) -> bool:
    """Whether these are the names of a ViT of Google's."""
    return any(name.endswith("embedding/kernel") for name in found.stored.described)


def plan(found: Found, model: str | None) -> Plan:
    """Read everything off the arrays, heads included.

    Raises:
        CheckpointError: a hybrid, a mixer, another generation of files, or arrays of strange shapes.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_PLAIN, name)
    prefix = PREFIX if f"{PREFIX}embedding/kernel" in shapes else ""
    inner = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    config = _classifier(inner, name)
    if model is not None:
        config = named(config, model, name)
    head = {"mlp": MLP_HEAD, "linear": HEAD}[config.head] if config.classes else {}
    table = prefixed(NAMES.table(config.vit.depth) | head, prefix)
    classes = unnamed(config.classes)
    preprocess = Preprocess(size=config.vit.image_size, shorter=None, interpolation="bilinear")
    return Plan(
        LAYOUT,
        config,
        preprocess,
        classes.names,
        table,
        unused=tuple(key for key in shapes if prefix and not key.startswith(prefix)),
        assumed=("preprocessing", *classes.assumed),
        orient=_oriented,
    )


def _classifier(shapes: Shapes, name: str) -> ClassifierConfig:
    kernel = shapes["embedding/kernel"]
    if len(kernel) != 4 or kernel[0] != kernel[1]:
        raise CheckpointError(f"{name}: embedding/kernel is no kernel of square patches, found {kernel}")
    patch, _, channels, width = kernel
    query = _shape(shapes, f"Transformer/encoderblock_0/{_ATTENTION}/query/kernel", 3, name)
    expand = _shape(shapes, "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel", 2, name)
    rows = table_rows(shapes, "Transformer/posembed_input/pos_embedding", name)
    try:
        return ClassifierConfig(
            backbone=ViTConfig(
                encoder=EncoderConfig(width=width, mlp_width=expand[1], norm_eps=EPS),
                depth=NAMES.depth(shapes),
                heads=query[1],
                patch=patch,
                image_size=square_side(rows - 1, patch, name),
                channels=channels,
            ),
            classes=_shape(shapes, "head/kernel", 2, name)[1] if "head/kernel" in shapes else 0,
            head="mlp" if "pre_logits/kernel" in shapes and "head/kernel" in shapes else "linear",
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error


def _shape(shapes: Shapes, key: str, sides: int, name: str) -> tuple[int, ...]:
    shape = shapes.get(key)
    if shape is None or len(shape) != sides:
        raise CheckpointError(f"{name}: {key} must have {sides} axes, found {shape}")
    return shape


def _oriented(key: str, array: Tensor) -> Tensor:
    """One of their arrays with torch's order of axes."""
    if key.endswith("embedding/kernel") and array.ndim == 4:
        return array.permute(3, 2, 0, 1)  # (p, p, C, D) -> (D, C, p, p)
    if key.endswith(("query/kernel", "key/kernel", "value/kernel")) and array.ndim == 3:
        return array.flatten(1).T  # (D, heads, d) -> (heads * d, D)
    if key.endswith("out/kernel") and array.ndim == 3:
        return array.flatten(0, 1).T  # (heads, d, D) -> (D, heads * d)
    if key.endswith(("query/bias", "key/bias", "value/bias")):
        return array.flatten()  # (heads, d) -> (heads * d,)
    return array.T if key.endswith("/kernel") and array.ndim == 2 else array  # (in, out) -> (out, in)


READER = Reader(LAYOUT, "vit", recognises, plan, (NAMES,))
