"""What is tried, what is left out and why, and that the verdict follows from the table."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from tests.training.advisor.test_folds import collection
from vitreous.data.collection import Splits
from vitreous.data.folder import read_data
from vitreous.errors import ConfigError, DataError
from vitreous.training.advisor import advise as module
from vitreous.training.advisor.advise import Advice, Moment, Row, advise
from vitreous.training.advisor.candidates import Candidate, Stage
from vitreous.training.advisor.plain import to_plain
from vitreous.training.advisor.plan import plan
from vitreous.training.advisor.worker import Job, Outcome, StageTime
from vitreous.training.recipes import recipe

SPLITS = Splits(collection({"a": 200, "b": 200}), None, None, "made")

SCRATCH = recipe("scratch")("pictures", "")


class Needed(NamedTuple):
    peak_bytes: int = 500_000_000
    epoch_seconds: float = 1.0


def scratch(key: str, *, beside: str | None = None) -> Candidate:
    return Candidate(
        key=key, title=key, ladder="scratch", stages=(Stage(plan=SCRATCH, recipe="scratch"),), beside=beside
    )


def weights() -> list[Candidate]:
    return [one for one in plan("digits", read_data("digits"), ["weights/model"]) if one.ladder == "weights"]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Advice]:
    """``advise`` with candidates that are right as often as they are said to be, measured in no time."""

    def compared(
        shares: dict[str, float],
        candidates: Sequence[Candidate],
        *,
        needed: Needed | None = None,
        budget: float = 300,
        watch: Callable[[Moment], None] = lambda moment: None,
    ) -> Advice:
        def run(jobs: Sequence[Job], alive: Callable[[], None]) -> list[Outcome]:
            alive()
            found = []
            for job in jobs:
                share = shares[job.candidate.key]
                if share < 0:
                    found.append(Outcome(error="it broke"))
                    continue
                # The better ones are right wherever the worse are.
                hard = np.random.default_rng(job.fold).random(80)
                stages = tuple(StageTime(epochs, 1.5) for epochs in job.epochs)
                found.append(Outcome(tuple((hard < share).tolist()), 12.0, stages, 600_000_000))
            return found

        monkeypatch.setattr(module, "run_jobs", run)
        return advise(
            "pictures",
            SPLITS,
            candidates,
            lambda stage, splits, threads: needed or Needed(),
            budget=budget,
            watch=watch,
        )

    return compared


def by_key(advice: Advice) -> dict[str, Row]:
    return {row.candidate.key: row for row in advice.rows}


def test_the_best_is_recommended_and_the_forecast_stands_beside_what_was_measured(
    compare: Callable[..., Advice],
) -> None:
    heard: list[Moment] = []
    advice = compare({"labels": 0.6, "mae": 0.9}, [scratch("labels"), scratch("mae")], watch=heard.append)
    rows = by_key(advice)
    assert advice.recommended == "mae" and "highest score; 1 of the 1 others" in advice.why
    behind = rows["labels"].behind
    assert behind is not None and behind.low > 0
    assert rows["mae"].forecast == (500_000_000, (1.0,)) and rows["mae"].measured == (600_000_000, (1.5,))
    assert rows["mae"].epochs[0] >= 3
    assert any(moment.text.startswith("mae: 9") or moment.text.startswith("mae: 8") for moment in heard)
    plain = to_plain(advice)
    assert plain["command"] == "vitreous train pictures --recipe scratch --output runs/mae"
    assert plain["candidates"][0]["beaten"] is True


def test_of_equals_the_cheaper_is_taken(compare: Callable[..., Advice]) -> None:
    advice = compare({"cheap": 0.80, "dear": 0.805}, [scratch("cheap"), scratch("dear")])
    assert advice.recommended == "cheap"


def test_a_ladder_ends_where_a_step_brought_nothing(compare: Callable[..., Advice]) -> None:
    ladder = weights()
    keys = [candidate.key for candidate in ladder]
    assert keys == ["neighbours-model", "probe-model", "lora-model", "tune-model"]
    flat = dict(zip(keys, (0.7, 0.8, 0.8, 0.9), strict=True))
    rows = by_key(compare(flat, ladder))
    assert rows["tune-model"].status == "not tried" and "brought nothing" in rows["tune-model"].why
    rising = dict(zip(keys, (0.6, 0.7, 0.85, 0.9), strict=True))
    assert by_key(compare(rising, ladder))["tune-model"].status == "measured"


def test_a_ladder_is_judged_by_its_own_weights_alone(compare: Callable[..., Advice]) -> None:
    both = plan("digits", read_data("digits"), ["weights/one", "weights/two"])
    ladders = [one for one in both if one.source is not None]
    one = {"neighbours-one": 0.6, "probe-one": 0.7, "lora-one": 0.85, "tune-one": 0.95}
    two = {"neighbours-two": 0.5, "probe-two": 0.6, "lora-two": 0.8, "tune-two": 0.97}
    rows = by_key(compare(one | two, ladders))
    assert rows["tune-two"].status == "measured"


def test_pretraining_is_not_tried_where_weights_are_ahead(compare: Callable[..., Advice]) -> None:
    candidates = [*weights()[:2], scratch("labels"), scratch("mae", beside="labels")]
    shares = {"neighbours-model": 0.9, "probe-model": 0.95, "labels": 0.6, "mae": 0.7}
    assert "is ahead of labels" in by_key(compare(shares, candidates))["mae"].why
    shares |= {"neighbours-model": 0.4, "probe-model": 0.5}
    assert by_key(compare(shares, candidates))["mae"].status == "measured"


def test_one_that_breaks_does_not_end_the_others(compare: Callable[..., Advice]) -> None:
    advice = compare({"labels": -1, "mae": 0.7}, [scratch("labels"), scratch("mae")])
    assert by_key(advice)["labels"].why == "it broke" and advice.recommended == "mae"
    nothing = compare({"labels": -1}, [scratch("labels")])
    assert nothing.recommended is None and "no candidate" in nothing.why


def test_what_has_no_time_is_left_out(compare: Callable[..., Advice]) -> None:
    advice = compare({}, [scratch("labels")], needed=Needed(epoch_seconds=200.0))
    row = advice.rows[0]
    assert row.status == "not tried" and "about 200 s" in row.why and row.forecast.peak_bytes == 500_000_000


def test_bad_questions_are_refused_at_once(compare: Callable[..., Advice]) -> None:
    with pytest.raises(ConfigError, match="budget of 5 s is too short"):
        compare({}, [], budget=5)
    with pytest.raises(DataError, match="one class"):
        advise("x", Splits(collection({"a": 9}), None, None, ""), [], lambda *_: Needed(), budget=90)
