"""A task is given what its configuration asks for."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitreous.data.collection import Collection, Sample
from vitreous.data.folder import read_data
from vitreous.models import catalog
from vitreous.models.detr import Detections
from vitreous.tasks.config import SegmentationConfig
from vitreous.tasks.segmentation import Segmentation, pixel_weights
from vitreous.training.fit import fit
from vitreous.training.recipes import detr
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


class Rival(nn.Module):
    """A detector from outside, of which nothing is known but its answers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = catalog.build(catalog.configure("detr_resnet_tiny", classes=classes))

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Detections:
        answer: Detections = self.model(images, valid)
        return answer


def test_a_detector_from_outside_is_taught_and_told_that_it_finds_nothing(tmp_path: Path) -> None:
    splits = read_data("scenes:detection,pictures=8")
    assert splits.validation is not None
    splits = splits._replace(validation=splits.validation.select(range(8)))
    config = replace(
        detr("scenes:detection,pictures=8", str(tmp_path / "run")),
        epochs=1,
        batch_size=4,
        workers=0,
        threads=1,
        device="cpu",
        track="none",
    )
    said: list[str] = []
    run = fit(
        config,
        model=Rival(10),
        splits=splits,
        watch=lambda moment: said.append(str(moment.values.get("text", ""))),
    )
    assert run.steps == 2 and "ap50" in run.measures
    assert any(text.startswith("nothing found: AP50") for text in said)
