"""A run without steps: features of frozen weights, and a head that is solved for.

It leaves what every run leaves: its configuration, a row of measures, and ``best``, a model directory whose
head is the probe, so that its logits are the probe's. Ctrl-C keeps the features that were computed; what is
computed again ends with the same bits.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitreous.checkpoints import file
from vitreous.checkpoints.file import Checkpoint
from vitreous.config import to_plain
from vitreous.data.collection import Splits
from vitreous.data.loader import Labelled
from vitreous.errors import ConfigError, DataError, Interrupted, TrainingError
from vitreous.evaluation.classification import fit_temperature
from vitreous.evaluation.features import extract_once
from vitreous.evaluation.probe import LinearProbe, fit_probe
from vitreous.models.classifier import Logits, build_head
from vitreous.models.config import ClassifierConfig
from vitreous.models.layering import heads_of
from vitreous.models.model import Model
from vitreous.predictor import pick_device
from vitreous.tasks.config import ClassificationConfig
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.fit import Moment, Run, Watcher, refuse_troubles
from vitreous.training.memory import is_out_of_memory
from vitreous.training.output import RunFiles, flat
from vitreous.training.recipes import probe as recipe
from vitreous.training.setup import Setup, set_up
from vitreous.training.signals import Signals
from vitreous.training.tasks import build_task

# What only a run of many steps has a use for; below "augment." and "optimizer." all.
STEPPED = ("augment", "optimizer", "average", "patience", "precision")


def solve(
    config: TrainConfig,
    *,
    resume: bool = False,
    splits: Splits | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Fit a linear probe as the configuration says, and leave the run in ``config.output``; what ``fit`` does
    for ``tuning.train=probe``.

    Raises:
        InputError: data, model or output directory cannot be used; said before any picture is looked at.
        Interrupted: a signal came; the features that were computed are kept.
        TrainingError: more than 1% bad pictures.
    """
    begun = perf_counter()
    _check(config)
    world = World(0, 1, pick_device(config.device))
    files = RunFiles(Path(config.output), config, world)
    files.check(resume)
    say = watch or (lambda moment: None)
    if resume and (done := _finished(files.path)) is not None:
        say(Moment("note", 1, 1, None, {"text": f"the probe in {files.path} is finished"}))
        return Run(files.path, done, steps=1, epochs=1, seconds=0.0)
    setup = set_up(config, splits)
    files.claim()
    for text in (*setup.notes, *_unused(config)):
        say(Moment("note", 0, 1, None, {"text": text}))
    model = _with_linear_head(setup.model).to(world.device)
    seen = _Seen(config, setup, model, say)
    found = seen.fitted()
    for text in (seen.note, _solved(found, seen), *found.notes):
        if text:
            say(Moment("note", 0, 1, None, {"text": text}))
    _fill(model, found)
    measures, temperature = _judged(config, setup, world, seen, found)
    row: dict[str, Any] = {"epoch": 1, "step": 1, "loss": found.loss, "learning_rate": None}
    row |= {"skipped_steps": 0, **measures}
    files.open_metrics(0)
    files.log(row, None)
    lineage = {**setup.lineage, "training": _told(config, found, seen, measures)}
    checkpoint = Checkpoint(model.cpu().eval(), setup.preprocess, setup.train.classes, temperature, lineage)
    file.save(files.path / "best", checkpoint)
    say(Moment("measured", 1, 1, None, row))
    return Run(files.path, measures, steps=1, epochs=1, seconds=perf_counter() - begun)


class _Seen:
    """The features and labels of the pictures that can be read, train before validation."""

    def __init__(self, config: TrainConfig, setup: Setup, model: Model, say: Watcher) -> None:
        self.config, self.setup = config, setup
        samples = (*setup.train.samples, *setup.validation.samples)
        with Signals() as signals:

            def progress(done: int, total: int) -> None:
                say(Moment("step", done, total, None, {}))
                if signals.received:
                    raise Interrupted(
                        f"stopped after {done} of {total} pictures, their features are kept; go on with:"
                        f" vitreous train --resume --output {quote(config.output)}",
                        exit_code=signals.received,
                    )

            size = config.micro_batch or config.batch_size
            try:
                found = extract_once(
                    model,
                    setup.preprocess,
                    samples,
                    device=next(model.parameters()).device,
                    batch_size=size,
                    progress=progress,
                )
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise TrainingError(
                    f"memory ran out with {size} pictures at a time; wanted fewer, such as --set"
                    f" micro_batch={max(1, size // 4)}, or a machine with more"
                ) from error
        self.note = found.note
        self.troubles = {error.name: error.reason for error in found.unreadable}
        for name, reason in self.troubles.items():
            say(Moment("troubled", 0, 1, None, {"name": name, "reason": reason}))
        refuse_troubles(self.troubles, len(samples))
        self.features = found.features  # (n, D)
        self.labels = np.asarray([samples[place].number for place in found.kept], dtype=np.int64)
        self.learnt = int((found.kept < len(setup.train)).sum())  # the rest is the validation part
        if self.learnt == len(self.labels):
            name, count = setup.validation.name, len(setup.validation)
            raise DataError(f"{name}: none of the {count} validation pictures can be read")

    def fitted(self) -> LinearProbe:
        """The probe of the training part."""
        task = self.config.task
        return fit_probe(
            self.features[: self.learnt],
            self.labels[: self.learnt],
            self.setup.train.classes,
            balanced=isinstance(task, ClassificationConfig) and task.balance == "loss",
            seed=self.config.seed,
        )


class _Head(nn.Module):
    """The probe as a model whose pictures are features."""

    def __init__(self, found: LinearProbe) -> None:
        super().__init__()
        self.weight, self.bias = torch.from_numpy(found.weight), torch.from_numpy(found.bias)

    def forward(self, features: Tensor) -> Logits:
        """(B, D) -> logits (B, K)."""
        return Logits(features @ self.weight.T + self.bias)


def _judged(
    config: TrainConfig, setup: Setup, world: World, seen: _Seen, found: LinearProbe
) -> tuple[dict[str, float], float]:
    """The measures of the validation part as any run has them, and the temperature that calibrates."""
    task = build_task(config, setup, world)
    features = torch.from_numpy(seen.features[seen.learnt :].astype(np.float64))
    labels = torch.from_numpy(seen.labels[seen.learnt :])
    batch = Labelled(features, labels, torch.arange(len(labels)))
    head = _Head(found)
    measures = task.measures(task.tally(head, batch))
    return measures, fit_temperature(head(features).logits.numpy(), seen.labels[seen.learnt :])


def _with_linear_head(model: Model) -> Model:
    """The model, whose head, where it was kept and has a hidden layer, gives way to a linear one."""
    config = model.config
    if isinstance(config, ClassifierConfig) and config.head != "linear":
        model.head = build_head("linear", config.pooled, config.classes)
        model.config = replace(config, head="linear")
    return model


@torch.no_grad()
def _fill(model: Model, found: LinearProbe) -> None:
    """Make the probe the model's head. Where there are two, whose mean is the answer, both are the probe: the
    mean of what they say of two tokens is what it says of the tokens' mean."""
    for name in heads_of(model.config):
        head = model.get_submodule(name)
        for key, value in (("weight", found.weight), ("bias", found.bias)):
            head.get_parameter(key).copy_(torch.from_numpy(value))


def _check(config: TrainConfig) -> None:
    """ConfigError for what a probe cannot do."""
    if not isinstance(config.task, ClassificationConfig):
        raise ConfigError(f"a probe learns from labels alone, got {config.task.kind}; take another recipe")
    if config.task.balance == "sampling":
        raise ConfigError("a probe draws no batches; task.balance=loss has the same effect there")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a probe is fitted by one process; start it without torchrun")


def _unused(config: TrainConfig) -> tuple[str, ...]:
    """A sentence on settings that were given and make no difference."""
    plain, usual = flat(to_plain(config)), flat(to_plain(recipe(config.data, config.output)))
    given = [
        key
        for key, value in plain.items()
        if (key.split(".")[0] in STEPPED or key == "task.smoothing") and value != usual.get(key)
    ]
    return (f"a probe is solved, not stepped: {', '.join(given)} made no difference",) if given else ()


def _solved(found: LinearProbe, seen: _Seen) -> str:
    """A sentence on how the probe came about."""
    count, width = seen.learnt, seen.features.shape[1]
    text = f"a linear probe on {count} pictures, {width} numbers each: penalty {found.penalty:g}"
    if not found.folds:
        return text
    best = max(one.accuracy for one in found.tried)
    return f"{text}, chosen by {found.folds}-fold cross-validation on them ({best:.2%} there)"


def _finished(run: Path) -> dict[str, float] | None:
    """The measures of a run that is done; None for one that is not."""
    if not file.is_ours(run / "best"):
        return None
    training = file.read(run / "best").lineage.get("training", {})
    measures = training.get("validation") if isinstance(training, dict) else None
    return measures if isinstance(measures, dict) else {}


def _told(
    config: TrainConfig, found: LinearProbe, seen: _Seen, measures: Mapping[str, float]
) -> dict[str, Any]:
    """What the lineage keeps of a probe."""
    return {
        "task": config.task.kind,
        "tuned": config.tuning.train,
        "step": 1,
        "seed": config.seed,
        "validation": dict(measures),
        "unusable_pictures": seen.troubles,
        "torch": torch.__version__,
        "probe": {
            "penalty": found.penalty,
            "folds": found.folds,
            "tried": [one._asdict() for one in found.tried],
            "pictures": seen.learnt,
            "width": seen.features.shape[1],
        },
    }
