"""From a configuration to what the loop needs: data, model, preprocessing, and what was decided."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.data.collection import Collection, Splits
from vitreous.data.draws import seed_of, seed_torch
from vitreous.data.folder import read_data
from vitreous.data.parts import learning_parts
from vitreous.data.preprocess import Preprocess
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.evaluate import trained_on
from vitreous.evaluation.matching import match
from vitreous.models import catalog
from vitreous.models.model import Model
from vitreous.tasks.config import check_complete, check_fits, needs_labels
from vitreous.training.config import TrainConfig

MEASURED = 512  # pictures from which mean and standard deviation are taken


class Setup(NamedTuple):
    """What a run starts from. ``notes`` are sentences that a person should hear; ``fingerprint`` names the
    training and validation pictures and their labels."""

    train: Collection
    validation: Collection
    model: Model
    preprocess: Preprocess
    lineage: dict[str, object]
    notes: tuple[str, ...]
    fingerprint: str


def set_up(config: TrainConfig, splits: Splits | None = None) -> Setup:
    """Read the data, unless it is given as ``splits``, and build the model or go on with one.

    Raises:
        DataError, ConfigError, CheckpointError: before any long work, in one line.
    """
    check_complete(config.task)
    labelled = needs_labels(config.task)
    if splits is None:
        splits = read_data(config.data, seed=config.seed)
    splits = learning_parts(splits, seed=config.seed, labelled=labelled)
    train, validation = splits.train, splits.validation
    if train is None or validation is None:  # learning_parts says so in more words
        raise DataError(f"{config.data}: wanted pictures to train on and to validate with")
    lineage: dict[str, object] = {"data": trained_on(splits, config.data, config.seed)}
    seed_torch("weights", config.seed)
    if config.model.source is not None:
        checkpoint = read_any(Path(config.model.source))
        known: tuple[str, ...] = ()
        if labelled:
            train, validation, known = _as_the_model_calls_them(train, validation, checkpoint.classes)
        parent, notes = _go_on(config, checkpoint, train if labelled else None)
        check_fits(config.task, parent.model.config)
        notes = (*known, *notes)
        lineage["from"] = {"source": config.model.source, "lineage": parent.lineage}
        model, preprocess = parent.model, parent.preprocess
    else:
        notes = ()
        model = catalog.build(config.model.configure(len(train.classes)))
        preprocess = _preprocess(config, model, train)
    return Setup(
        train,
        validation,
        model,
        preprocess,
        lineage,
        (splits.how, *notes),
        f"{train.fingerprint()}/{validation.fingerprint()}",
    )


def _as_the_model_calls_them(
    train: Collection, validation: Collection, classes: tuple[str, ...]
) -> tuple[Collection, Collection, tuple[str, ...]]:
    """Data with all the classes of the model, in another order or called by WordNet ids, in the model's
    order and words, so that its head can be kept; other data as it is."""
    if train.classes == classes or len(train.classes) != len(classes):
        return train, validation, ()
    try:
        renamed = match(train, classes), match(validation, classes)
    except DataError:
        return train, validation, ()
    note = renamed[0].note or "the data has the model's classes in another order"
    return renamed[0].collection, renamed[1].collection, (f"{note}; the head is kept",)


def _go_on(
    config: TrainConfig, checkpoint: Checkpoint, train: Collection | None
) -> tuple[Checkpoint, tuple[str, ...]]:
    size = config.model.image_size
    image_size = (size, size) if isinstance(size, int) else size
    return adapt(checkpoint, classes=None if train is None else train.classes, image_size=image_size)


def _preprocess(config: TrainConfig, model: Model, train: Collection) -> Preprocess:
    """The whole picture, squashed to the model's size: no border is cut off, an explanation covers all of
    it, and every library that reads the weights can do exactly the same. Standardised with the mean and
    deviation of the training part: a ViT learns little from pictures that are not."""
    height, width = model.config.image_size
    channels = model.config.channels
    neutral = ((0.5,) * channels, (0.5,) * channels)
    mean, std = (config.mean, config.std) if config.mean and config.std else neutral
    preprocess = Preprocess(
        size=(height, width),
        shorter=None,
        interpolation="bicubic",
        mean=mean,
        std=std,
    )
    if config.mean is not None:
        return preprocess
    mean, std = measure(train, preprocess, config.seed)
    return replace(preprocess, mean=mean, std=std)


def measure(
    collection: Collection, preprocess: Preprocess, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels in 0..1, over a seeded choice of pictures.

    Pictures that cannot be read are passed over here; training names them.
    """
    plain = replace(preprocess, mean=(0.0,) * preprocess.channels, std=(1.0,) * preprocess.channels)
    generator = torch.Generator().manual_seed(seed_of("measure", seed))
    chosen = torch.randperm(len(collection), generator=generator)[:MEASURED].tolist()
    pixels: list[Tensor] = []
    for index in sorted(chosen):
        try:
            pixels.append(plain(collection.open(index)).image.double().flatten(1))  # (C, h * w)
        except PictureError:
            continue
    if not pixels:
        raise DataError(f"{collection.name}: none of {len(chosen)} pictures can be read")
    flat = torch.cat(pixels, dim=1)
    mean = tuple(round(value, 4) for value in flat.mean(1).tolist())
    std = tuple(max(round(value, 4), 1e-3) for value in flat.std(1).tolist())
    return mean, std
