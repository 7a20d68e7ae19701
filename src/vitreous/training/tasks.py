"""The task that a configuration asks for, ready to teach a model."""

from vitreous.errors import ConfigError
from vitreous.tasks.classification import Classification
from vitreous.tasks.config import ClassificationConfig, MaskedAutoencodingConfig
from vitreous.tasks.masked_autoencoding import MaskedAutoencoding
from vitreous.tasks.task import Task
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.setup import Setup


def build_task(config: TrainConfig, setup: Setup, world: World) -> Task:
    """What is learnt in this run, with all that it needs beside the model on the run's device.

    Raises:
        ConfigError, CheckpointError, DataError: what it needs is not there, or does not fit; before any long
            work.
    """
    task = config.task
    if isinstance(task, ClassificationConfig):
        return Classification(task.smoothing)
    if isinstance(task, MaskedAutoencodingConfig):
        return MaskedAutoencoding(setup.model.config)
    raise ConfigError(f"{task.kind} is not taught here yet")
