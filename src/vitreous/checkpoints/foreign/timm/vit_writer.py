"""Writing timm's directory: every argument is spelled out, so the architecture's name decides nothing."""

from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import POSITIONS, scatter
from vitreous.checkpoints.foreign.timm.common import EPS, VIEW, init_values, mlp_ratio, written_config
from vitreous.checkpoints.foreign.timm.vit import NAMES
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.models.catalog import CATALOG

SIZES = {"ti": "tiny", "s": "small", "b": "base", "l": "large", "h": "huge"}
LIMITS = Limits(
    eps=EPS,
    registers=True,
    mean_pool=True,
    no_class_token=True,
    headless=True,
    swiglu=True,
    cut_edges=True,
    norms=("end", "pool", "none"),
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
    gated = encoder.mlp == "swiglu"
    size = checkpoint.preprocess.size
    elsewhere = size != backbone.image_size
    arguments = {
        "img_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "in_chans": backbone.channels,
        "num_classes": config.classes,
        "global_pool": pool,
        "embed_dim": encoder.width,
        "depth": backbone.depth,
        "num_heads": backbone.heads,
        "mlp_ratio": mlp_ratio(encoder.width, encoder.mlp_width * (2 if gated else 1)),
        "init_values": init_values(encoder.layer_scale),
        "class_token": backbone.class_token,
        "pos_embed": "none" if backbone.positions == "none" else "learn",
        "no_embed_class": not _class_placed(backbone),
        "reg_tokens": backbone.registers,
        "final_norm": backbone.final_norm or config.pool_norm,
        "fc_norm": config.pool_norm,
        "act_layer": "silu" if gated else encoder.activation,
        "dynamic_img_size": elsewhere,
        "dynamic_img_pad": not backbone.cut_edges,
    }
    values = written_config(checkpoint, _architecture(backbone), encoder.width, arguments)
    return values | ({VIEW: list(size)} if elsewhere else {})


def _architecture(backbone: ViTConfig) -> str:
    """timm's own name where it has one, else the name of its B/16, of which every argument is given. Only
    names can say that an MLP is gated."""
    if backbone.encoder.mlp == "swiglu":
        return "vit_giant_patch14_dinov2"
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
