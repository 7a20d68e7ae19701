"""Predictors from disk, and back."""

from os import PathLike
from typing import Literal

import torch

from vitreous.checkpoints.destination import write_any
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.errors import ConfigError
from vitreous.models.model import Model
from vitreous.predictor.device import pick_device
from vitreous.predictor.predictor import Predictor

SavedLayout = Literal["vitreous", "transformers", "timm", "torchvision", "dall_e"]


def load(
    source: str | PathLike[str], *, name: str | None = None, device: str | torch.device = "auto"
) -> Predictor:
    """A predictor from a run, a model directory, or weights in any layout that is read.

    ``name`` is the catalog name of the architecture, for files that do not say it.
    Raises CheckpointError where the source is missing, damaged or unknown, ConfigError for a device
    that is not there.
    """
    place = pick_device(device)  # refused before minutes of reading, not after
    checkpoint = read_any(source, name)
    return Predictor(
        checkpoint.model,
        checkpoint.preprocess,
        checkpoint.classes,
        temperature=checkpoint.temperature,
        device=place,
        lineage=checkpoint.lineage,
        answers=checkpoint.answers,
    )


def save(predictor: Predictor, directory: str | PathLike[str], *, layout: SavedLayout = "vitreous") -> None:
    """Write a predictor as a directory: ours, or one that transformers, timm or torchvision load.

    An existing directory of this kind is replaced only when the new one is complete.
    Raises CheckpointError for a layout that is unknown or cannot hold the model, StorageError where the
    place cannot be written.
    """
    model = predictor.model
    if not isinstance(model, Model):
        raise ConfigError(f"a {type(model).__name__} cannot be saved; wanted a model of the catalog")
    checkpoint = Checkpoint(
        model,
        predictor.preprocess,
        predictor.classes,
        predictor.temperature,
        predictor.lineage,
        predictor.answers,
    )
    write_any(directory, checkpoint, layout)
