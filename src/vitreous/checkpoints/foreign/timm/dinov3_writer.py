"""Writing a model with rotary attention as timm's ``Eva``: every argument is spelled out, so the
architecture's name decides nothing but the epsilon of the norms."""

from dataclasses import replace
from typing import Any

from vitreous.backbones.config import ViTConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import BLOCK, POSITIONS, layer, scatter
from vitreous.checkpoints.foreign.timm.common import init_values, mlp_ratio, written_config
from vitreous.checkpoints.foreign.timm.dinov3 import EPS, NAMES
from vitreous.checkpoints.foreign.writing import (
    Limits,
    Writer,
    native_positions,
    plain_state,
    weights_file,
)
from vitreous.models.config import ClassifierConfig, ModelConfig

LIMITS = Limits(
    eps=EPS,
    attention="rotary",
    registers=True,
    mean_pool=True,
    no_class_token=True,
    headless=True,
    swiglu=True,
    cut_edges=True,
)
# (width, depth, heads, gated) of what timm has a name for.
PUBLISHED = {
    (192, 12, 3, False): "vit_tiny_patch16_dinov3_qkvb",
    (384, 12, 6, False): "vit_small_patch16_dinov3_qkvb",
    (384, 12, 6, True): "vit_small_plus_patch16_dinov3_qkvb",
    (768, 12, 12, False): "vit_base_patch16_dinov3_qkvb",
    (1024, 24, 16, False): "vit_large_patch16_dinov3_qkvb",
    (1280, 32, 20, True): "vit_huge_plus_patch16_dinov3_qkvb",
    (4096, 40, 32, True): "vit_7b_patch16_dinov3",
}


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``timm.create_model("local-dir:...", pretrained=True)`` loads.

    Raises:
        CheckpointError: the model or its preprocessing has parts that timm has no place for.
    """
    backbone = checkpoint.model.config.vit
    state = plain_state(checkpoint, keep_layer_scale=True)
    if backbone.positions == "none":
        state.pop(POSITIONS, None)
    else:
        state[POSITIONS] = native_positions(backbone, state, backbone.prefix if _placed(backbone) else 0)
    biases = (state[f"{BLOCK}.{index}.attention.qkv.bias"] for index in range(backbone.depth))
    # One of its two kinds of attention has no bias of keys, as DINOv3; a turned key's bias does count.
    key_bias = any(bool(bias.chunk(3)[1].any()) for bias in biases)
    inside = dict(NAMES.inside)
    if key_bias:
        inside["attention.qkv.bias"] = ("attn.qkv.bias",)
    if backbone.encoder.mlp == "swiglu":
        inside |= layer("mlp.expand", "mlp.fc1_g", "mlp.fc1_x")
    tensors = scatter(replace(NAMES, inside=inside).table(backbone.depth), state)
    return {
        "config.json": to_json(_config(checkpoint, key_bias=key_bias)),
        "model.safetensors": weights_file(tensors),
    }


def reasons(config: ModelConfig) -> list[str]:
    """Why timm has no place for a model; empty where it has."""
    found = LIMITS.reasons(config)
    if isinstance(config, ClassifierConfig) and isinstance(config.backbone, ViTConfig):
        encoder = config.backbone.encoder
        if encoder.mlp == "plain" and encoder.activation != "gelu":
            found.append(f"its activation is {encoder.activation}, there is only gelu")
    return found


def _placed(backbone: ViTConfig) -> bool:
    return backbone.class_token and backbone.class_position


def _config(checkpoint: Checkpoint, *, key_bias: bool) -> dict[str, Any]:
    config = checkpoint.model.config
    backbone, encoder = config.vit, config.vit.encoder
    gated = encoder.mlp == "swiglu"
    pool = {"class": "token", "mean": "avg"}[config.pool]
    size = (encoder.width, backbone.depth, backbone.heads, gated)
    arguments = {
        "img_size": list(backbone.image_size),
        "patch_size": backbone.patch,
        "in_chans": backbone.channels,
        "num_classes": config.classes,
        "global_pool": pool,
        "embed_dim": encoder.width,
        "depth": backbone.depth,
        "num_heads": backbone.heads,
        "attn_type": "rope" if key_bias else "eva",
        "qkv_bias": True,
        "qkv_fused": True,
        "mlp_ratio": mlp_ratio(encoder.width, encoder.mlp_width),
        "swiglu_mlp": gated,
        "swiglu_align_to": int(gated),  # any but 0 keeps the gate apart from what it lets pass
        "init_values": init_values(encoder.layer_scale),
        "class_token": backbone.class_token,
        "num_reg_tokens": backbone.registers,
        "use_abs_pos_emb": backbone.positions != "none",
        "no_embed_class": not _placed(backbone),
        "use_rot_pos_emb": True,
        "rope_type": "dinov3",
        "rope_temperature": backbone.rotary_base,
        "rope_rotate_half": True,
        "rope_grid_indexing": "ij",
        "use_post_transformer_norm": backbone.final_norm,
        "use_fc_norm": config.pool_norm,
        "dynamic_img_size": True,
        "dynamic_img_pad": not backbone.cut_edges,
    }
    name = PUBLISHED.get(size, "vit_small_patch16_dinov3_qkvb")
    return written_config(checkpoint, name, encoder.width, arguments)


WRITER = Writer("timm's Eva", ("rotary",), reasons, write)
