"""What a ViT has to be better than: a small convolutional network trained by the same loop on the same
views for the same time, and a support-vector machine on the same pixels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitreous.data.collection import Collection
from vitreous.data.draws import seed_torch
from vitreous.data.loader import batches
from vitreous.data.preprocess import Preprocess
from vitreous.models.classifier import Logits
from vitreous.training.config import TrainConfig
from vitreous.training.fit import Run, Watcher, fit
from vitreous.training.pace import measure_pace


class SmallCnn(nn.Module):
    """Two pairs of 3 x 3 convolutions with batch norm, halved after each pair, and a linear head."""

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_pair(channels, width),
            nn.MaxPool2d(2),
            *_pair(width, 2 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, classes),
        )

    def forward(self, images: Tensor) -> Logits:
        """(B, C, H, W) -> logits (B, K)."""
        return Logits(self.layers(images))


def _pair(channels: int, width: int) -> Sequence[nn.Module]:
    layers: list[nn.Module] = []
    for number_in in (channels, width):
        layers += [
            nn.Conv2d(number_in, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
    return layers


def train_cnn(
    config: TrainConfig, classes: int, seconds: float, *, watch: Watcher | None = None
) -> tuple[SmallCnn, Run]:
    """A small CNN, trained as ``config`` says but for about so many seconds, in ``config.output``.

    A first short run measures its speed; the schedule of the real one then fits the time. It returns with
    its best weights on the validation part.
    """
    place = Path(config.output)
    tried = replace(config, output=str(place / "timing"))
    epochs = measure_pace(tried, model=_cnn(config, classes)).epochs(seconds, generous=True)
    model = _cnn(config, classes)
    run = fit(
        replace(config, output=str(place / "run"), epochs=epochs),
        model=model,
        watch=watch,
    )
    return model, run


def _cnn(config: TrainConfig, classes: int) -> SmallCnn:
    seed_torch("rival", config.seed)
    return SmallCnn(config.model.channels, classes)


def support_vector_machine(
    train: Collection, validation: Collection, test: Collection, prepare: Preprocess
) -> NDArray[np.float64]:
    """Decision values (n, K) for the test part of scikit-learn's RBF machine on the same pixels.

    Its two settings are those that do best on the validation part; the test part is not looked at.
    """
    from sklearn.svm import SVC

    parts = [_table(part, prepare) for part in (train, validation, test)]
    (pixels, labels), (held_out, truths), (asked, _) = parts
    machines = [
        SVC(C=strength, gamma=gamma, decision_function_shape="ovr").fit(pixels, labels)
        for strength in (1.0, 10.0, 100.0)
        for gamma in ("scale", 0.5 / pixels.shape[1])
    ]
    best = max(machines, key=lambda machine: machine.score(held_out, truths))
    return np.asarray(best.decision_function(asked))


def _table(part: Collection, prepare: Preprocess) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    stream = list(batches(part, prepare, batch_size=512))
    pixels = torch.cat([batch.images.flatten(1) for batch in stream]).numpy()
    return pixels, torch.cat([batch.labels for batch in stream]).numpy()
