"""Small predictors with random weights, one for each kind of page, and a picture of a cat."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build, configure
from vitreous.predictor import Predictor

Make = Callable[..., Predictor]


@pytest.fixture(scope="session")
def make_predictor() -> Make:
    """A predictor for ``image_size``; grey where ``channels`` is 1; options are those of the catalog."""

    def make(
        image_size: int | tuple[int, int] = 64,
        *,
        classes: tuple[str, ...] = ("ant", "bee", "cat", "dog", "eel", "fox"),
        channels: int = 3,
        shorter: int | None = 72,
        name: str = "vit_tiny",
        **options: Any,
    ) -> Predictor:
        torch.manual_seed(0)
        options = {"patch": 8, "depth": 3, "width": 32, "heads": 4, **options}
        config = configure(
            name, classes=len(classes), image_size=image_size, channels=channels, options=options
        )
        model = build(config)
        with torch.no_grad():
            for block in model.backbone.encoder.blocks:
                block.attention.qkv.weight.mul_(12)
                if config.backbone.attention == "relative":
                    block.attention.bias.table.normal_()
        prepare = Preprocess(
            size=config.backbone.image_size, shorter=shorter, mean=(0.5,) * channels, std=(0.25,) * channels
        )
        return Predictor(model, prepare, classes, device="cpu")

    return make


@pytest.fixture(scope="session")
def cat() -> Image.Image:
    from skimage.data import chelsea

    return Image.fromarray(chelsea())
