"""Small random models of every kind that an explanation has to handle, and a picture of a cat."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build, configure
from vitreous.predictor import Predictor

from .by_hand import Explained

KINDS: dict[str, dict[str, Any]] = {
    "class token": {},
    "registers": {"registers": 3},
    "mean pooling": {"pool": "mean"},
    "no class token": {"pool": "mean", "class_token": False, "pool_norm": True, "final_norm": False},
    "not square": {"image_size": (16, 40)},
    "padded": {"image_size": (30, 21)},
    "cut": {"image_size": (30, 21), "cut_edges": True},
    "DINOv2": {"name": "dinov2_tiny", "registers": 2},
    "DINOv2, gated": {"name": "dinov2_tiny", "mlp": "swiglu", "mlp_width": 48},
    "DINOv3": {"name": "dinov3_tiny"},
    "DINOv3, not square": {"name": "dinov3_tiny", "image_size": (16, 40), "pool": "mean"},
    "DeiT": {"name": "deit_tiny"},
    "DeiT with registers, padded": {"name": "deit_tiny", "registers": 2, "image_size": (30, 21)},
    "BEiT": {"name": "beit_tiny"},
    "BEiT, not square": {"name": "beit_tiny", "image_size": (16, 40), "registers": 1},
    "BEiT without a class token": {"name": "beit_tiny", "class_token": False},
    "BEiT by its class token": {"name": "beit_tiny", "pool": "class_mean", "final_norm": True},
}


def tiny(image_size: int | tuple[int, int] = 32, name: str = "vit_tiny", **options: Any) -> Explained:
    """A seeded model with weights large enough for its attention to be far from uniform."""
    torch.manual_seed(0)
    options = {"patch": 8, "depth": 3, "width": 32, "heads": 4, **options}
    model = build(configure(name, classes=5, image_size=image_size, options=options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def images_for(model: Explained, count: int = 2) -> torch.Tensor:
    """(count, 3, H, W) at the model's native size."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, *model.config.backbone.image_size, generator=generator)


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def model(request: pytest.FixtureRequest) -> Explained:
    return tiny(**request.param)


@pytest.fixture
def predictor() -> Callable[..., Predictor]:
    """Makes a predictor with five named classes; ``shorter`` as in Preprocess."""

    def make(shorter: int | None = 36, **options: Any) -> Predictor:
        model = tiny(**options)
        prepare = Preprocess(size=model.config.backbone.image_size, shorter=shorter)
        return Predictor(model, prepare, ("ant", "bee", "cat", "dog", "eel"), device="cpu")

    return make


@pytest.fixture(scope="session")
def cat() -> Image.Image:
    from skimage.data import chelsea

    return Image.fromarray(chelsea())
