"""A candidate on a fold: learnt in its time, in a process whose end ends nothing else."""

from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from vitreous.data.augment import AugmentConfig
from vitreous.errors import VitreousError
from vitreous.training.advisor.candidates import Candidate, Stage
from vitreous.training.advisor.worker import GRACE, Job, measure, run_jobs
from vitreous.training.config import ModelChoice, TrainConfig

JUDGED = 14  # of 32 pictures in each of two classes, every fifth
SMALL = TrainConfig(
    data="",
    output="",
    model=ModelChoice(
        name="vit_tiny", image_size=12, options={"width": 16, "depth": 1, "heads": 2, "patch": 4}
    ),
    augment=AugmentConfig(rand_augment=None),
    batch_size=16,
    average=0.9,
    device="cpu",
)
LABELS = Candidate(
    key="labels", title="labels", ladder="scratch", stages=(Stage(plan=SMALL, recipe="scratch"),)
)


def job(data: Path, place: Path, *, epochs: int = 3, seconds: float = 60.0, fold: int = 0) -> Job:
    folder = place / f"fold-{fold}"
    folder.mkdir()
    return Job(LABELS, str(data), fold, 0, (epochs,), seconds, 1, folder)


def test_a_fold_is_learnt_and_answered(pictures: Path, tmp_path: Path) -> None:
    found = measure(job(pictures, tmp_path, epochs=4))
    assert len(found.right) == JUDGED and found.error is None
    assert np.mean(found.right) > 0.6  # bright above or bright below
    assert found.stages[0].epochs == 4 and found.stages[0].epoch_seconds > 0
    assert found.peak_bytes > 100e6


def test_where_the_forecast_was_wrong_fewer_epochs_are_learnt_whole(pictures: Path, tmp_path: Path) -> None:
    asked = job(pictures, tmp_path, epochs=100_000, seconds=6.0)
    found = measure(asked)
    assert 1 <= found.stages[0].epochs < 100_000
    assert found.seconds < GRACE * asked.seconds + 2
    assert len(found.right) == JUDGED


def test_a_fold_needs_its_pictures(tmp_path: Path) -> None:
    with pytest.raises(VitreousError, match="no such file"):
        measure(job(tmp_path / "nowhere", tmp_path))


def test_one_picture_that_cannot_be_read_is_a_wrong_answer_and_no_more(
    pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    learnt = measure(job(pictures, tmp_path / "first", epochs=1))
    source = str(tmp_path / "first" / "fold-0" / "0")
    asking = Candidate(key="neighbours", title="k-NN", ladder="weights", source=source)
    asked = job(pictures, tmp_path)._replace(candidate=asking)
    before = measure(asked)
    for path in sorted(pictures.rglob("*.png"))[::5]:
        path.write_bytes(path.read_bytes()[:60])
    after = measure(asked)
    assert len(before.right) == len(after.right) == len(learnt.right)
    assert after.error is None and sum(after.right) < sum(before.right)


def test_processes_answer_in_order_and_one_that_is_killed_is_told(pictures: Path, tmp_path: Path) -> None:
    jobs = [job(pictures, tmp_path, fold=0), job(tmp_path / "nowhere", tmp_path, fold=1)]
    good, bad = run_jobs(jobs)
    assert good.error is None and len(good.right) == JUDGED
    assert bad.error is not None and "no such file" in bad.error

    def kill() -> None:
        for process in active_children():
            process.kill()

    (killed,) = run_jobs([job(pictures, tmp_path, fold=2, epochs=2000)], alive=kill)
    assert killed.error is not None and "ended by the system" in killed.error
    assert not active_children()
