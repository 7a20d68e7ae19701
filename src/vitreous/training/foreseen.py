"""A rehearsal of a run on less deep versions of its model: what each costs, and what the whole one will.

Everything that is done is the run's own: its task on its own pictures, loaded as it loads them.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import inf
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch

from vitreous.data.collection import Splits
from vitreous.data.dense_view import training_view
from vitreous.data.loader import Labelled, Order, batches, training_parts
from vitreous.errors import ConfigError, DataError
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.config import DVAEConfig, ModelConfig
from vitreous.models.model import Model
from vitreous.tasks.config import views_of
from vitreous.tasks.distillation import Distillation, Lesson
from vitreous.tasks.task import Task
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World, parts_of
from vitreous.training.ledger import most_at
from vitreous.training.lessons import Remembered
from vitreous.training.memory import release, resident
from vitreous.training.precision import moved
from vitreous.training.rehearsal import Rehearsal, tiled
from vitreous.training.rungs import depths_of, least_options, rungs, with_depths
from vitreous.training.setup import Setup, set_up
from vitreous.training.state import Counters
from vitreous.training.tasks import build_task
from vitreous.training.tuning import prepare
from vitreous.training.tuning_config import LoraConfig, TuningConfig

COUNTED = (2, 3)  # pictures of the two batches on which memory is counted; one alone is a special case
DECODED = 8  # pictures that are loaded at a time while that is timed
LOADING = 0.4  # seconds after which it has been timed for long enough
SMALL = 2  # pictures on which a step is timed first
ROUNDS = 4  # how often it is timed then, on as many as there is time for
SLACK = 1.1  # times, by which a deep model may be slower than what it multiplies says
BUDGET = 2.5  # seconds for that, where so few pictures do not take longer


class Costs(NamedTuple):
    """Of one version of the model: bytes, and seconds of each of the three kinds of work."""

    weights: float
    gradients: float
    activations: float
    evaluation: float
    gradient: float  # of one picture
    update: float
    judging: float  # of one picture


class Foreseen:
    """All that is found out on the way to a forecast."""

    def __init__(self, config: TrainConfig, splits: Splits, device: torch.device) -> None:
        self.config, self.device = config, device
        world = World(0, 1, device)
        self.setup, self.whole_model = _shallow(config, splits)
        pictures = len(self.setup.train)
        batch = min(config.batch_size, pictures)
        self.order = Order(pictures=pictures, batch=batch, seed=config.seed, views=views_of(config.task))
        self.parts = parts_of(self.order.batch, config.micro_batch, world)
        self.micro_batch = self.parts[0][1] - self.parts[0][0]
        probed = config.tuning.train == "probe"
        most = self.micro_batch if probed else Counters().judged_at_once
        self.judged_at_once = min(most, len(self.setup.validation))
        task = build_task(config, self.setup, world)
        self.loading, self.training_batch = _timed(self._load(task))
        self.reading, self.held_out_batch = _timed(self._read(task))
        self.asking = self._learn_by_heart(task)
        self.rungs = rungs(self.whole_model)
        self.rehearsals = [Rehearsal(config, self._model(rung.config), task, device) for rung in self.rungs]
        self.counted = [self._count(rehearsal) for rehearsal in self.rehearsals]

    def whole(self) -> Costs:
        """Those of the real model."""
        costs = [Costs(*memory, *times) for memory, times in zip(self.counted, self._time(), strict=True)]
        sums = (
            max(0.0, sum(rung.share * value for rung, value in zip(self.rungs, values, strict=True)))
            for values in zip(*costs, strict=True)
        )
        found = Costs(*sums)
        return found._replace(
            # Without gradients a block lets go of what it held: the deepest holds what the whole does.
            evaluation=max(cost.evaluation for cost in costs),
            gradient=min(found.gradient, self._most([cost.gradient for cost in costs])),
            judging=min(found.judging, self._most([cost.judging for cost in costs])),
        )

    def _most(self, seconds: list[float]) -> float:
        """The most that the whole may take, where the versions take so many seconds: as many times more as it
        multiplies. A disturbance of one version counts several times in a sum of shares, and once here."""
        if len(self.rungs) == 1:
            return inf
        macs = account(self.whole_model).macs
        ratios = [macs / account(rung.config).macs for rung in self.rungs]
        return SLACK * min(time * ratio for time, ratio in zip(seconds, ratios, strict=True))

    @property
    def picture_bytes(self) -> int:
        """Of a view of one picture."""
        return self.training_batch.images[0].nbytes

    def _load(self, task: Task) -> Iterator[Labelled]:
        """Pictures as a run trains on them, on and on."""
        count = min(DECODED, len(self.setup.train))
        parts = training_parts(
            self.setup.train,
            training_view(self.config.augment, self.setup.preprocess, self.setup.train),
            self.config.augment,
            replace(self.order, batch=count),
            steps=range(sys.maxsize),
            parts=[(0, count)],
            masks=task.masks,
        )
        return (part.batch for part in parts)

    def _read(self, task: Task) -> Iterator[Labelled]:
        """Pictures as a run judges by them, on and on."""
        validation, prepare = self.setup.validation, self.setup.preprocess
        while True:
            found = 0
            for batch in batches(validation, prepare, batch_size=DECODED, masks=task.masks, tolerant=True):
                found += len(batch.images)
                yield batch
            if not found:
                raise DataError(
                    f"{validation.name}: none of the {len(validation)} validation pictures can be read"
                )

    def _learn_by_heart(self, task: Task) -> float:
        """Where lessons are, give a teacher some to remember; the seconds that the real ones will take."""
        if not isinstance(task, Distillation) or not isinstance(task.teacher, Remembered):
            return 0.0
        batch = moved(self.training_batch, self.device)
        begun = perf_counter()
        lesson = task.teacher.teacher(batch)
        seconds = (perf_counter() - begun) / len(batch.images) + self.loading
        views = self.order.views_in(self.config.epochs) * self.order.pictures
        task.teacher.lessons = Lesson(
            lesson.logits[:1].expand(views, -1),
            None if lesson.features is None else lesson.features[:1].expand(views, -1),
        )
        return views * seconds

    def _model(self, config: ModelConfig) -> Model:
        if not depths_of(config):
            return self.setup.model
        model = catalog.build(config)
        if self.config.model.source is not None:
            _prepare(model, self.config.tuning, self.config.seed)
        return model

    def _count(self, rehearsal: Rehearsal) -> tuple[float, float, float, float]:
        steps, judgings = [], []
        for size in COUNTED:
            steps.append(rehearsal.counted(rehearsal.gradient, tiled(self.training_batch, size)))
            rehearsal.update()
            judgings.append(rehearsal.counted(rehearsal.judge, tiled(self.held_out_batch, size)))
        return (
            rehearsal.weight_bytes,
            rehearsal.gradient_bytes,
            most_at(self.micro_batch, steps[0], steps[1], sizes=COUNTED),
            most_at(self.judged_at_once, judgings[0], judgings[1], sizes=COUNTED),
        )

    def base(self) -> int:
        """What the process holds beside the models that are rehearsed."""
        if self.device.type != "cpu":
            return 0  # the peak is that of the device's memory
        release(self.device)
        held = 0
        for rehearsal in self.rehearsals:
            copies = 1 + (rehearsal.average is not None)
            held += copies * rehearsal.weight_bytes + 2 * rehearsal.gradient_bytes
        return max(0, (resident() or 0) - held)

    def _time(self) -> list[tuple[float, float, float]]:
        """Seconds of a picture's gradient, of an update and of a picture's judging, for each version: the
        shortest of a few, since other work on the machine only ever adds. They take turns, so that a change
        of its speed meets all alike."""
        small = min(SMALL, self.micro_batch)
        batch = tiled(self.training_batch, small)
        first = sum(rehearsal.seconds(partial(rehearsal.gradient, batch)) for rehearsal in self.rehearsals)
        affordable = int(BUDGET * small / (ROUNDS * max(first, 1e-6)))
        size = max(small, min(self.micro_batch, affordable))
        # The first round warms up. Where the smallest batch is dear, it has been done already.
        rounds = range(ROUNDS + 1) if affordable >= small else range(1, ROUNDS)
        batch = tiled(self.training_batch, size)
        held_out = tiled(self.held_out_batch, min(size, self.judged_at_once))
        found: list[list[tuple[float, float, float]]] = [[] for _ in self.rehearsals]
        for number in rounds:
            for rehearsal, times in zip(self.rehearsals, found, strict=True):
                gradient = rehearsal.seconds(partial(rehearsal.gradient, batch)) / size
                update = rehearsal.seconds(rehearsal.update)
                judging = rehearsal.seconds(partial(rehearsal.judge, held_out)) / len(held_out.images)
                if number:
                    times.append((gradient, update, judging))
        return [(min(a), min(b), min(c)) for a, b, c in (zip(*times, strict=True) for times in found)]


def _shallow(config: TrainConfig, splits: Splits) -> tuple[Setup, ModelConfig]:
    """What the run starts from, with a model that is cheap to build, and what the real one is."""
    if config.model.source is not None:
        setup = set_up(config, splits)
        return setup, setup.model.config
    whole = config.model.configure(classes=2)
    choice = replace(config.model, options={**config.model.options, **least_options(whole)})
    neutral = (0.5,) * whole.channels
    cheap = replace(config, model=choice)
    if not isinstance(whole, DVAEConfig):  # which says itself how pixels are normalised
        cheap = replace(cheap, mean=config.mean or neutral, std=config.std or neutral)
    setup = set_up(cheap, splits)
    return setup, with_depths(setup.model.config, depths_of(whole))


def _prepare(model: Model, config: TuningConfig, seed: int) -> None:
    try:
        prepare(model, config, seed)
    except ConfigError:
        # The patterns mean blocks that this less deep version does not have.
        prepare(model, TuningConfig(train=config.train, lora=LoraConfig(rank=config.lora.rank)), seed)


def _timed(stream: Iterator[Labelled]) -> tuple[float, Labelled]:
    """Seconds that a picture takes, and the first batch, which warms up."""
    first = next(stream)
    seconds: list[float] = []
    begun = last = perf_counter()
    for batch in stream:
        now = perf_counter()
        seconds.append((now - last) / len(batch.images))
        if now - begun > LOADING:
            break
        last = now
    return median(seconds), first
