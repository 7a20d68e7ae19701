"""Small checkpoints with a random value in every tensor."""

from dataclasses import replace
from typing import Any

import torch

from tests.parity.twins import randomise
from vitreous.backbones.config import EncoderConfig, ViTConfig
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import load_weights
from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build
from vitreous.models.config import ClassifierConfig

ENCODER = ("width", "mlp_width", "norm_eps", "mlp", "activation", "layer_scale", "drop_path")
HEAD = ("classes", "pool", "pool_norm", "head")
WORDS = ("ant", "bee", "cat", "dog", "eel")


def random_checkpoint(*, seed: int = 0, temperature: float = 1.0, **options: Any) -> Checkpoint:
    """A checkpoint of a tiny ViT; options are fields of its configurations."""
    values: dict[str, Any] = {"width": 64, "mlp_width": 96, "depth": 2, "heads": 4, "patch": 8}
    values |= {"image_size": (32, 32), "classes": 5} | options
    encoder = EncoderConfig(**{key: values.pop(key) for key in ENCODER if key in values})
    head = {key: values.pop(key) for key in HEAD if key in values}
    config = ClassifierConfig(backbone=ViTConfig(encoder=encoder, **values), **head)
    model = randomise(build(config), seed)
    channels = config.backbone.channels
    preprocess = Preprocess(
        size=config.backbone.image_size, shorter=None, mean=(0.4,) * channels, std=(0.3,) * channels
    )
    return Checkpoint(model, preprocess, WORDS[: config.classes], temperature, {"made": "for a test"})


def checkpoint_of(
    checkpoint: Checkpoint, *, preprocess: Preprocess | None = None, **backbone: Any
) -> Checkpoint:
    """The same weights, with another preprocessing, or another way of resizing positions or cutting edges."""
    config = checkpoint.model.config
    if backbone:
        config = replace(config, backbone=replace(config.backbone, **backbone))
    state = {key: value.detach().clone() for key, value in checkpoint.model.state_dict().items()}
    model = load_weights(config, state, "a test", dtype=None)
    return replace(checkpoint, model=model, preprocess=preprocess or checkpoint.preprocess)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models have the same tensors, bit for bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
