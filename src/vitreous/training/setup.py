"""From a configuration to what the loop needs: data, model, preprocessing, and what was decided."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.adapter import fingerprint as fingerprint_of
from vitreous.checkpoints.file import Answers, Checkpoint
from vitreous.checkpoints.source import read_any
from vitreous.checkpoints.transplant import transplant
from vitreous.data.collection import Collection, Splits
from vitreous.data.draws import seed_of, seed_torch
from vitreous.data.folder import read_data
from vitreous.data.layouts import wanted_of
from vitreous.data.parts import learning_parts
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError, PictureError
from vitreous.evaluation.evaluate import trained_on
from vitreous.evaluation.matching import match
from vitreous.models import catalog
from vitreous.models.config import DVAEConfig, family_of
from vitreous.models.model import Model
from vitreous.tasks.config import (
    TAUGHT,
    check_complete,
    check_fits,
    marks_places,
    needs_labels,
    truth_of,
)
from vitreous.tasks.tokenizing import check_open
from vitreous.training.config import TrainConfig
from vitreous.training.several import NOTE, check_several
from vitreous.training.teacher import FrozenTeacher, read_teacher
from vitreous.training.tuning import prepare
from vitreous.training.tuning_config import check_tunable
from vitreous.training.visual_tokens import FrozenTokenizer, read_tokenizer

MEASURED = 512  # pictures from which mean and standard deviation are taken


class Setup(NamedTuple):
    """What a run starts from. ``notes`` are sentences that a person should hear; ``fingerprint`` names the
    training and validation pictures and their labels, and what else must not change; ``tokenizer`` is there
    where visual tokens are learnt, ``teacher`` where a model is distilled."""

    train: Collection
    validation: Collection
    model: Model
    preprocess: Preprocess
    lineage: dict[str, object]
    notes: tuple[str, ...]
    fingerprint: str
    tokenizer: FrozenTokenizer | None = None
    teacher: FrozenTeacher | None = None

    @property
    def answers(self) -> Answers:
        """How many classes a picture shows, where the model tells any."""
        return "several" if self.train.tagged and self.model.config.classes else "one"


def set_up(config: TrainConfig, splits: Splits | None = None) -> Setup:
    """Read the data, unless it is given as ``splits``, and build the model or go on with one.

    Raises:
        DataError, ConfigError, CheckpointError: before any long work, in one line.
    """
    check_complete(config.task)
    labelled = needs_labels(config.task)
    goes_on = config.model.source is not None
    check_tunable(config.tuning, config.epochs, goes_on=goes_on, truth=truth_of(config.task))
    if splits is None:
        splits = read_data(config.data, seed=config.seed, wanted=wanted_of(config.task.kind))
    splits = learning_parts(splits, seed=config.seed, labelled=labelled, wanted=wanted_of(config.task.kind))
    train, validation = splits.train, splits.validation
    check_several(config, train)
    if train is None or validation is None:  # learning_parts says so in more words
        raise DataError(f"{config.data}: wanted pictures to train on and to validate with")
    lineage: dict[str, object] = {"data": trained_on(splits, config.data, config.seed)}
    tokenizer = read_tokenizer(config.task)
    needed: tuple[str, ...] = ()  # fingerprints of weights that must not change while the run is interrupted
    preprocess: Preprocess | None = None
    seed_torch("weights", config.seed)
    if config.model.source is not None:
        checkpoint = read_any(Path(config.model.source))
        known: tuple[str, ...] = ()
        if labelled:
            train, validation, known = _as_the_model_calls_them(train, validation, checkpoint.classes)
        parent, notes = _go_on(config, checkpoint, None if truth_of(config.task) == "nothing" else train)
        check_fits(config.task, parent.model.config)
        if tokenizer is not None:
            tokenizer.check_taught(config.model.source, parent.model.config)
        notes = (*known, *notes)
        begun: dict[str, object] = {"source": config.model.source, "lineage": parent.lineage}
        lineage["from"] = begun
        if config.tuning.train != "all":  # adapters are saved without the weights that they belong to
            begun["sha256"] = base = fingerprint_of(checkpoint.model.state_dict())
            needed = (base,)
        model, preprocess = parent.model, parent.preprocess
        prepare(model, config.tuning, config.seed)
    else:
        notes = ()
        wanted = config.model.configure(len(train.classes))
        model = catalog.build(wanted if tokenizer is None else tokenizer.model_for(config.model, wanted))
    teacher = read_teacher(config.task, train.classes)
    if preprocess is None:
        preprocess = _preprocess(config, model, train)
    if teacher is not None:
        notes = (*notes, teacher.note())
        lineage["teacher"] = teacher.lineage()
        needed = (*needed, teacher.fingerprint())
    if tokenizer is not None:
        notes = (*notes, tokenizer.tried(train, preprocess, model.config))
        lineage["tokenizer"] = tokenizer.lineage()
        needed = (*needed, tokenizer.fingerprint())
    return Setup(
        train,
        validation,
        model,
        preprocess,
        lineage,
        (splits.how, *((NOTE,) if labelled and train.tagged else ()), *notes),
        "/".join((train.fingerprint(), validation.fingerprint(), *needed)),
        tokenizer,
        teacher,
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
    family = family_of(checkpoint.model.config)
    if train is not None and marks_places(config.task) and family not in TAUGHT[config.task.kind]:
        return transplant(checkpoint, config.model.configure(len(train.classes)), train.classes)
    parent, notes = adapt(checkpoint, classes=None if train is None else train.classes, image_size=image_size)
    if marks_places(config.task):
        said = f"the weights go on as the {family} that they are; a model's name and options beside them"
        notes = (*notes, f"{said} are for heads put on other backbones")
    return parent, notes


def _preprocess(config: TrainConfig, model: Model, train: Collection) -> Preprocess:
    """The whole picture, squashed to the model's size: no border is cut off, an explanation covers all of
    it, and every library that reads the weights can do exactly the same. Standardised with the mean and
    deviation of the training part: a ViT learns little from pictures that are not. Otherwise where the model
    says so itself."""
    height, width = model.config.image_size
    channels = model.config.channels
    fixed = model.config.normalised if isinstance(model.config, DVAEConfig) else None
    usual = fixed or (0.5, 0.5)
    neutral = ((usual[0],) * channels, (usual[1],) * channels)
    mean, std = (config.mean, config.std) if config.mean and config.std else neutral
    if not len(mean) == len(std) == channels:
        raise ConfigError(
            f"mean and std want a value for each channel, {channels} of them; got {len(mean)} and {len(std)}"
        )
    preprocess = Preprocess(
        size=(height, width),
        shorter=None,
        interpolation="bicubic",
        mean=mean,
        std=std,
    )
    if fixed is not None:
        check_open(preprocess)
    if config.mean is not None or fixed is not None:
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
    # Sums, picture by picture: all of their pixels together take more memory than many a run.
    count = 0
    total, squares = torch.zeros(2, plain.channels, dtype=torch.float64)
    for index in sorted(chosen):
        try:
            pixels = plain(collection.open(index)).image.double().flatten(1)  # (C, h * w)
        except PictureError:
            continue
        count += pixels.shape[1]
        total += pixels.sum(1)
        squares += pixels.square().sum(1)
    if not count:
        raise DataError(f"{collection.name}: none of {len(chosen)} pictures can be read")
    mean = total / count
    variance = (squares - count * mean.square()) / max(1, count - 1)
    deviation = variance.clamp(min=0).sqrt()
    return (
        tuple(round(value, 4) for value in mean.tolist()),
        tuple(max(round(value, 4), 1e-3) for value in deviation.tolist()),
    )
