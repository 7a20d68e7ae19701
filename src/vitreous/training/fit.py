"""The only training loop. What is learnt comes from the task, what is seen from the loader."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from copy import deepcopy
from functools import partial
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vitreous.checkpoints.adapter import save_adapter
from vitreous.checkpoints.file import Checkpoint, save
from vitreous.data.collection import Splits
from vitreous.data.loader import Order, Trouble
from vitreous.errors import Interrupted, TrainingError
from vitreous.layers.lora import merge
from vitreous.models.model import Model
from vitreous.predictor import pick_device
from vitreous.tasks.config import balance_of, views_of
from vitreous.tasks.task import Progress, Task
from vitreous.training import distributed
from vitreous.training.clock import Clock
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.gradients import Gradients
from vitreous.training.held_out import HeldOut
from vitreous.training.lessons import learn_by_heart
from vitreous.training.memory import told_plainly
from vitreous.training.monitor import Monitor
from vitreous.training.optimizer import Average, build_optimizer, learning_rate, set_rate
from vitreous.training.output import RunFiles
from vitreous.training.setup import Setup, set_up
from vitreous.training.signals import Signals
from vitreous.training.state import Counters, Learner, load_state, save_state
from vitreous.training.tasks import build_task
from vitreous.training.tuning import Tuning

SKIPPED_IN_ROW = 10
TROUBLED_SHARE = 0.01


class Moment(NamedTuple):
    """What a watcher hears: ``kind`` is note, step, measured or troubled."""

    kind: str
    step: int
    steps: int
    seconds_left: float | None
    values: dict[str, Any]


Watcher = Callable[[Moment], None]


class Run(NamedTuple):
    """A finished run: its directory, and the measures of its best weights on the validation part."""

    path: Path
    measures: dict[str, float]
    steps: int
    epochs: int
    seconds: float


@told_plainly()
def fit(
    config: TrainConfig,
    *,
    resume: bool = False,
    model: nn.Module | None = None,
    splits: Splits | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Train as the configuration says, and leave the run in ``config.output``.

    ``splits`` takes the place of what ``config.data`` names: the folds of a comparison, for one.
    ``model`` takes the place of the configured one: a rival, trained by the same loop on the same
    views. It must return logits as a classifier does; it is left with its best weights, and only
    its measures are written. ``resume`` goes on with an interrupted run, to
    the same bits as if it had never stopped. Under torchrun every process calls this alike.

    Raises:
        InputError: data, model or output directory cannot be used; said before any long work.
        Interrupted: a signal came; the state is saved.
        TrainingError: ten steps in a row without a finite gradient, or more than 1% bad pictures.
    """
    threads = torch.get_num_threads()
    if config.tuning.train == "probe":
        from vitreous.training.probe import solve  # which says what it does in the words of this file

        try:
            torch.set_num_threads(config.threads or threads)
            return solve(config, resume=resume, splits=splits, watch=watch)
        finally:
            torch.set_num_threads(threads)
    world = distributed.join(pick_device(config.device))
    try:
        torch.set_num_threads(config.threads or threads)
        files = RunFiles(Path(config.output), config, world)
        files.check(resume)
        setup = set_up(config, splits)
        files.claim()
        if model is not None:
            setup = setup._replace(model=model)  # type: ignore[arg-type]
        with Signals() as signals:
            return Loop(config, setup, world, files, signals, watch or (lambda moment: None)).run()
    finally:
        torch.set_num_threads(threads)
        distributed.leave(world)


class Loop:
    """One run from its first step, or the one it was interrupted at, to its end."""

    def __init__(
        self,
        config: TrainConfig,
        setup: Setup,
        world: World,
        files: RunFiles,
        signals: Signals,
        watch: Watcher,
    ) -> None:
        self.config, self.setup, self.world = config, setup, world
        self.files, self.signals = files, signals
        self.watch: Watcher = watch if world.writes else (lambda moment: None)
        self.progress = Progress()
        self.task: Task = build_task(config, setup, world, self.progress)
        pictures = len(setup.train)
        batch = min(config.batch_size, pictures // world.size * world.size)
        self.order = Order(
            pictures=pictures,
            batch=batch,
            seed=config.seed,
            views=views_of(config.task),
            labels=setup.train.labels if balance_of(config.task) == "sampling" else None,
        )
        self.steps = config.epochs * self.order.steps_per_epoch
        model = setup.model.to(world.device)
        self.tuning = Tuning(model, config.tuning, config.epochs)
        self.learner = Learner(
            model=model,
            optimizer=build_optimizer(model, config.optimizer, self.tuning.scale),
            average=Average(model, config.average) if config.average else None,
            best={},
            counters=Counters(threads=torch.get_num_threads(), data=setup.fingerprint),
        )
        self.judged = deepcopy(model) if config.average else model
        say = partial(self._say, "note")
        self.gradients = Gradients(
            config, setup, self.task, self.learner, self.order, world, heard=self._note, say=say
        )
        self.held_out = HeldOut(setup.validation, setup.preprocess, self.task, world, config.precision, say)
        self.monitor = Monitor(config, setup, world, say)
        self.clock = Clock()

    def run(self) -> Run:
        """Train, judge, save; see ``fit``."""
        self._begin()
        counters = self.learner.counters
        model: nn.Module = self.learner.model
        with closing(self.gradients) as gradients:
            while counters.step < self.steps and not counters.finished:
                if self.tuning.begin_epoch(counters.step // self.order.steps_per_epoch):
                    # Whose gradients are averaged over the processes is settled where that begins.
                    model = distributed.shared(self.learner.model, self.world)
                loss = self._step(model, gradients)
                self._finish_step(loss)
        counters.finished = True
        self._save()
        return self._end()

    def _begin(self) -> None:
        for note in (*self.setup.notes, *self.tuning.plan()):
            self._say("note", text=note)
        if self.order.batch < self.config.batch_size:
            self._say("note", text=f"a batch is {self.order.batch} pictures: there are no more")
        if load_state(self.files.path, self.learner):
            counters = self.learner.counters
            self._say("note", text=f"going on at step {counters.step} of {self.steps}")
            if counters.threads != torch.get_num_threads():
                self._say(
                    "note",
                    text=f"begun with {counters.threads} threads, now {torch.get_num_threads()}:"
                    " the last bits may differ from an uninterrupted run",
                )
        steps = set(distributed.gather(self.learner.counters.step, self.world))
        if len(steps) > 1:
            raise TrainingError(
                f"the processes found saved states of different steps ({sorted(steps)}) in"
                f" {self.files.path}; put --output on storage that all machines share"
            )
        if not self.learner.counters.step:
            self.monitor.begin(self.judged, self.learner.counters)
        if not self.learner.counters.finished:
            say = partial(self._say, "note")
            learn_by_heart(self.task, self.config, self.setup, self.order, self.world, self.signals, say)
        self.files.open_metrics(self.learner.counters.metrics_bytes)
        self.clock.start(self.learner.counters.step)

    def _step(self, model: nn.Module, gradients: Gradients) -> float:
        """One update from one global batch; returns the mean loss of this process's parts."""
        config, counters, optimizer = self.config, self.learner.counters, self.learner.optimizer
        set_rate(optimizer, learning_rate(counters.step, self.steps, config.optimizer))
        self.progress.done = counters.step / self.steps
        model.train()
        self.tuning.rest()
        loss = gradients(model)
        norm = nn.utils.clip_grad_norm_(self.learner.model.parameters(), config.optimizer.clip)
        if torch.isfinite(norm):
            optimizer.step()
            counters.skipped_in_row = 0
            if self.learner.average is not None:
                self.learner.average.update(self.learner.model)
        else:
            counters.skipped += 1
            counters.skipped_in_row += 1
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    def _finish_step(self, loss: float) -> None:
        counters = self.learner.counters
        loss, signal = self.signals.share(loss, self.world)
        if counters.skipped_in_row == 0:
            counters.loss_sum += loss
            counters.loss_steps += 1
        counters.step += 1
        self.clock.tick(counters.step)
        left = self.clock.left(self.steps - counters.step)
        self.watch(Moment("step", counters.step, self.steps, left, {"loss": loss}))
        if counters.skipped_in_row >= SKIPPED_IN_ROW:
            raise TrainingError(
                f"no finite gradient in {SKIPPED_IN_ROW} steps in a row, up to step {counters.step};"
                f" the last good checkpoint is {self.files.last_good()};"
                " try a smaller optimizer.learning_rate"
            )
        if counters.step % self.order.steps_per_epoch == 0:
            self._finish_epoch()
        if signal:
            self._save()
            raise Interrupted(
                f"stopped after step {counters.step} of {self.steps}, state saved{self._way_on()}",
                exit_code=signal,
            )
        # Only the writer reads the clock, so that the processes need not agree on the time.
        if self.world.writes and self.clock.since_save() > self.config.save_seconds:
            self._save()

    def _finish_epoch(self) -> None:
        counters = self.learner.counters
        epoch = counters.step // self.order.steps_per_epoch
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": counters.step,
            "loss": counters.loss_sum / counters.loss_steps if counters.loss_steps else None,
            "learning_rate": learning_rate(counters.step - 1, self.steps, self.config.optimizer),
            "skipped_steps": counters.skipped,
        }
        counters.loss_sum, counters.loss_steps = 0.0, 0
        if epoch % self.config.evaluate_every == 0 or counters.step == self.steps:
            row |= self._judge(epoch)
        self._check_troubles()
        if self.world.writes:
            counters.metrics_bytes = self.files.log(row, self.clock.speed(self.order.batch))
        self.watch(Moment("measured", counters.step, self.steps, None, row))

    def _judge(self, epoch: int) -> dict[str, Any]:
        """The measures of the averaged weights on the validation part; the best are kept."""
        counters, average = self.learner.counters, self.learner.average
        if average is not None:
            self.judged.load_state_dict(average.weights)
        measures = self._measure(self.judged)
        rank = self.task.rank(measures)
        if not all(map(isfinite, rank)):
            raise TrainingError(
                f"the validation measures after step {counters.step} are not finite; the last good"
                f" checkpoint is {self.files.last_good()}; try a smaller optimizer.learning_rate"
            )
        wrong = self.monitor.judge(self.judged, measures, counters, epoch)
        if counters.best is None or rank > counters.best:
            counters.best, counters.best_step, counters.stale = rank, counters.step, 0
            counters.best_measures = measures
            self.learner.best = _copied(self.judged)
        else:
            counters.stale = counters.stale + 1 if self.tuning.settled else 0
            if self.config.patience is not None and counters.stale >= self.config.patience:
                counters.finished = True
                self._say("note", text=f"no better for {counters.stale} evaluations: stopped early")
        return measures | wrong

    def _measure(self, model: nn.Module) -> dict[str, float]:
        measures, troubles = self.held_out.measure(model, self.learner.counters)
        self._note(troubles)
        return measures

    def _note(self, troubles: Iterable[Trouble]) -> None:
        for name, reason in troubles:
            if name not in self.learner.counters.troubles:
                self.learner.counters.troubles[name] = reason
                self._say("troubled", name=name, reason=reason)

    def _check_troubles(self) -> None:
        troubles: dict[str, str] = {}
        for found in distributed.gather(self.learner.counters.troubles, self.world):
            troubles |= found
        if self.world.writes:
            self._note(Trouble(name, reason) for name, reason in sorted(troubles.items()))
        self.learner.counters.troubles = dict(sorted(troubles.items()))
        pictures = len(self.setup.train) + len(self.setup.validation)
        refuse_troubles(troubles, pictures)

    def _save(self) -> None:
        if self.world.writes:
            save_state(self.files.path, self.learner)
            self.clock.saved()

    def _end(self) -> Run:
        counters = self.learner.counters
        last = self.learner.average.weights if self.learner.average else _copied(self.learner.model)
        best, measures = self.learner.best, counters.best_measures  # the last step at least was judged
        for note in self.tuning.verified(last, best):
            self._say("note", text=note)
        if not isinstance(self.learner.model, Model):
            self.learner.model.load_state_dict(best)
        elif self.world.writes:
            for name, weights in (("last", last), ("best", best)):
                self.judged.load_state_dict(weights)
                self._keep(name, measures if name == "best" else {})
        return Run(
            path=self.files.path,
            measures=measures,
            steps=counters.step,
            epochs=counters.step // self.order.steps_per_epoch,
            seconds=self.clock.seconds(),
        )

    def _keep(self, name: str, measures: dict[str, float]) -> None:
        """Write the judged weights as a model directory, with the temperature that calibrates them."""
        setup, counters = self.setup, self.learner.counters
        model = merge(deepcopy(self.judged)).cpu().eval()
        assert isinstance(model, Model)
        lineage: dict[str, Any] = dict(setup.lineage)
        lineage["training"] = {
            "task": self.config.task.kind,
            "tuned": self.config.tuning.train,
            "step": counters.best_step if name == "best" else counters.step,
            "seed": self.config.seed,
            "validation": measures,
            **({"before": counters.before} if counters.before else {}),
            "unusable_pictures": counters.troubles,
            "torch": torch.__version__,
        }
        classes = setup.train.classes if model.config.classes else ()
        fitted = classes and self.task.calibrated
        temperature = self.held_out.temperature(self.judged, counters) if fitted else 1.0
        checkpoint = Checkpoint(model, setup.preprocess, classes, temperature, lineage, setup.answers)
        save(self.files.path / name, checkpoint)
        if name == "best" and self.config.tuning.train == "lora":
            save_adapter(self.files.path / "adapter", self.judged, checkpoint)

    def _way_on(self) -> str:
        # A rival was handed in from outside; no command builds it again.
        if not isinstance(self.learner.model, Model):
            return ""
        return f"; go on with: vitreous train --resume --output {quote(self.config.output)}"

    def _say(self, kind: str, **values: Any) -> None:
        self.watch(Moment(kind, self.learner.counters.step, self.steps, None, values))


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def refuse_troubles(troubles: Mapping[str, str], pictures: int) -> None:
    """TrainingError with the names and the reasons of pictures that cannot be used, where they are more than
    ``TROUBLED_SHARE`` of all."""
    if len(troubles) > TROUBLED_SHARE * pictures:
        listed = "; ".join(f"{name}: {reason}" for name, reason in sorted(troubles.items()))
        raise TrainingError(
            f"{len(troubles)} of {pictures} pictures cannot be used, more than {TROUBLED_SHARE:.0%}: {listed}"
        )
