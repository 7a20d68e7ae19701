"""Mistakes that load without an error and change answers a little: what the bounds must be able to see."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.checkpoints.make import checkpoint_of
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights

Mistake = Callable[[Checkpoint], Checkpoint]


def with_encoder(checkpoint: Checkpoint, **values: Any) -> Checkpoint:
    """The same weights in an encoder with other settings."""
    config = checkpoint.model.config
    encoder = replace(config.backbone.encoder, **values)
    config = replace(config, backbone=replace(config.backbone, encoder=encoder))
    model = load_weights(config, dict(checkpoint.model.state_dict()), "a test", dtype=None)
    return replace(checkpoint, model=model)


# Of transformers' ViT with norm epsilon 1e-6: right at every size, or wrong at other sizes alone.
EVERYWHERE: Mapping[str, Mistake] = {
    "norm epsilon 1e-12 for 1e-6": lambda found: with_encoder(found, norm_eps=1e-12),
    "norm epsilon 1e-5 for 1e-6": lambda found: with_encoder(found, norm_eps=1e-5),
    "GELU by tanh for the exact one": lambda found: with_encoder(found, activation="gelu_tanh"),
    "QuickGELU for GELU": lambda found: with_encoder(found, activation="quick_gelu"),
}
ELSEWHERE: Mapping[str, Mistake] = {
    "positions resized as torchvision does": lambda found: checkpoint_of(found, position_resize="corners"),
    "positions resized as DINOv2 does": lambda found: checkpoint_of(found, position_resize="offset"),
    # Antialiasing changes nothing where a table grows.
    "positions resized as timm does": lambda found: checkpoint_of(found, position_resize="antialias"),
}
