"""Everything that decides the outcome of a run, as plain values. No torch here: a wrong value is
answered at once. The configuration is saved beside the run and read back by ``--resume``."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import yaml

from vitreous.config import from_plain, to_plain
from vitreous.data.augment import AugmentConfig
from vitreous.errors import ConfigError, nearest
from vitreous.models import catalog
from vitreous.models.config import ConvNetConfig, ModelConfig, family_of
from vitreous.tasks.config import (
    ClassificationConfig,
    TaskConfig,
    check_fits,
    marks_places,
    needs_labels,
    sources_of,
    views_of,
)
from vitreous.training.tuning_config import TuningConfig

Precision = Literal["auto", "float32", "bfloat16"]
Track = Literal["auto", "tensorboard", "none"]
TAUGHT = {  # options of a family that say how it is taught, and so belong to the recipe
    "mae": ("normalised_targets",),
    "detr": ("references", "groups"),
}


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model: a catalog name with options, or a ``source`` whose weights are gone on with. Where places
    are learnt, boxes or a class for each pixel, both may be said: the name is then of the head that is put on
    the backbone of a source that has none."""

    name: str = "vit_ti_16"
    source: str | None = None
    image_size: int | tuple[int, int] | None = None  # pixels, (height, width); None: the native one
    channels: int = 3
    options: dict[str, Any] = field(default_factory=dict)

    def configure(self, classes: int) -> ModelConfig:
        """The configuration of a new model, for so many classes where it tells any apart."""
        return catalog.configure(
            self.name,
            classes=classes,
            image_size=self.image_size,
            channels=self.channels,
            options=self.options,
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW (arXiv:1711.05101): linear warm-up, then half a cosine. Norms, biases, positions and
    prefix tokens are never decayed."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.1  # share of all steps
    final: float = 0.01  # share of the learning rate that is left at the end
    clip: float = 1.0  # largest norm of the gradient

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < inf:
            raise ConfigError(f"optimizer.learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.weight_decay < inf:
            raise ConfigError(f"optimizer.weight_decay must be 0 or more, got {self.weight_decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimizer.betas are decays from 0 to below 1, got {self.betas}")
        if not 0 <= self.final <= 1:
            raise ConfigError(f"optimizer.final is a share from 0 to 1, got {self.final}")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"optimizer.warmup is a share from 0 to below 1, got {self.warmup}")
        if not self.clip > 0:
            raise ConfigError(f"optimizer.clip must be above 0, got {self.clip}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run. Two runs of the same configuration end with the same bits, on the CPU of the same machine
    with as many threads; on GPUs some kernels add up in another order each time."""

    data: str
    output: str
    model: ModelChoice = field(default_factory=ModelChoice)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    task: TaskConfig = field(default_factory=ClassificationConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    epochs: int = 100
    batch_size: int = 64  # pictures of a global batch, over all processes
    micro_batch: int | None = None  # most pictures that one process forwards at a time
    average: float = 0.999  # decay of the averaged (EMA) weights; 0: none
    patience: int | None = None  # evaluations without a better measure before the run stops
    evaluate_every: int = 1  # epochs
    seed: int = 0
    mean: tuple[float, ...] | None = None  # of pixels in 0..1; None: measured on the training part
    std: tuple[float, ...] | None = None
    workers: int = 2  # loading processes
    threads: int | None = None  # of one process on a CPU; None: torch decides, as many as there are cores
    device: str = "auto"
    precision: Precision = "auto"
    track: Track = "auto"  # auto: TensorBoard where it is installed
    save_seconds: float = 60.0  # at most so much work is lost when a machine fails

    def __post_init__(self) -> None:
        for name in ("workers", "save_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ConfigError(f"micro_batch must be 1 or more, got {self.micro_batch}")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise ConfigError(f"threads must be from 1 to 1024, got {self.threads}")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience must be 1 or more, got {self.patience}")
        if not 0 <= self.average < 1:
            raise ConfigError(f"average is a decay from 0 to below 1, got {self.average}")
        if self.augment.mixes and not needs_labels(self.task):
            raise ConfigError(
                f"augment.mixup and augment.cutmix mix labels, and {self.task.kind} has none; set them to 0"
            )
        if self.augment.mixes and views_of(self.task):
            raise ConfigError(
                "task.cached_views keeps what a teacher says of single pictures, and augment.mixup and"
                " augment.cutmix mix them; set both to 0, or cached_views"
            )
        for source in sources_of(self.task):
            if source and _overlap(Path(source), Path(self.output)):
                raise ConfigError(
                    f"{source} is to teach the run that is written to {self.output}; give another --output,"
                    " or other weights"
                )
        if (self.mean is None) != (self.std is None):
            raise ConfigError("mean and std go together: give both, or neither to have them measured")
        if self.augment.erase and marks_places(self.task):
            raise ConfigError(f"augment.erase blanks what {self.task.kind} learns to find; set it to 0")
        if self.model.source is None or marks_places(self.task):
            # An unknown name or option is answered here. Beside weights it says which head is put on them.
            check_fits(self.task, self.model.configure(classes=2))
            if self.model.source is not None and self.mean is not None:
                raise ConfigError("mean and std are for new models; the weights of --from bring their own")
        elif replace(self.model, source=None, image_size=None) != ModelChoice() or self.mean is not None:
            raise ConfigError(
                "model.name, model.channels, model.options, mean and std are for new models; the weights"
                " that a run goes on with (--from) bring their own"
            )


def with_settings(config: TrainConfig, settings: Iterable[str]) -> TrainConfig:
    """A configuration with ``a.b=c`` settings applied; values are read as YAML.

    Raises:
        ConfigError: no ``=``, an unknown key (with the nearest), or a value of another type.
    """
    values = to_plain(config)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set wants key=value, got {setting!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}: {text!r} is not a YAML value") from error
        place, keys = values, path.strip().split(".")
        free = False  # below these any key may stand: the family or the kind of task says which it knows
        for depth, key in enumerate(keys):
            if key not in place and not free:
                where = ".".join(keys[: depth + 1])
                raise ConfigError(f"--set: unknown key {where!r}{nearest(key, place)}")
            free = free or keys[: depth + 1] in (["model", "options"], ["task"])
            if depth < len(keys) - 1:
                if not isinstance(place.get(key), dict):
                    raise ConfigError(f"--set: {'.'.join(keys[: depth + 1])!r} has no keys below it")
                place = place[key]
        # YAML 1.1 reads 1e-3, without a point, as text.
        place[keys[-1]] = _number(value) if isinstance(value, str) else value
    return from_plain(TrainConfig, values)


def with_model(config: TrainConfig, name: str) -> TrainConfig:
    """The configuration for another catalog name, at its native size and with its own options: those of
    the recipe's model were meant for that one, but for those that say what is learnt."""
    if name == config.model.name:
        return config
    known = catalog.CATALOG.get(name)
    channels = 3 if isinstance(known, ConvNetConfig) else config.model.channels  # which takes nothing else
    taught = () if known is None else TAUGHT.get(family_of(known), ())
    options = {key: value for key, value in config.model.options.items() if key in taught}
    return replace(config, model=ModelChoice(name=name, channels=channels, options=options))


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.absolute(), other.absolute()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
