"""One candidate on one fold, in a process of its own: so that its memory can be told, a crash or a want of
memory ends nothing else, and several folds are learnt at once.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from shutil import rmtree
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import torch

from vitreous.data.collection import Collection, Splits
from vitreous.data.folder import read_data
from vitreous.errors import VitreousError
from vitreous.evaluation.features import extract_once
from vitreous.evaluation.matching import match
from vitreous.evaluation.neighbours import choose_neighbours, votes
from vitreous.models.model import Model
from vitreous.predictor import Answer, load
from vitreous.training.advisor.candidates import Candidate
from vitreous.training.advisor.folds import fold_of, pool_of
from vitreous.training.config import TrainConfig
from vitreous.training.fit import Moment, Run, fit
from vitreous.training.memory import first_line, is_out_of_memory

JUDGED_EPOCHS = 8  # how often a candidate looks at its validation part, at the most
ATTEMPTS = 3  # to fit a stage into its time
TRIED = 0.08  # of its time, after which it is known how fast a stage is
SLACK = 0.1  # of its time that a stage may be late by
CAUTION = 0.85  # of the time left that a new attempt is planned to take
STARTING = 20.0  # seconds that a process may take to begin and to answer
GRACE = 1.25  # times its time, after which a candidate is cut off


class Job(NamedTuple):
    """A candidate on fold ``fold``. ``epochs`` has a number for each of its stages; ``seconds`` is the time
    that it has, ``place`` an empty folder."""

    candidate: Candidate
    data: str
    fold: int
    seed: int
    epochs: tuple[int, ...]
    seconds: float
    threads: int
    place: Path
    cut_off: float = inf  # a reading of the clock of its process


class StageTime(NamedTuple):
    """Epochs that a stage took, and the seconds of one, judging included."""

    epochs: int
    epoch_seconds: float


class Outcome(NamedTuple):
    """``right`` says of each picture of the fold, in its order, whether the answer was; empty where ``error``
    says why there is none. ``peak_bytes`` is the most memory that the process held."""

    right: tuple[bool, ...] = ()
    seconds: float = 0.0
    stages: tuple[StageTime, ...] = ()
    peak_bytes: int = 0
    error: str | None = None


class SlowerError(VitreousError):
    """A run will not be done in its time; ``epoch_seconds`` is how long one epoch really takes."""

    def __init__(self, epoch_seconds: float) -> None:
        super().__init__("slower than forecast")
        self.epoch_seconds = epoch_seconds


class CutOffError(VitreousError):
    """A candidate took longer than it was given."""


def run_jobs(jobs: Sequence[Job], *, alive: Callable[[], None] = lambda: None) -> list[Outcome]:
    """All of these at once, each in its own process; the outcomes in the same order. ``alive`` is called now
    and then while they work."""
    # A server that has imported everything forks quickly; where there is none, each imports for itself.
    context: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload([__name__])
    running = []
    try:
        for job in jobs:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(job, sender), daemon=False)
            process.start()
            sender.close()
            running.append((process, receiver, monotonic() + GRACE * job.seconds + STARTING))
        return [_outcome(receiver, deadline, alive) for _, receiver, deadline in running]
    finally:
        for process, receiver, _ in running:
            receiver.close()
            process.terminate()
        for process, _, _ in running:
            process.join(5)
            process.kill()
            process.join()


def _outcome(receiver: Connection, deadline: float, alive: Callable[[], None]) -> Outcome:
    while monotonic() < deadline:
        alive()
        if wait([receiver], timeout=1.0):
            try:
                found: Outcome = receiver.recv()
            except EOFError:
                return Outcome(error="its process was ended by the system, most likely for want of memory")
            return found
    return Outcome(error="it did not end in time")


def _work(job: Job, sender: Connection) -> None:
    """The life of the process."""
    torch.set_num_threads(job.threads)
    try:
        outcome = measure(job)
    except VitreousError as error:
        outcome = Outcome(error=str(error))
    except KeyboardInterrupt:
        return
    except Exception as error:  # nothing of it is lost: it stands in the candidate's row
        short = is_out_of_memory(error)
        told = f"{type(error).__name__}: {first_line(error)}"
        outcome = Outcome(error="out of memory" if short else told)
    with suppress(OSError):  # nobody listens any more
        sender.send(outcome)
    sender.close()


def measure(job: Job) -> Outcome:
    """Learn from the fold's train part, answer its test part.

    Raises:
        VitreousError: whatever a run may raise, and ``CutOffError``.
    """
    begun = monotonic()
    job = job._replace(cut_off=begun + GRACE * job.seconds)
    splits = fold_of(pool_of(read_data(job.data, seed=job.seed)), job.fold, seed=job.seed)
    if splits.train is None or splits.test is None:
        raise VitreousError(f"{job.data}: an empty fold")
    stages: list[StageTime] = []
    before: str | None = None
    shares = [stage.share for stage in job.candidate.stages]
    for number in range(len(shares)):
        until = begun + job.seconds * sum(shares[: number + 1]) / sum(shares)
        stages.append(_learn(job, splits, number, before, until))
        before = str(job.place / str(number))
    right = _neighbours(job, splits) if before is None else _answers(before, splits.test)
    return Outcome(right, monotonic() - begun, tuple(stages), _peak())


def _learn(job: Job, splits: Splits, number: int, before: str | None, until: float) -> StageTime:
    """A stage that is to end at ``until``. Where its first steps show that it will not, it begins anew with
    as many epochs as there is time for: a schedule that is broken off says little about what it reaches."""
    epochs = job.epochs[number]
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        try:
            run = _run(job, splits, number, epochs, before, inf if last else until)
        except SlowerError as error:
            epochs = max(1, int((until - monotonic()) * CAUTION / error.epoch_seconds))
        else:
            return StageTime(run.epochs, run.seconds / max(1, run.epochs))
    raise CutOffError("slower than forecast")


def in_its_process(config: TrainConfig, epochs: int, threads: int, seed: int) -> TrainConfig:
    """The configuration as the process of a candidate runs it, beside those of other folds."""
    return replace(
        config,
        epochs=epochs,
        seed=seed,
        threads=threads,
        workers=0,  # the other core learns the other fold
        evaluate_every=max(1, -(-epochs // JUDGED_EPOCHS)),
        patience=None,
        save_seconds=inf,
        track="none",
    )


def _run(job: Job, splits: Splits, number: int, epochs: int, before: str | None, until: float) -> Run:
    output = job.place / str(number)
    rmtree(output, ignore_errors=True)  # of an attempt before this
    stage = job.candidate.stages[number]
    config = in_its_process(stage.config(job.data, str(output), before), epochs, job.threads, job.seed)
    begun = monotonic()

    def watch(moment: Moment) -> None:
        now = monotonic()
        if now > job.cut_off:
            raise CutOffError(f"cut off at step {moment.step} of {moment.steps}: slower than forecast")
        known = moment.seconds_left is not None and now - begun > TRIED * (until - begun)
        if known and now + (moment.seconds_left or 0.0) > until + SLACK * (until - begun):
            pace = (moment.seconds_left or 0.0) / max(1, moment.steps - moment.step)
            raise SlowerError(pace * moment.steps / epochs)

    return fit(config, splits=splits, watch=watch)


def _answers(run: str, test: Collection) -> tuple[bool, ...]:
    """Whether the answer to each picture of the fold is right; one that cannot be read counts as wrong."""
    predictor = load(run)
    test = match(test, predictor.classes).collection  # which may call classes of ImageNet otherwise
    return tuple(
        isinstance(answer, Answer) and answer.index == label
        for (_, answer), label in zip(predictor.predict(test.samples), test.labels, strict=True)
    )


def _neighbours(job: Job, splits: Splits) -> tuple[bool, ...]:
    """What the pictures of the fold that are most alike in the eyes of frozen weights say; one that cannot be
    read is nobody's neighbour, and its own answer is wrong."""
    predictor = load(str(job.candidate.source))
    if not isinstance(predictor.model, Model):
        raise VitreousError(f"{job.candidate.source}: no model of the catalog")
    bank = [
        sample for part in (splits.train, splits.validation) if part is not None for sample in part.samples
    ]
    asked = [] if splits.test is None else list(splits.test.samples)
    found = extract_once(predictor.model, predictor.preprocess, [*bank, *asked], device=predictor.device)
    of_bank = found.kept < len(bank)
    places = found.kept[~of_bank] - len(bank)
    if not of_bank.any() or not len(places):
        raise found.unreadable[0]
    known, queries = found.features[of_bank], found.features[~of_bank]
    labels = [bank[place].number for place in found.kept[of_bank]]
    chosen = choose_neighbours(known, labels).neighbours
    guesses = votes(known, labels, queries, classes=1 + max(labels), neighbours=chosen).argmax(1)
    right = np.zeros(len(asked), dtype=bool)
    right[places] = guesses == np.asarray([asked[place].number for place in places])
    return tuple(right.tolist())


def _peak() -> int:
    """The most memory that this process has held, in bytes; 0 where the system does not say. That of a
    graphics card where there is one: a forecast for it counts nothing else."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return 0
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
