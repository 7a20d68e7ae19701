"""Lessons learnt by heart are those that the teacher would give, and it is asked for each of them once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.test_fit import Stop, assert_same_end
from tests.training.test_from_classes import saved
from tests.training.test_teacher import taught
from vitreous.data.augment import TrainingView
from vitreous.data.loader import Labelled, Order, training_parts
from vitreous.errors import ConfigError, Interrupted
from vitreous.tasks.distillation import Distillation, Lesson
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.fit import Moment, fit
from vitreous.training.lessons import Remembered, learn_by_heart
from vitreous.training.setup import set_up
from vitreous.training.signals import Signals
from vitreous.training.tasks import build_task
from vitreous.training.teacher import Teacher

ALONE = World(0, 1, torch.device("cpu"))
PICTURES = 48


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lessons"


@pytest.fixture
def distilled(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Two views of each picture over four epochs, the teacher's classes in another order."""
    source = saved(tmp_path / "teacher", ("below", "above"))
    run = taught(config, source, targets="soft", features=0.5, cached_views=2)
    return replace(run, epochs=4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the teacher was asked about, question by question."""
    counts: list[int] = []
    ask = Teacher.ask

    def counted(self: Teacher, images: torch.Tensor) -> Lesson:
        counts.append(len(images))
        return ask(self, images)

    monkeypatch.setattr(Teacher, "ask", counted)
    return counts


def on_the_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the teacher is asked about every batch, whatever is remembered."""
    monkeypatch.setattr(Remembered, "__call__", lambda self, batch: self.teacher(batch))


def heart(config: TrainConfig, say: Callable[..., None] = lambda **values: None) -> Distillation:
    """The task of a run, ready to begin."""
    setup = set_up(config)
    task = build_task(config, setup, ALONE)
    assert isinstance(task, Distillation)
    order = Order(pictures=len(setup.train), batch=8, seed=config.seed, views=config.task.cached_views)  # type: ignore[union-attr]
    with Signals() as signals:
        learn_by_heart(task, config, setup, order, ALONE, signals, say)
    return task


def batches(config: TrainConfig) -> list[Labelled]:
    setup = set_up(config)
    order = Order(pictures=len(setup.train), batch=8, seed=config.seed, views=2)
    view = TrainingView(config.augment, setup.preprocess)
    steps = range(config.epochs * order.steps_per_epoch)
    with closing(
        training_parts(setup.train, view, config.augment, order, steps=steps, parts=[(0, 5), (5, 8)])
    ) as parts:
        return [part.batch for part in parts]


@pytest.mark.parametrize(
    ("changes", "balance"),
    [({}, "none"), ({"workers": 2, "micro_batch": 3}, "loss"), ({"micro_batch": 3}, "sampling")],
)
def test_a_run_by_heart_ends_with_the_bits_of_one_that_asks(
    distilled: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    balance: str,
) -> None:
    distilled = replace(distilled, task=replace(distilled.task, balance=balance), **changes)
    fit(distilled)
    on_the_fly(monkeypatch)
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "another"))
    fit(replace(distilled, output=str(tmp_path / "asks"), workers=0))
    assert_same_end(tmp_path / "run", tmp_path / "asks")


def test_each_lesson_is_the_one_about_its_view_even_where_a_picture_is_broken(
    distilled: TrainConfig, pictures: Path
) -> None:
    (pictures / "train" / "above" / "05.png").write_bytes(b"no picture")
    task = heart(distilled)
    teacher = task.teacher
    assert isinstance(teacher, Remembered)
    seen = batches(distilled)
    numbers = torch.cat([batch.views for batch in seen if batch.views is not None])
    assert sorted(numbers.tolist()) == sorted(2 * list(range(2 * PICTURES)))  # each twice in four epochs
    for batch in seen:
        known, fresh = teacher(batch), teacher.teacher(batch)
        assert torch.equal(known.logits, fresh.logits)
        assert known.features is not None and fresh.features is not None
        assert torch.equal(known.features, fresh.features)
    assert len({tuple(row) for row in teacher.lessons.logits.tolist()}) == 2 * PICTURES  # type: ignore[union-attr]


def test_a_teacher_is_asked_once_about_each_view(
    distilled: TrainConfig, tmp_path: Path, asked: list[int], cache: Path
) -> None:
    heard: list[str] = []

    def say(text: str) -> None:
        heard.append(text)

    heart(distilled, say)
    assert sum(asked) == 2 * PICTURES and max(asked) <= 64
    assert heard[-1] == f"the teacher has answered: 2 views of {PICTURES} pictures"
    assert len(list(cache.iterdir())) == 2
    asked.clear()
    fit(distilled)
    assert not asked
    heart(replace(distilled, task=replace(distilled.task, cached_views=3)), say)
    assert sum(asked) == PICTURES
    assert heard[-1].endswith("3 views of 48 pictures, 2 of them known from before")
    asked.clear()
    heart(replace(distilled, epochs=1, task=replace(distilled.task, cached_views=900)))  # no epoch sees them
    assert not asked


def test_what_decides_a_lesson_is_in_its_name(
    distilled: TrainConfig, pictures: Path, tmp_path: Path, asked: list[int]
) -> None:
    heart(distilled)
    same = [
        replace(distilled, optimizer=replace(distilled.optimizer, learning_rate=1e-4)),
        replace(distilled, task=replace(distilled.task, targets="hard", share=0.1, temperature=1.0)),
        replace(distilled, output="elsewhere", batch_size=4),
    ]
    for config in same:
        asked.clear()
        heart(config)
        assert not asked
    again = saved(tmp_path / "again", ("above", "below"))
    different = [
        replace(distilled, seed=1),
        replace(distilled, augment=replace(distilled.augment, flip=0.4)),
        replace(distilled, mean=(0.5,) * 3, std=(0.5,) * 3),
        replace(distilled, task=replace(distilled.task, teacher=str(again))),
        replace(distilled, task=replace(distilled.task, features=0.0)),
        replace(distilled, precision="bfloat16"),
    ]
    for config in different:
        asked.clear()
        heart(config)
        assert sum(asked) == 2 * PICTURES, config
    place = pictures / "train" / "below" / "07.png"
    other = pictures / "train" / "above" / "07.png"
    here, there = place.read_bytes(), other.read_bytes()
    place.write_bytes(there), other.write_bytes(here)  # the names stay what they were
    asked.clear()
    heart(distilled)
    assert sum(asked) == 2 * PICTURES


def test_a_damaged_page_is_written_anew(distilled: TrainConfig, asked: list[int], cache: Path) -> None:
    heart(distilled)
    whole = {path: path.read_bytes() for path in cache.iterdir()}
    first, second = sorted(whole)
    flipped = bytearray(whole[first])
    flipped[-3] ^= 0x10
    first.write_bytes(flipped)
    second.write_bytes(whole[second][:100])
    asked.clear()
    heart(distilled)
    assert sum(asked) == 2 * PICTURES
    assert {path: path.read_bytes() for path in cache.iterdir()} == whole


def test_where_nothing_can_be_kept_the_run_goes_on(
    distilled: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(distilled)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VITREOUS_CACHE", str(tmp_path / "file"))
    heard: list[str] = []
    fit(
        replace(distilled, output=str(tmp_path / "unkept")),
        watch=lambda moment: heard.append(str(moment.values.get("text"))),
    )
    assert sum("is not kept, a later run will ask again" in text for text in heard) == 1
    assert_same_end(tmp_path / "run", tmp_path / "unkept")


class Impatient:
    """Sends this process a signal while the teacher is asked."""

    def __call__(self, moment: Moment) -> None:
        if "is asked once" in str(moment.values.get("text")):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_run_goes_on_to_the_same_bits(
    distilled: TrainConfig, tmp_path: Path, asked: list[int]
) -> None:
    fit(distilled)
    for path in (tmp_path / "cache" / "lessons").iterdir():
        path.unlink()
    stopped = replace(distilled, output=str(tmp_path / "stopped"))
    with pytest.raises(
        Interrupted, match="0 of 2 views are kept; go on with: vitreous train --resume"
    ) as stop:
        fit(stopped, watch=Impatient())
    assert stop.value.exit_code == 75
    for step in (1, 15):  # of 24, the second in the third epoch, which has the views of the first again
        with pytest.raises(Interrupted):
            fit(stopped, resume=True, watch=Stop(step))
    asked.clear()
    fit(stopped, resume=True)
    assert not asked
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_mixed_pictures_are_not_remembered(distilled: TrainConfig) -> None:
    for change in ({"mixup": 0.2}, {"cutmix": 1.0}):
        with pytest.raises(ConfigError, match="set both to 0, or cached_views"):
            replace(distilled, augment=replace(distilled.augment, **change))


def test_two_processes_write_the_lessons_of_one(
    distilled: TrainConfig, tmp_path: Path, pictures: Path, cache: Path
) -> None:
    distilled = replace(distilled, epochs=2, average=0.0, model=replace(distilled.model, options={}))
    picture = Image.open(pictures / "train" / "above" / "00.png")
    picture.save(pictures / "train" / "above" / "99.png")  # 49, of which one process has one more
    fit(distilled)
    settings = tmp_path / "two.json"
    from vitreous.config import to_plain

    settings.write_text(json.dumps(to_plain(replace(distilled, output=str(tmp_path / "two")))))
    script = tmp_path / "two.py"
    script.write_text(
        "import json, sys\n"
        "from vitreous.config import from_plain\n"
        "from vitreous.training.config import TrainConfig\n"
        "from vitreous.training.fit import fit\n"
        "fit(from_plain(TrainConfig, json.load(open(sys.argv[1]))))\n"
    )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(script), str(settings)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITREOUS_CACHE": str(tmp_path / "apart")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one = {path.name: path.read_bytes() for path in cache.iterdir()}
    two = {path.name: path.read_bytes() for path in (tmp_path / "apart" / "lessons").iterdir()}
    assert one == two and len(one) == 2
    alone, together = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "two")
    )
    assert together == pytest.approx(alone, rel=1e-4)
