"""The task that a configuration asks for, ready to teach a model."""

from vitreous.data.collection import Collection
from vitreous.data.confusion import pixels_of
from vitreous.errors import ConfigError
from vitreous.tasks.classification import Classification
from vitreous.tasks.config import (
    ClassificationConfig,
    DetectionConfig,
    DistillationConfig,
    MaskedAutoencodingConfig,
    MaskedPixelsConfig,
    SegmentationConfig,
    TokenizerConfig,
    VisualTokensConfig,
)
from vitreous.tasks.detection import Detection
from vitreous.tasks.distillation import Distillation
from vitreous.tasks.masked_autoencoding import MaskedAutoencoding
from vitreous.tasks.masked_pixels import MaskedPixels
from vitreous.tasks.segmentation import Segmentation
from vitreous.tasks.tagging import Tagging
from vitreous.tasks.task import Progress, Task
from vitreous.tasks.tokenizing import Tokenizing
from vitreous.tasks.visual_tokens import VisualTokens
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.lessons import Remembered
from vitreous.training.setup import Setup

COUNTED = 500  # pictures whose objects are counted


def build_task(config: TrainConfig, setup: Setup, world: World, progress: Progress | None = None) -> Task:
    """What is learnt in this run, with all that it needs beside the model on the run's device. ``progress``
    is how far the run is, for a task that changes on the way.

    Raises:
        ConfigError, CheckpointError, DataError: what it needs is not there, or does not fit; before any long
            work.
    """
    task = config.task
    if isinstance(task, ClassificationConfig):
        return _tagging(task, setup) if setup.train.tagged else _classification(task, setup)
    if isinstance(task, DistillationConfig) and setup.teacher is not None:
        teacher = setup.teacher.ready(
            setup.preprocess, world.device, config.precision, features=task.features > 0
        )
        labels = _classification(task, setup)
        return Distillation(task, labels, Remembered(teacher) if task.cached_views else teacher)
    if isinstance(task, MaskedAutoencodingConfig):
        return MaskedAutoencoding(setup.model.config)
    if isinstance(task, MaskedPixelsConfig):
        return MaskedPixels(task, setup.model.config)
    if isinstance(task, VisualTokensConfig) and setup.tokenizer is not None:
        answers = setup.tokenizer.answers(setup.preprocess, setup.model.config, world.device)
        return VisualTokens(task, setup.model.config, answers)
    if isinstance(task, TokenizerConfig):
        model = setup.model.config
        return Tokenizing(task, model, setup.preprocess, seed=config.seed, progress=progress)
    if isinstance(task, DetectionConfig):
        return Detection(task, objects=_objects(setup.train))
    if isinstance(task, SegmentationConfig):
        return Segmentation(task, counts=_pixels(setup.train) if task.balance == "loss" else ())
    raise ConfigError(f"{task.kind} is not taught here yet")


def _tagging(task: ClassificationConfig, setup: Setup) -> Tagging:
    counts = tuple(setup.train.counts().values()) if task.balance == "loss" else ()
    return Tagging(task.smoothing, counts=counts, pictures=len(setup.train))


def _classification(task: ClassificationConfig | DistillationConfig, setup: Setup) -> Classification:
    counts = tuple(setup.train.counts().values())
    return Classification(task.smoothing, balance=task.balance, counts=counts)


def _pixels(train: Collection) -> tuple[int, ...]:
    """How many pixels of the training regions each class has; every region is read."""
    found = [0] * len(train.classes)
    for sample in train.samples:
        region = sample.held_region()
        if region is not None:
            found = [*map(sum, zip(found, pixels_of(region, len(found)).tolist(), strict=True))]
    return tuple(found)


def _objects(train: Collection) -> float:
    """How many objects a training picture has, in the mean of some that are spread over all."""
    step = max(1, len(train) // COUNTED)
    found = [sample.held_objects() for sample in train.samples[::step]]
    counts = [0 if objects is None else int((~objects.crowd).sum()) for objects in found]
    return sum(counts) / max(1, len(counts))
