"""A task is given what its configuration asks for."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vitreous.data.collection import Collection, Sample
from vitreous.tasks.config import SegmentationConfig
from vitreous.tasks.segmentation import Segmentation, pixel_weights
from vitreous.training.tasks import build_task


def test_classes_weigh_by_the_pixels_of_the_training_regions() -> None:
    regions = [np.array([[0, 0, 1], [0, 255, 255]], dtype=np.uint8), np.zeros((4, 1), dtype=np.uint8)]
    blank = np.zeros((2, 3), dtype=np.uint8)
    samples = tuple(Sample(str(place), blank, region=region) for place, region in enumerate(regions))
    setup: Any = SimpleNamespace(train=Collection("maps", ("sky", "bird", "boat"), samples))
    nowhere: Any = None
    for balance in ("none", "loss"):
        config: Any = SimpleNamespace(task=SegmentationConfig(balance=balance))
        task = build_task(config, setup, nowhere)
        assert isinstance(task, Segmentation)
        if balance == "none":
            assert task.weights is None
        else:
            assert torch.equal(task.weights, pixel_weights([7, 1, 0]))
