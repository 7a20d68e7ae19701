"""Trying the ways of learning on the user's own pictures, to say which one to take.

All candidates are judged on the same pictures: as many of the folds as there are processor cores, two at the
least, learnt at once. Each gets an equal share of the time. Before one runs, its memory and its time are
forecast; afterwards what was measured stands beside that. A ladder is climbed no further once a step has
brought nothing beyond noise.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Literal, NamedTuple, Protocol

import numpy as np

from vitreous.data.collection import Splits
from vitreous.errors import ConfigError, VitreousError
from vitreous.training.advisor.candidates import Candidate, Stage
from vitreous.training.advisor.folds import COUNT, fold_of, pool_of
from vitreous.training.advisor.verdict import Interval, Rights, accuracy, gain, is_beaten, recommend
from vitreous.training.advisor.worker import Job, Outcome, run_jobs
from vitreous.training.facts import usable_cores

LEAST_BUDGET = 60.0  # seconds; with less, nothing worth knowing can be told
RESERVE = 5.0  # seconds for the verdict and the page
CAUTION = 0.75  # of its time that a candidate is planned to take; the rest is for what nobody can foresee
FEWEST_EPOCHS = 3  # of a stage that is worth trying

Status = Literal["measured", "not tried", "failed"]


class Forecast(Protocol):
    """What a stage is expected to need."""

    @property
    def peak_bytes(self) -> int:
        """The most memory that its process holds."""
        ...

    @property
    def epoch_seconds(self) -> float:
        """Wall-clock of one epoch, judging included."""
        ...


Forecaster = Callable[[Stage, Splits, int], Forecast]  # for so many threads


class Needs(NamedTuple):
    """Memory in bytes, seconds of an epoch of each stage; None where nobody knows."""

    peak_bytes: int | None = None
    epoch_seconds: tuple[float, ...] = ()


UNKNOWN = Needs()


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one candidate. ``behind`` is what the recommended one has over it, on the same pictures;
    ``seconds`` the wall-clock of all its folds."""

    candidate: Candidate
    status: Status
    why: str = ""
    accuracy: Interval | None = None
    behind: Interval | None = None
    seconds: float = 0.0
    epochs: tuple[int, ...] = ()
    forecast: Needs = UNKNOWN
    measured: Needs = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The table, and the one to take: ``recommended`` is a candidate's key, None where none could be
    measured. ``pictures`` were judged, in ``folds`` of the data."""

    data: str
    how: str
    pictures: int
    folds: int
    rows: tuple[Row, ...]
    recommended: str | None
    why: str
    seconds: float


class Moment(NamedTuple):
    """What a watcher hears: which candidate is at work, or what became of it."""

    text: str
    seconds_left: float


def advise(
    data: str,
    splits: Splits,
    candidates: Sequence[Candidate],
    forecaster: Forecaster,
    *,
    budget: float,
    begun: float | None = None,
    seed: int = 0,
    watch: Callable[[Moment], None] = lambda moment: None,
) -> Advice:
    """Measure candidates within ``budget`` seconds from ``begun`` (a reading of ``time.monotonic``).

    Raises:
        ConfigError: a budget too short for anything.
        DataError: pictures that cannot be compared on.
    """
    if budget < LEAST_BUDGET:
        raise ConfigError(f"a budget of {budget:g} s is too short; wanted {LEAST_BUDGET:g} s or more")
    started = monotonic() if begun is None else begun
    with TemporaryDirectory(prefix="vitreous-advise-") as place:
        comparison = _Comparison(
            data, splits, forecaster, started + budget - RESERVE, seed, watch, Path(place)
        )
        for number, candidate in enumerate(candidates):
            comparison.take(candidate, candidates[number:])
    return comparison.advice(monotonic() - started)


class _Comparison:
    """The candidates so far, and the time that is left."""

    def __init__(
        self,
        data: str,
        splits: Splits,
        forecaster: Forecaster,
        deadline: float,
        seed: int,
        watch: Callable[[Moment], None],
        place: Path,
    ) -> None:
        self.data, self.how, self.seed, self.place = data, splits.how, seed, place
        self.forecaster, self.watch, self.deadline = forecaster, watch, deadline
        pool = pool_of(splits)
        cores = usable_cores()
        self.folds = min(COUNT, max(2, cores))
        self.threads = max(1, cores // self.folds)
        self.first = fold_of(pool, 0, seed=seed)
        self.rows: list[Row] = []
        self.rights: dict[str, Rights] = {}

    def take(self, candidate: Candidate, left: Sequence[Candidate]) -> None:
        """Measure a candidate, the first of those that are ``left``, or say why not."""
        reason = self._needless(candidate)
        if reason is not None:
            self._note(Row(candidate=candidate, status="not tried", why=reason))
            return
        seconds = (self.deadline - monotonic()) / max(1, sum(bool(other.stages) for other in left))
        self.watch(Moment(f"{candidate.title}: up to {seconds:.0f} s", self.deadline - monotonic()))
        begun = monotonic()
        try:
            forecast = self._forecast(candidate)
        except VitreousError as error:
            self._note(Row(candidate=candidate, status="failed", why=str(error)))
            return
        epochs = self._epochs(candidate, forecast, seconds - (monotonic() - begun))
        if any(count < FEWEST_EPOCHS for count in epochs):
            slowest = max(forecast.epoch_seconds)
            why = f"an epoch takes about {slowest:.0f} s, too long for the {seconds:.0f} s that it has"
            self._note(Row(candidate=candidate, status="not tried", why=why, forecast=forecast))
            return
        outcomes = self._run(candidate, epochs, seconds)
        self._judge(candidate, forecast, outcomes)

    def advice(self, seconds: float) -> Advice:
        """The verdict on all that was measured."""
        chosen = recommend(self.rights, seed=self.seed)
        rows = tuple(self._compared(row, chosen) for row in self.rows)
        pictures = len(next(iter(self.rights.values()), ()))
        return Advice(
            data=self.data,
            how=self.how,
            pictures=pictures,
            folds=self.folds,
            rows=rows,
            recommended=chosen,
            why=_reason(rows, chosen),
            seconds=seconds,
        )

    def _needless(self, candidate: Candidate) -> str | None:
        """Why a candidate need not be tried after what was measured."""
        if monotonic() > self.deadline:
            return "the budget is spent"
        done = {row.candidate.key: row.candidate for row in self.rows if row.candidate.key in self.rights}
        below = done.get(candidate.after or "")
        for key, other in done.items():
            if below is None or key == below.key:
                continue
            if (other.ladder, other.source) != (below.ladder, below.source):
                continue
            if not is_beaten(self.rights[key], self.rights[below.key], seed=self.seed):
                return f"{below.title} brought nothing beyond noise over {other.title}"
        like = done.get(candidate.beside or "")
        for key, other in done.items():
            if like is None or other.ladder != "weights":
                continue
            if is_beaten(self.rights[like.key], self.rights[key], seed=self.seed):
                return f"{other.title} is ahead of {like.title} beyond noise"
        return None

    def _forecast(self, candidate: Candidate) -> Needs:
        if not candidate.stages or any(stage.solved for stage in candidate.stages):
            return UNKNOWN
        found = [self.forecaster(stage, self.first, self.threads) for stage in candidate.stages]
        return Needs(max(one.peak_bytes for one in found), tuple(one.epoch_seconds for one in found))

    def _epochs(self, candidate: Candidate, forecast: Needs, seconds: float) -> tuple[int, ...]:
        if not forecast.epoch_seconds:
            return (FEWEST_EPOCHS,) * len(candidate.stages)  # which a stage without epochs does not read
        shares = sum(stage.share for stage in candidate.stages)
        return tuple(
            int(CAUTION * seconds * stage.share / shares / max(1e-3, epoch))
            for stage, epoch in zip(candidate.stages, forecast.epoch_seconds, strict=True)
        )

    def _run(self, candidate: Candidate, epochs: tuple[int, ...], seconds: float) -> list[Outcome]:
        def alive() -> None:
            self.watch(Moment("", self.deadline - monotonic()))

        jobs = []
        for fold in range(self.folds):
            place = self.place / f"{len(self.rows)}-{fold}"
            place.mkdir()
            jobs.append(Job(candidate, self.data, fold, self.seed, epochs, seconds, self.threads, place))
        return run_jobs(jobs, alive=alive)

    def _judge(self, candidate: Candidate, forecast: Needs, outcomes: Sequence[Outcome]) -> None:
        error = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
        if error is not None:
            self._note(Row(candidate=candidate, status="failed", why=error, forecast=forecast))
            return
        right = np.concatenate([np.array(outcome.right, dtype=bool) for outcome in outcomes])
        self.rights[candidate.key] = right
        stages = list(zip(*(outcome.stages for outcome in outcomes), strict=True))
        measured = Needs(
            max(outcome.peak_bytes for outcome in outcomes) or None,
            tuple(max(one.epoch_seconds for one in stage) for stage in stages),
        )
        row = Row(
            candidate=candidate,
            status="measured",
            accuracy=accuracy(right, seed=self.seed),
            seconds=max(outcome.seconds for outcome in outcomes),
            epochs=tuple(stage[0].epochs for stage in stages),
            forecast=forecast,
            measured=measured,
        )
        self._note(row)

    def _note(self, row: Row) -> None:
        self.rows.append(row)
        self.watch(Moment(said(row), self.deadline - monotonic()))

    def _compared(self, row: Row, chosen: str | None) -> Row:
        key = row.candidate.key
        if chosen is None or key == chosen or key not in self.rights:
            return row
        return replace(row, behind=gain(self.rights[chosen], self.rights[key], seed=self.seed))


def said(row: Row) -> str:
    """A row in one line."""
    if row.accuracy is None:
        return f"{row.candidate.title}: {row.status}, {row.why}"
    value, low, high = (f"{100 * share:.1f}%" for share in row.accuracy)
    return f"{row.candidate.title}: {value} ({low} to {high}) in {row.seconds:.0f} s"


def _reason(rows: Iterable[Row], chosen: str | None) -> str:
    """Why this one, in one sentence."""
    measured = [row for row in rows if row.accuracy is not None]
    mine = next((row for row in measured if row.candidate.key == chosen), None)
    if mine is None or mine.accuracy is None:
        return "no candidate could be measured"
    best = max(measured, key=lambda row: row.accuracy.value if row.accuracy is not None else 0.0)
    beaten = [row for row in measured if row.behind is not None and row.behind.low > 0]
    others = f"{len(beaten)} of the {len(measured) - 1} others are behind it beyond noise"
    if best is mine:
        return f"it has the highest score; {others}"
    return (
        f"it is the first that no other beats beyond noise; {best.candidate.title} scored higher by"
        f" {100 * (best.accuracy.value - mine.accuracy.value if best.accuracy else 0):.1f} points, which may"
        f" be chance; {others}"
    )
