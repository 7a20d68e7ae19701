"""Masked autoencoders: the reference and our model are told the same patches to hide."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.case import Case, Loaded
from tests.parity.twins import Forward, Twin, randomise

VALUES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
    "decoder_hidden_size": 48,
    "decoder_num_hidden_layers": 3,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 80,
    "mask_ratio": 0.6,
}


def noise_for(images: Tensor, patch: int = 8) -> Tensor:
    """A number for each patch (B, P), the same for pictures of the same size."""
    patches = (images.shape[-2] // patch) * (images.shape[-1] // patch)
    return torch.rand(len(images), patches, generator=torch.Generator().manual_seed(7))


def channels_last(patches: Tensor, patch: int = 8) -> Tensor:
    """Our patches (B, P, C * p * p) with their pixels in the reference's order, (B, P, p * p * C)."""
    return patches.unflatten(2, (-1, patch, patch)).permute(0, 1, 3, 4, 2).flatten(2)


def transformers_mae(path: Path, **arguments: Any) -> Twin:
    """transformers' ViTMAEForPreTraining and its image processor, saved by ``save_pretrained``."""
    from transformers import ViTImageProcessor, ViTMAEConfig, ViTMAEForPreTraining

    model = ViTMAEForPreTraining(ViTMAEConfig(**VALUES | arguments))
    randomise(model).save_pretrained(path)
    channels = model.config.num_channels
    statistics = {"image_mean": [0.4] * channels, "image_std": [0.3] * channels}
    ViTImageProcessor(size={"height": 32, "width": 32}, **statistics).save_pretrained(path)
    return Twin(model, path, mae_forward(model))


def mae_forward(model: nn.Module) -> Forward:
    """The rebuilt patches of the reference at any picture size."""

    def forward(images: Tensor) -> Tensor:
        side = model.config.image_size
        native = tuple(images.shape[-2:]) == (side, side)
        noise = noise_for(images, model.config.patch_size)
        return model(images, noise=noise, interpolate_pos_encoding=not native).logits

    return forward


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """What our model rebuilds, in the reference's order of pixels."""
    patch = model.config.backbone.patch
    return channels_last(model(images, noise_for(images, patch)).patches, patch)


def from_transformers(path: Path) -> Loaded:
    """What ``from_pretrained`` makes of a directory; nothing may be missing or left over."""
    from transformers import ViTMAEForPreTraining

    model, told = ViTMAEForPreTraining.from_pretrained(path, output_loading_info=True)
    assert not any(told.values()), told
    return model.eval(), mae_forward(model)


CASES = (
    Case(
        "transformers",
        "mae",
        transformers_mae,
        ((32, 32), (48, 48), (24, 56), (64, 16)),
        from_transformers,
        answer=answer,
    ),
)
