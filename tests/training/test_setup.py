"""Mean and deviation are those of all pixels together, without holding them all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitreous.data.folder import read_data
from vitreous.data.preprocess import Preprocess
from vitreous.training.setup import measure


@pytest.mark.parametrize("spread", [0, 1, 200])
def test_mean_and_deviation_of_all_pixels(tmp_path: Path, spread: int) -> None:
    random = np.random.default_rng(0)
    pixels = []
    for label in ("ant", "bee"):
        (tmp_path / label).mkdir()
        for number in range(20):
            drawn = (40 + random.integers(0, spread + 1, (6, 6, 3))).astype(np.uint8)
            drawn[..., 2] //= 2
            Image.fromarray(drawn).save(tmp_path / label / f"{number:02d}.png")
            pixels.append((f"{label}/{number:02d}.png", torch.from_numpy(drawn).double().flatten(0, 1) / 255))
    train = read_data(tmp_path).train
    assert train is not None
    names = {sample.name for sample in train.samples}
    flat = torch.cat([values for name, values in pixels if name in names])  # (pixels, 3)
    preprocess = Preprocess(
        size=(6, 6), shorter=None, interpolation="nearest", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    mean, deviation = measure(train, preprocess, 0)
    assert mean == pytest.approx(flat.mean(0).tolist(), abs=6e-5)
    assert deviation == pytest.approx(flat.std(0).clamp(min=1e-3).tolist(), abs=6e-5)
