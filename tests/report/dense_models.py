"""Small detectors and segmenters with random weights, for pages."""

from typing import Any

import torch

from vitreous.data.preprocess import Preprocess
from vitreous.models.catalog import build, configure
from vitreous.predictor import Predictor

CLASSES = ("ant", "bee", "cat", "dog", "eel")


def dense_predictor(
    name: str,
    *,
    classes: tuple[str, ...] = CLASSES,
    shorter: int | None = None,
    image_size: int | None = None,
    **options: Any,
) -> Predictor:
    """A member of the catalog whose answers differ from place to place."""
    torch.manual_seed(0)
    model = build(configure(name, classes=len(classes), image_size=image_size, options=options)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() < 1_000_000:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return Predictor(model, Preprocess(size=model.config.image_size, shorter=shorter), classes, device="cpu")
