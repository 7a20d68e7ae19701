"""Writing timm's directory: every argument is spelled out, so the architecture's name decides nothing."""

import math
from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import POSITIONS, scatter
from vitreous.checkpoints.foreign.timm.vit import EPS, NAMES
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError
from vitreous.models.catalog import CATALOG

SIZES = {"ti": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}
LIMITS = Limits(
    eps=EPS,
    registers=True,
    mean_pool=True,
    no_class_token=True,
    headless=True,
)


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``timm.create_model("local-dir:...", pretrained=True)`` loads.

    Raises:
        CheckpointError: the model or its preprocessing has parts that timm has no place for.
    """
    config = checkpoint.model.config
    backbone = config.vit
    state = plain_state(checkpoint, keep_layer_scale=True)
    if backbone.positions == "none":
        state.pop(POSITIONS, None)
    else:
        prefix = backbone.prefix if _class_placed(backbone) else 0
        state[POSITIONS] = native_positions(backbone, state, prefix)
    tensors = scatter(NAMES.table(backbone.depth), state)
    return {
        "config.json": to_json(_config(checkpoint)),
        "model.safetensors": weights_file(tensors),
    }


def _class_placed(backbone: ViTConfig) -> bool:
    return backbone.class_token and backbone.class_position


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.model.config
    backbone, encoder = config.vit, config.vit.encoder
    pool = {"class": "token", "mean": "avg"}[config.pool]
    arguments = {
        "img_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "in_chans": backbone.channels,
        "num_classes": config.classes,
        "global_pool": pool,
        "embed_dim": encoder.width,
        "depth": backbone.depth,
        "num_heads": backbone.heads,
        "mlp_ratio": _ratio(encoder.width, encoder.mlp_width),
        "init_values": encoder.layer_scale,
        "class_token": backbone.class_token,
        "pos_embed": "none" if backbone.positions == "none" else "learn",
        "no_embed_class": not _class_placed(backbone),
        "reg_tokens": backbone.registers,
        "final_norm": backbone.final_norm or config.pool_norm,
        "fc_norm": config.pool_norm,
        "act_layer": encoder.activation,
    }
    return {
        "architecture": _architecture(backbone),
        "num_classes": config.classes,
        "num_features": encoder.width,
        "global_pool": pool,
        "model_args": {key: value for key, value in arguments.items() if value is not None},
        "pretrained_cfg": {
            **_transform(checkpoint.preprocess),
            "input_size": [backbone.channels, *checkpoint.preprocess.size],
            "fixed_input_size": True,
            "num_classes": config.classes,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "custom_load": False,
        },
        **({"label_names": list(checkpoint.classes)} if checkpoint.classes else {}),
    }


def _transform(preprocess: Preprocess) -> dict[str, Any]:
    common = {
        "interpolation": preprocess.interpolation,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }
    height, width = preprocess.size
    if preprocess.shorter is None:
        return {**common, "crop_pct": 1.0, "crop_mode": "squash"}
    if height != width:
        raise CheckpointError(
            f"timm's transform cannot hold this preprocessing: a crop of {height}x{width} pixels"
            f" after resizing the shorter side to {preprocess.shorter}"
        )
    crop = height / preprocess.shorter
    while math.floor(height / crop) > preprocess.shorter:
        crop = math.nextafter(crop, math.inf)
    while math.floor(height / crop) < preprocess.shorter:
        crop = math.nextafter(crop, 0.0)
    return {**common, "crop_pct": crop, "crop_mode": "center"}


def _ratio(width: int, mlp_width: int) -> float:
    """The ratio from which ``int(width * ratio)`` makes the MLP's width."""
    ratio = mlp_width / width
    while int(width * ratio) < mlp_width:
        ratio = math.nextafter(ratio, math.inf)
    return ratio


def _architecture(backbone: ViTConfig) -> str:
    """timm's own name where it has one, else the name of its B/16, of which every argument is given."""
    for name, config in CATALOG.items():
        if not name.startswith("vit_"):
            continue
        known = config.vit  # type: ignore[union-attr]
        same = (known.encoder.width, known.depth, known.heads, known.patch) == (
            backbone.encoder.width,
            backbone.depth,
            backbone.heads,
            backbone.patch,
        )
        size = SIZES.get(name.split("_")[1])
        if same and size and (size, known.patch) in PUBLISHED:
            return f"vit_{size}_patch{known.patch}_224"
    return "vit_base_patch16_224"


PUBLISHED = {
    ("tiny", 16),
    ("small", 8),
    ("small", 16),
    ("small", 32),
    ("base", 8),
    ("base", 16),
    ("base", 32),
    ("large", 14),
    ("large", 16),
    ("large", 32),
    ("huge", 14),
}


WRITER = Writer("timm's VisionTransformer", ("vit",), LIMITS.reasons, write)
