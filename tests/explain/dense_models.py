"""Small random detectors and segmenters of every kind, whose attention is far from uniform."""

from typing import Any

import torch
from torch import Tensor, nn

from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build, configure
from vitreous.predictor import Predictor

CLASSES = ("ant", "bee", "cat", "dog", "eel")
DECODERS = ("detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny")
DETECTORS = (*DECODERS, "yolos_tiny")
SEGMENTERS = ("segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny", "beit_tiny_upernet")


def shaken(model: nn.Module, noise: float = 0.1) -> Any:
    """Every parameter moved a little, the same way each time."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * noise)
    return model.eval()


def dense(name: str, **options: Any) -> Any:
    """A member of the catalog with five classes."""
    torch.manual_seed(0)
    return shaken(build(configure(name, classes=len(CLASSES), options=options)))


def predictor_of(model: Any, shorter: int | None = None) -> Predictor:
    return Predictor(model, Preprocess(size=model.config.image_size, shorter=shorter), CLASSES, device="cpu")


def picture_of(model: Any, seed: int = 1) -> Tensor:
    """(1, 3, H, W) at the model's native size."""
    return torch.randn(1, 3, *model.config.image_size, generator=torch.Generator().manual_seed(seed))
