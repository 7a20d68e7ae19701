"""All ways to learn from at most 2,000 pictures, each given the same time, judged on the test parts.

    python -m benchmarks.small_sets [--sets digits,scenes,pieces,few_digits,few_scenes,few_pieces]
                                    [--rows small,mae,resnet] [--seeds 5]
                                    [--seconds 75] [--jobs 2] [--clock wall|cpu] [--output FILE]

A row is a way to learn, of one stage or several (``benchmarks/small_rows.py``). ``--seconds`` are for all of
its stages together, the training of a teacher or a tokenizer included, on one thread. (The teacher of the row
``taught`` alone is not counted: the model of ``small``, trained before for three times as long.) How many
epochs that is, a short trial of each stage tells; trials are for the first seed, and their time is printed
and not counted. Every run is vitreous' own ``fit`` and is judged once, at its end; digits have half the time.

Printed for each row: the mean accuracy on the test part with its 95% interval (Student's t over the seeds),
the seconds that it really took, and the epochs of its stages. Two rows are compared seed by seed: the mean
difference with its interval, which says "not shown" where it holds zero. ``--jobs 2`` trains two rows at a
time, each on one thread: for machines of two cores with nothing else to do.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import mean, stdev
from typing import NamedTuple

import torch
from scipy.stats import t

from benchmarks.photograph_pieces import build
from benchmarks.small_rows import CLAIMS, ROWS, SETS, TEACHER, Run
from vitreous.data.collection import Splits
from vitreous.data.folder import read_data
from vitreous.evaluation.evaluate import evaluate
from vitreous.predictor import load
from vitreous.tasks.config import needs_labels
from vitreous.training.fit import fit
from vitreous.training.pace import Clock, measure_pace

TEACHER_SEED = 100  # of a model that no row has
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row on one set with one seed; ``paces`` of its stages, seconds an epoch, where they are known."""

    set: str
    row: str
    seed: int
    seconds: float
    data: str
    clock: str
    part: str
    teacher: str
    paces: tuple[float, ...] = ()


class Outcome(NamedTuple):
    """Accuracy from 0 to 1; seconds of each stage, its epochs, its pace; what the trials took."""

    accuracy: float
    seconds: list[float]
    epochs: list[int]
    paces: tuple[float, ...]
    trials: float


def learn(job: Job) -> Outcome:
    """Train the stages of a row one after the other, and judge what the last one leaves."""
    torch.set_num_threads(1)
    clock = CLOCKS[job.clock]
    row = TEACHER if job.row == "teacher" else ROWS[job.row]
    seconds, epochs, paces, trials = [], [], list(job.paces), 0.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if job.row != "teacher" else Path(job.teacher)
        run = Run(SETS[job.set], job.data, place, job.seed, Path(job.teacher) / TEACHER.stages[-1].name)
        for number, stage in enumerate(row.stages):
            config = replace(stage.configure(run), output=str(place / stage.name))
            splits = read_data(config.data, seed=config.seed)
            if needs_labels(config.task) and row is not TEACHER:
                splits = labelled(splits, run.small.labels, job.seed)
            if number == len(paces):
                trial = replace(config, output=f"{config.output}-trial")
                pace = measure_pace(trial, splits=splits, clock=clock)
                paces.append(pace.epoch)
                trials += pace.trial
            count = max(1, round(job.seconds * stage.share / paces[number]))
            begun = clock()
            fit(replace(config, epochs=count, evaluate_every=count), splits=splits)
            seconds.append(clock() - begun)
            epochs.append(count)
        scores = evaluate(load(str(place / row.stages[-1].name), device="cpu"), job.data, split=job.part)
    return Outcome(scores["accuracy"], seconds, epochs, tuple(paces), trials)


def labelled(splits: Splits, labels: int | None, seed: int) -> Splits:
    """The parts of a set with so many training pictures of each class, drawn by the seed; None: all."""
    if labels is None or splits.train is None:
        return splits
    order = list(range(len(splits.train)))
    Random(seed).shuffle(order)
    chosen: Counter[int] = Counter()
    kept = []
    for index in order:
        label = splits.train.labels[index]
        if chosen[label] < labels:
            chosen[label] += 1
            kept.append(index)
    return splits._replace(train=splits.train.select(sorted(kept)))


def run_all(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> list[Outcome]:
    """What came of the jobs, in their order; each is printed as it ends, for whoever waits."""
    outcomes = []
    for job, outcome in zip(jobs, pool.map(learn, jobs), strict=True):
        seconds = " + ".join(f"{taken:.0f}" for taken in outcome.seconds)
        print(f"  {job.set} {job.row} seed {job.seed}: {outcome.accuracy:.2%} in {seconds} s", flush=True)
        outcomes.append(outcome)
    return outcomes


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and how far its 95% interval goes either way; infinitely far for one value."""
    if len(values) < 2:
        return mean(values), float("inf")
    return mean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))


def report(name: str, found: dict[str, list[Outcome]]) -> None:
    """Print one set's table."""
    print(f"\n{name}: {SETS[name].title}")
    print(f"{'row':10}{'accuracy':>9}{'95%':>8}{'seconds':>9}  epochs")
    for row, outcomes in found.items():
        middle, half = interval([outcome.accuracy for outcome in outcomes])
        taken = mean(sum(outcome.seconds) for outcome in outcomes)
        names = [stage.name for stage in ROWS[row].stages]
        epochs = " + ".join(
            f"{count} {stage}" for count, stage in zip(outcomes[0].epochs, names, strict=True)
        )
        print(f"{row:10}{middle:9.2%}{half:8.2%}{taken:9.1f}  {epochs}")


def judge(results: dict[str, dict[str, list[Outcome]]]) -> None:
    """Print, claim by claim, on which sets it is shown."""
    print("\nThe difference of two rows, seed by seed, with its 95% interval")
    for claim in CLAIMS:
        shown = 0
        print(f"\n{claim.text}: {claim.row} against {claim.rival}, on {claim.sets} sets")
        for name, found in results.items():
            if claim.row not in found or claim.rival not in found:
                continue
            pairs = zip(found[claim.row], found[claim.rival], strict=True)
            middle, half = interval([one.accuracy - other.accuracy for one, other in pairs])
            low, high = middle - half, middle + half
            if low > 0:
                verdict = "shown"
            elif high < 0:
                verdict = "the other way round"
            elif claim.level and middle >= 0:
                verdict = "as accurate; that it is more so is not shown"
            else:
                verdict = "not shown"
            shown += low > 0 or (claim.level and middle >= 0)
            print(f"  {name:12}{middle:+8.2%}  [{low:+.2%}, {high:+.2%}]  {verdict}")
        judged = sum(claim.row in found and claim.rival in found for found in results.values())
        verdict = "holds" if shown >= claim.sets else "not shown" if judged >= claim.sets else "not judged"
        print(f"  {verdict}: on {shown} of {judged}, wanted {claim.sets}")


def main() -> None:
    """Print the tables, then the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", help="by default those of each set")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--output", type=Path, help="write every outcome as JSON")
    arguments = parser.parse_args()
    names = arguments.sets.split(",")
    rows = {name: arguments.rows.split(",") if arguments.rows else SETS[name].rows for name in names}
    begun = time.perf_counter()
    print(
        f"torch {torch.__version__}, {arguments.seeds} seeds, {arguments.seconds:g} s of {arguments.clock}"
        f" time for a row, {arguments.jobs} rows at a time on one thread each, judged on the {arguments.part}"
        " part",
        flush=True,
    )
    results: dict[str, dict[str, list[Outcome]]] = {name: {row: [] for row in rows[name]} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        pieces = str(build(Path(folder) / "pieces"))
        jobs = [
            Job(
                set=name,
                row=row,
                seed=0,
                seconds=arguments.seconds * SETS[name].time,
                data=SETS[name].source or pieces,
                clock=arguments.clock,
                part=arguments.part,
                teacher=str(Path(folder) / f"teacher-{name}"),
            )
            for name in names
            for row in rows[name]
        ]
        teachers = [replace(job, row="teacher", seed=TEACHER_SEED) for job in jobs if job.row == "taught"]
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            run_all(pool, teachers)
            first = run_all(pool, jobs)
            paced = [replace(job, paces=outcome.paces) for job, outcome in zip(jobs, first, strict=True)]
            later = [replace(job, seed=seed) for seed in range(1, arguments.seeds) for job in paced]
            for job, outcome in zip([*jobs, *later], [*first, *run_all(pool, later)], strict=True):
                results[job.set][job.row].append(outcome)
    for name, found in results.items():
        report(name, found)
    judge(results)
    trials = sum(outcome.trials for found in results.values() for many in found.values() for outcome in many)
    print(f"\n{time.perf_counter() - begun:.0f} s in all, {trials:.0f} s of them trials")
    if arguments.output is not None:
        plain = {
            name: {row: [outcome._asdict() for outcome in many] for row, many in found.items()}
            for name, found in results.items()
        }
        arguments.output.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
