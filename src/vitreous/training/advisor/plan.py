"""Candidates for these pictures: the run that would be chosen for them, and its relatives.

Those from scratch share one backbone, one picture size and one kind of views, so that a comparison tells ways
of learning apart and nothing else. The convolutional network sees the same views, enlarged where they are
smaller than it was made for.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from vitreous.data.collection import Splits
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.config import ClassifierConfig
from vitreous.predictor import pick_device
from vitreous.tasks.config import ClassificationConfig, DistillationConfig, balance_of
from vitreous.training.advisor.candidates import Candidate, Stage
from vitreous.training.advisor.worker import in_its_process
from vitreous.training.choice import choose
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.facts import facts_of
from vitreous.training.forecast import forecast
from vitreous.training.recipes import digits, recipe
from vitreous.training.tuning_config import TuningConfig

CONTROL = "resnet_18"
SMALLEST = 32  # pixels: the least that the convolutional network looks at
# Options that say what a backbone is, and nothing of how it learns.
STRUCTURE = ("patch", "width", "mlp_width", "depth", "heads", "stem", "registers")
MASKED = {"vit_tiny": "mae_tiny", "vit_ti_16": "mae_b_16", "vit_s_16": "mae_b_16"}
DISTILLED = {"vit_tiny": "deit_tiny", "vit_ti_16": "deit_ti_16", "vit_s_16": "deit_s_16"}
TRIED = 20  # epochs for which a stage is forecast
FORWARD = 1 / 3  # of a training step: what a teacher's answer costs


class Expected(NamedTuple):
    """Bytes at the peak, seconds of an epoch."""

    peak_bytes: int
    epoch_seconds: float


def plan(data: str, splits: Splits, sources: Sequence[str] = (), *, seed: int = 0) -> list[Candidate]:
    """What is worth trying, the cheapest first.

    Raises:
        DataError: nothing can be learnt from this data.
        ConfigError: a source that was given twice.
    """
    if data == "digits":
        start = digits(data, "")
    else:
        start = choose(facts_of(splits, seed=seed, device=pick_device().type), data, "").config
    named = zip(_names(sources), sources, strict=True)
    candidates = [found for name, source in named for found in _with_weights(name, source, data, start)]
    return [*candidates, *_from_scratch(data, start)]


def forecast_stage(stage: Stage, splits: Splits, threads: int) -> Expected:
    """What a stage will take in the process of a candidate."""
    config = in_its_process(stage.plan, TRIED, threads, 0)
    if config.model.source is None:  # what is to be tuned is not there yet
        config = replace(config, tuning=TuningConfig())
    seconds = 0.0
    if isinstance(config.task, DistillationConfig):
        teacher = replace(config, model=_control(config))
        seconds = FORWARD * _expected(replace(teacher, task=ClassificationConfig()), splits).epoch_seconds
        config = replace(config, task=ClassificationConfig())
    found = _expected(config, splits)
    return Expected(found.peak_bytes, found.epoch_seconds + seconds)


def _expected(config: TrainConfig, splits: Splits) -> Expected:
    found = forecast(config, splits)
    return Expected(found.peak_bytes, found.epoch_seconds)


def _names(sources: Sequence[str]) -> list[str]:
    """A word for each source: the end of its path, and as much before it as tells it from the others."""
    paths = [[part for part in Path(source).parts if part.strip("/\\")] or [source] for source in sources]
    for count in range(1, max(map(len, paths), default=1) + 1):
        found = ["-".join(parts[-count:]) for parts in paths]
        if len(set(found)) == len(found):
            return found
    raise ConfigError(f"--from: {', '.join(sources)}: the same weights twice; give each once")


def _with_weights(name: str, source: str, data: str, start: TrainConfig) -> list[Candidate]:
    """The ladder of weights at hand."""
    weights = ModelChoice(source=source)
    balance = balance_of(start.task)

    def tuned(kind: str, title: str, after: str | None = None) -> Candidate:
        config = recipe(kind)(data, "")
        if isinstance(config.task, ClassificationConfig):
            config = replace(config, task=replace(config.task, balance=balance))
        if kind != "probe":  # which looks at pictures as they are
            config = replace(config, augment=replace(start.augment, mixup=0.0, cutmix=0.0))
        stage = Stage(plan=replace(config, model=weights), recipe=kind, solved=kind == "probe")
        return Candidate(
            key=f"{kind}-{name}",
            title=f"{title} {name}",
            ladder="weights",
            stages=(stage,),
            source=source,
            after=None if after is None else f"{after}-{name}",
        )

    return [
        Candidate(key=f"neighbours-{name}", title=f"k-NN on frozen {name}", ladder="weights", source=source),
        tuned("probe", "linear probe on"),
        tuned("lora", "LoRA on"),
        tuned("tune", "full tuning of", after="lora"),
    ]


def _from_scratch(data: str, start: TrainConfig) -> list[Candidate]:
    """Labels alone; pretraining on the same pictures; a teacher; and the convolutional network."""
    named = "digits" if data == "digits" else "scratch"
    control = Stage(plan=replace(start, model=_control(start)), recipe=named)
    name = start.model.name
    structure = {key: value for key, value in start.model.options.items() if key in STRUCTURE}
    labels = Candidate(
        key="labels", title=f"{name}, labels alone", ladder="scratch", stages=(Stage(plan=start),)
    )
    found = [labels]
    if name in MASKED:
        found.append(
            Candidate(
                key="mae",
                title=f"{name}, MAE on these pictures, then tuned",
                ladder="scratch",
                stages=_masked(data, start, structure),
                beside="labels",
            )
        )
    if name in DISTILLED:
        model = replace(start.model, name=DISTILLED[name])
        taught = replace(start, model=model, task=DistillationConfig(balance=balance_of(start.task)))
        found.append(
            Candidate(
                key="teacher",
                title=f"{DISTILLED[name]}, taught by {CONTROL}",
                ladder="scratch",
                stages=(
                    replace(control, share=0.5),
                    Stage(plan=taught, recipe="distil", share=0.5, takes="teacher"),
                ),
                beside="labels",
            )
        )
    title = f"{CONTROL}, labels alone"
    return [*found, Candidate(key="control", title=title, ladder="control", stages=(control,))]


def _masked(data: str, start: TrainConfig, structure: dict[str, Any]) -> tuple[Stage, Stage]:
    """A masked autoencoder on the backbone that labels alone have, then all of it tuned."""
    base = recipe("mae")(data, "")
    # Positions are learnt, as those of labels alone are.
    backbone: dict[str, Any] = {"positions": "learned", **structure}
    if start.model.name != "vit_tiny":  # MASKED names a larger one, whose sizes are said
        config = catalog.CATALOG[start.model.name]
        if isinstance(config, ClassifierConfig):
            encoder = config.vit.encoder
            sizes = {"width": encoder.width, "depth": config.vit.depth, "heads": config.vit.heads}
            backbone = {**sizes, **backbone}
    model = replace(
        start.model, name=MASKED[start.model.name], options={**backbone, "normalised_targets": True}
    )
    views = replace(start.augment, mixup=0.0, cutmix=0.0, erase=0.0, rand_augment=None)
    first = replace(base, model=model, augment=views, batch_size=start.batch_size, average=start.average)
    optimizer = OptimizerConfig(learning_rate=0.5 * start.optimizer.learning_rate, weight_decay=0.05)
    options = {**structure, "pool": "mean"}
    tuned = replace(
        recipe("tune")(data, ""),
        model=replace(start.model, options=options),
        augment=start.augment,
        task=start.task,
        optimizer=optimizer,
        epochs=start.epochs,
        batch_size=start.batch_size,
        average=start.average,
        patience=None,
    )
    return (
        Stage(plan=first, recipe="mae", share=0.5),
        Stage(plan=tuned, recipe="tune", share=0.5, takes="weights"),
    )


def _control(start: TrainConfig) -> ModelChoice:
    """The convolutional network at the size of the pictures."""
    size = start.model.image_size
    side = max(size) if isinstance(size, tuple) else size or 224
    return ModelChoice(name=CONTROL, image_size=max(SMALLEST, side))
