"""Small folders of pictures that a small ViT can learn in seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.data.augment import AugmentConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes, bright above or bright below, in train and val, 12 x 12 pixels."""
    random = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 8)):
        for label in ("above", "below"):
            folder = tmp_path / "pictures" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 90, (12, 12, 3), dtype=np.uint8)
                half = slice(0, 6) if label == "above" else slice(6, 12)
                pixels[half] += 140
                Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def config(pictures: Path, tmp_path: Path) -> TrainConfig:
    """Six epochs of six steps."""
    return TrainConfig(
        data=str(pictures),
        output=str(tmp_path / "run"),
        model=ModelChoice(
            name="vit_tiny",
            image_size=12,
            options={"width": 16, "depth": 2, "heads": 2, "drop_path": 0.2},
        ),
        augment=AugmentConfig(crop=(0.6, 1.0), rand_augment=(1, 3), erase=0.1),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        epochs=6,
        batch_size=8,
        average=0.8,
        workers=0,
        device="cpu",
    )
