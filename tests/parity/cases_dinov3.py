"""DINOv3, the rotary ViT, in the layouts of two libraries."""

from pathlib import Path
from typing import Any

import torch

from tests.parity.case import Case
from tests.parity.cases_dinov2 import answer_of, from_model
from tests.parity.cases_vit import from_timm
from tests.parity.twins import Twin, randomise

# The last two are no multiples of the patch: transformers leaves out what is beyond the last whole one.
WHOLE = ((32, 32), (48, 48), (24, 56))
SIZES = (*WHOLE, (33, 47), (55, 24))
VALUES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
    "num_register_tokens": 3,
    "layerscale_value": 0.5,
}
TIMM: dict[str, Any] = {
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 4,
    "img_size": 32,
    "patch_size": 8,
    "num_classes": 5,
}


def timm_dinov3(path: Path, name: str = "vit_small_patch16_dinov3", **arguments: Any) -> Twin:
    """timm's Eva under a name of DINOv3, saved by its ``save_for_hf``."""
    import timm
    from timm.models import save_for_hf

    model = timm.create_model(name, **TIMM | arguments)
    save_for_hf(randomise(model), str(path), safe_serialization=True)
    return Twin(model, path, model)


def transformers_dinov3(path: Path, **arguments: Any) -> Twin:
    """transformers' DINOv3ViTModel and its processor, saved by ``save_pretrained``."""
    from transformers import DINOv3ViTConfig, DINOv3ViTImageProcessor, DINOv3ViTModel

    model = randomise(DINOv3ViTModel(DINOv3ViTConfig(**VALUES | arguments)))
    model.save_pretrained(path)
    channels = model.config.num_channels
    DINOv3ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.4] * channels, image_std=[0.3] * channels
    ).save_pretrained(path)
    return Twin(model, path, answer_of(model))


def official_dinov3(path: Path, *, gated: bool = False, local: bool = False) -> Twin:
    """A file as the authors publish it, made from timm's twin by renaming; ``local`` adds what only the
    largest has."""
    import timm

    name = f"vit_small_{'plus_' if gated else ''}patch16_dinov3_qkvb"
    # So wide that the number of heads is known.
    model = timm.create_model(name, embed_dim=128, depth=2, num_heads=2, num_classes=0, global_pool="token")
    randomise(model)
    generator = torch.Generator().manual_seed(3)
    state = {}
    renamed = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    renamed |= {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2"} | ({"mlp.fc2": "mlp.w3"} if gated else {})
    for key, value in model.state_dict().items():
        if key.endswith(("q_bias", "v_bias")):
            continue
        for theirs, official in renamed.items():
            key = key.replace(theirs, official)
        state[key] = value.clone()
    for index, block in enumerate(model.blocks):
        keys = torch.randn(128, generator=generator)  # masked, so they must not count
        state[f"blocks.{index}.attn.qkv.bias"] = torch.cat(
            [block.attn.q_bias, keys, block.attn.v_bias]
        ).detach()
        state[f"blocks.{index}.attn.qkv.bias_mask"] = torch.ones(384)
        state[f"blocks.{index}.attn.qkv.bias_mask"][128:256] = 0
    state["mask_token"] = torch.randn(1, 128, generator=generator)
    state["rope_embed.periods"] = (100 ** (torch.arange(16) / 16)).bfloat16()
    if local:
        state |= {f"local_cls_norm.{leaf}": torch.randn(128) for leaf in ("weight", "bias")}
    torch.save(state, path)
    return Twin(model, path, model)


OFFICIAL = ((256, 256), (48, 48), (32, 80))
CASES = (
    Case("timm", "dinov3", timm_dinov3, WHOLE, from_timm),
    Case(
        "timm",
        "dinov3 gated, with biases",
        lambda path: timm_dinov3(path, "vit_huge_plus_patch16_dinov3_qkvb", global_pool="token"),
        WHOLE,
        from_timm,
    ),
    Case("transformers", "dinov3", transformers_dinov3, SIZES, from_model),
    Case(
        "transformers",
        "dinov3 gated, with a bias of keys",
        lambda path: transformers_dinov3(path, use_gated_mlp=True, hidden_act="silu", key_bias=True),
        SIZES,
        from_model,
    ),
    Case("facebookresearch", "dinov3", official_dinov3, OFFICIAL),
    Case("facebookresearch", "dinov3 gated", lambda path: official_dinov3(path, gated=True), OFFICIAL),
)
