"""Small models with random weights whose answers differ by picture, and pictures of all sizes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import vitreous
from vitreous.data.preprocess import Preprocess
from vitreous.predictor import Predictor

CLASSES = ("ant", "bee", "cow")
SQUASHED = Preprocess(size=(64, 64), shorter=None)
WHOLE = Preprocess(size=(64, 64), shorter=48, longest=80)
CROPPED = Preprocess(size=(32, 32), shorter=40)
SIZES = [(40, 60, 3), (60, 40, 3), (1, 1, 3), (30, 30), (90, 7, 3), (64, 64, 3)]

Make = Callable[..., Predictor]


@pytest.fixture(scope="session")
def detector() -> Make:
    """A detector: ``detector("detr_vit_tiny", preprocess)``."""

    def make(name: str = "detr_vit_tiny", preprocess: Preprocess = WHOLE) -> Predictor:
        torch.manual_seed(0)
        model = vitreous.create(name, classes=len(CLASSES))
        with torch.no_grad():
            for part in (model.classify, model.locate):
                for parameter in part.parameters():
                    parameter.normal_(0, 0.3)
            if getattr(model, "query_places", None) is not None:
                model.query_places.normal_(0, 3)
        return Predictor(model, preprocess, CLASSES, device="cpu")

    return make


@pytest.fixture(scope="session")
def segmenter() -> Make:
    """A segmenter: ``segmenter("segformer_tiny", preprocess, classes=K)``."""

    def make(
        name: str = "segformer_tiny", preprocess: Preprocess = WHOLE, classes: int = len(CLASSES)
    ) -> Predictor:
        torch.manual_seed(0)
        model = vitreous.create(name, classes=classes)
        with torch.no_grad():
            model.head.classify.weight.normal_(0, 1)
        names = CLASSES if classes == len(CLASSES) else tuple(map(str, range(classes)))
        return Predictor(model, preprocess, names, device="cpu")

    return make


@pytest.fixture
def pixels() -> list[NDArray[np.uint8]]:
    """One picture of each of ``SIZES``."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, size, dtype=np.uint8) for size in SIZES]
