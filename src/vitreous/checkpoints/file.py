"""Our own directory: everything that a model needs to answer, in three files.

``config.json`` holds the format, the family, the model's configuration, its preprocessing, class
names, temperature and lineage, and whether a picture may show several classes; ``model.safetensors``
the weights under our names; ``manifest.json`` sizes and SHA-256, which are verified before anything is
used. Nothing in it is a pickle.
"""

import math
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from vitreous.checkpoints.directory import (
    Prove,
    locate,
    read_json,
    to_json,
    verify_directory,
    write_directory,
)
from vitreous.checkpoints.weights import load_weights, read_safetensors, write_safetensors
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError, nearest
from vitreous.models.config import FAMILIES, ModelConfig, family_of
from vitreous.models.model import Model

__all__ = ["Checkpoint", "locate", "read", "save", "verify_directory", "write_directory"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT = "vitreous/1"
KEYS = ("format", "family", "model", "preprocess", "classes", "temperature", "lineage")
ANSWERS = "answers"  # written only where it is not "one"

# How many of the classes a picture shows: one (scores are a softmax), or any number (a sigmoid for each).
Answers = Literal["one", "several"]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model and what must travel with it.

    ``classes`` name the logits in order (empty for a model without a head); probabilities are the
    softmax of logits / ``temperature``, or with ``answers`` "several", where a picture may show any number of
    the classes, the sigmoid of each; ``lineage`` is where the weights come from, as JSON values.
    """

    model: Model
    preprocess: Preprocess
    classes: tuple[str, ...]
    temperature: float = 1.0
    lineage: dict[str, Any] = field(default_factory=dict)
    answers: Answers = "one"

    def __post_init__(self) -> None:
        check(self.model.config, self.preprocess, self.classes, self.temperature)


def save(directory: str | os.PathLike[str], checkpoint: Checkpoint, *, prove: Prove | None = None) -> None:
    """Write a checkpoint as a directory of ours, in the place of one of ours if it is there. ``prove`` is
    ``write_directory``'s.

    Raises:
        StorageError: the disk is full, a permission is missing, or something else stands there; what
            was there is intact.
    """
    config = {
        "format": FORMAT,
        "family": family_of(checkpoint.model.config),
        "model": to_plain(checkpoint.model.config),
        "preprocess": to_plain(checkpoint.preprocess),
        "classes": list(checkpoint.classes),
        "temperature": checkpoint.temperature,
        "lineage": checkpoint.lineage,
        **said_answers(checkpoint),
    }
    weights = partial(write_safetensors, checkpoint.model.state_dict(), metadata={"format": "pt"})
    write_directory(directory, {CONFIG: to_json(config), WEIGHTS: weights}, prove=prove)


def read(
    directory: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = torch.float32,
    name: str | None = None,
) -> Checkpoint:
    """Read a directory of ours. ``dtype`` is what the weights become; None keeps what was saved.
    ``name`` is what errors call it, where that is not its path.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    name = os.fspath(directory) if name is None else name
    found = verify_directory(directory, name=name)
    values = read_json(found / CONFIG, f"{name}/{CONFIG}")
    config, preprocess = read_config(values, f"{name}/{CONFIG}")
    tensors = read_safetensors(found / WEIGHTS, f"{name}/{WEIGHTS}")
    return Checkpoint(
        model=load_weights(config, tensors, name, dtype=dtype),
        preprocess=preprocess,
        classes=tuple(values["classes"]),
        temperature=float(values["temperature"]),
        lineage=values["lineage"],
        answers=values.get(ANSWERS, "one"),
    )


def said_answers(checkpoint: Checkpoint) -> dict[str, Any]:
    """What ``config.json`` says of ``answers``: nothing of one, so that older versions read it."""
    return {} if checkpoint.answers == "one" else {ANSWERS: checkpoint.answers}


def read_config(values: dict[str, Any], name: str) -> tuple[ModelConfig, Preprocess]:
    """What ``config.json`` says, checked. CheckpointError where it cannot be meant for us."""
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"{name}: format {values.get('format')!r}, this version reads {FORMAT!r}; upgrade vitreous"
        )
    if set(values) - {ANSWERS} != set(KEYS):
        raise CheckpointError(f"{name}: wanted the keys {', '.join(KEYS)}; got {', '.join(values)}")
    family = values["family"]
    if family not in FAMILIES:
        raise CheckpointError(
            f"{name}: family {family!r} is not known; wanted one of {', '.join(FAMILIES)}"
            + nearest(str(family), FAMILIES)
        )
    classes = values["classes"]
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise CheckpointError(f"{name}: classes must be a list of names")
    if values.get(ANSWERS, "one") not in get_args(Answers):
        raise CheckpointError(f"{name}: {ANSWERS} must be {' or '.join(get_args(Answers))}")
    if not isinstance(values["temperature"], int | float) or not isinstance(values["lineage"], dict):
        raise CheckpointError(f"{name}: temperature must be a number and lineage an object")
    try:
        config = from_plain(FAMILIES[family], values["model"], "model")
        preprocess = from_plain(Preprocess, values["preprocess"], "preprocess")
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    if family_of(config) != family:
        raise CheckpointError(f"{name}: says family {family!r} of a model of {family_of(config)!r}")
    check(config, preprocess, tuple(classes), values["temperature"])
    return config, preprocess


def check(config: ModelConfig, preprocess: Preprocess, classes: tuple[str, ...], temperature: float) -> None:
    """Hold what travels with a model against the model. CheckpointError where they contradict."""
    if len(classes) != config.classes:
        raise CheckpointError(f"{len(classes)} class names for a model of {config.classes} classes")
    channels = config.channels
    if len(preprocess.mean) != channels:
        raise CheckpointError(
            f"preprocessing for {len(preprocess.mean)} channels, a model for {channels} channels"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise CheckpointError(f"temperature must be a positive number, got {temperature}")


def is_ours(directory: Path) -> bool:
    """Whether a model directory of ours is there; it may still be damaged."""
    found = locate(directory)
    if found is None:
        return False
    try:
        config = read_json(found / CONFIG, CONFIG)
    except CheckpointError:
        return (found / WEIGHTS).exists()  # so damaged that reading it must say how
    return str(config.get("format", "")).startswith("vitreous/")
