"""What ``config.json`` says alike in every directory that we write for torchvision."""

from collections.abc import Mapping
from typing import Any

from vitreous.checkpoints.file import Checkpoint
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError

LAYOUT = "torchvision"


def told(values: Mapping[str, Any], where: str) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing and the names of classes. CheckpointError where they are not what we write."""
    classes = values.get("classes")
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise CheckpointError(f"{where}: classes must be a list of names")
    try:
        return from_plain(Preprocess, values.get("preprocess"), "preprocess"), tuple(classes)
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def written(checkpoint: Checkpoint) -> dict[str, Any]:
    """The same, as it is written."""
    return {"preprocess": to_plain(checkpoint.preprocess), "classes": list(checkpoint.classes)}
