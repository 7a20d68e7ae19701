"""Writing timm's ``Beit``: every argument is spelled out, so the architecture's name decides nothing."""

from typing import Any

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import POSITIONS, scatter
from vitreous.checkpoints.foreign.timm.beit import GATED, NAMES
from vitreous.checkpoints.foreign.timm.common import EPS, init_values, mlp_ratio, written_config
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)

LIMITS = Limits(
    eps=EPS,
    activations=("gelu",),
    attention="relative",
    mean_pool=True,
    headless=True,
    swiglu=True,
    cut_edges=True,
    norms=("end", "pool"),
)
ARCHITECTURES = {1024: "beit_large_patch16_224"}


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``timm.create_model("local-dir:...", pretrained=True)`` loads.

    Raises:
        CheckpointError: the preprocessing has a part that timm has no place for.
    """
    config = checkpoint.model.config
    backbone = config.vit
    state = plain_state(checkpoint, keep_layer_scale=True)
    if backbone.positions == "none":
        state.pop(POSITIONS, None)
    else:
        state[POSITIONS] = native_positions(backbone, state, 1)
    names = GATED if backbone.encoder.mlp == "swiglu" else NAMES
    return {
        "config.json": to_json(_written(checkpoint)),
        "model.safetensors": weights_file(scatter(names.table(backbone.depth), state)),
    }


def _written(checkpoint: Checkpoint) -> dict[str, Any]:
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
        "mlp_ratio": mlp_ratio(encoder.width, encoder.mlp_width),
        "swiglu_mlp": encoder.mlp == "swiglu",
        "init_values": init_values(encoder.layer_scale),  # None too: the name stands for LayerScale
        "use_abs_pos_emb": backbone.positions != "none",
        "use_rel_pos_bias": True,
        "use_fc_norm": config.pool_norm,
    }
    name = ARCHITECTURES.get(encoder.width, "beit_base_patch16_224")
    return written_config(checkpoint, name, encoder.width, arguments)


WRITER = Writer("timm's Beit", ("beit",), LIMITS.reasons, write)
