"""Where memory runs out, fewer pictures are forwarded at a time, and nothing else changes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_fit import Stop, last_state, rows
from vitreous.config import to_plain
from vitreous.errors import Interrupted, TrainingError
from vitreous.models import catalog
from vitreous.models.classifier import Logits
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import Moment, fit


class Hungry(nn.Module):
    """The configured model, on a machine whose memory holds ``most`` pictures in training and ``judged``
    without gradients. ``sizes`` are those of its batches in training."""

    def __init__(self, config: TrainConfig, most: float = inf, judged: float = inf, steps: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = catalog.build(config.model.configure(2))
        self.most, self.judged, self.generous = most, judged, steps
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Logits:
        if self.training:
            self.sizes.append(len(images))
        short = len(self.sizes) > self.generous and len(images) > self.most
        logits = self.inner(images).logits
        if short if self.training else len(images) > self.judged:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return Logits(logits)


def counters(run: Path) -> dict[str, object]:
    newest = sorted((run / "state").glob("step-*"))[-1]
    return dict(json.loads((newest / "counters.json").read_text()))


def assert_same_end(one: Path, other: Path) -> None:
    first, second = last_state(one), last_state(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


@pytest.fixture
def mixed(config: TrainConfig) -> TrainConfig:
    """Everything that is drawn: views, erasing, mixtures, dropped paths."""
    return replace(config, epochs=2, augment=replace(config.augment, mixup=0.4, cutmix=1.0))


class Watch:
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def __call__(self, moment: Moment) -> None:
        if moment.kind == "note":
            self.notes.append(str(moment.values["text"]))


@pytest.mark.parametrize("workers", [0, 2])
def test_it_ends_like_a_run_begun_with_as_few_at_a_time(
    mixed: TrainConfig, tmp_path: Path, workers: int
) -> None:
    notes: list[str] = []
    fit(replace(mixed, workers=workers), model=Hungry(mixed, most=2), watch=Watch(notes))
    fit(replace(mixed, output=str(tmp_path / "small"), micro_batch=2), model=Hungry(mixed))
    assert_same_end(tmp_path / "run", tmp_path / "small")
    assert counters(tmp_path / "run")["micro_batch"] == 2
    assert [note for note in notes if "memory" in note] == [
        "memory ran out at step 1 with 8 pictures at a time: going on with 4 at a time, a batch stays 8",
        "memory ran out at step 1 with 4 pictures at a time: going on with 2 at a time, a batch stays 8",
    ]


def test_a_step_that_failed_leaves_no_trace(mixed: TrainConfig, tmp_path: Path) -> None:
    fit(mixed, model=Hungry(mixed, most=4, steps=8))  # the ninth step is the first that does not fit
    whole = replace(mixed, output=str(tmp_path / "by hand"))
    with pytest.raises(Interrupted):
        fit(whole, model=Hungry(mixed), watch=Stop(7))
    fit(replace(whole, micro_batch=4), model=Hungry(mixed), resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "by hand")


def test_a_resumed_run_begins_with_as_few(mixed: TrainConfig, tmp_path: Path) -> None:
    fit(mixed, model=Hungry(mixed, most=4))
    stopped = replace(mixed, output=str(tmp_path / "stopped"))
    with pytest.raises(Interrupted):
        fit(stopped, model=Hungry(mixed, most=4), watch=Stop(9, signal.SIGTERM))
    again = Hungry(mixed, most=4)
    fit(stopped, model=again, resume=True)
    assert set(again.sizes) == {4}
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_statistics_of_a_step_that_failed_are_taken_back(config: TrainConfig, tmp_path: Path) -> None:
    class Norms(nn.Module):
        """The second part of the first step does not fit: the first one has moved the statistics."""

        def __init__(self, *, short: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)
            self.short, self.calls = short, 0

        def forward(self, images: Tensor) -> Logits:
            self.calls += self.training
            normal = self.norm(images)
            if self.short and self.training and self.calls == 2:
                raise MemoryError
            return Logits(self.head(normal.mean((2, 3))))

    short = replace(config, epochs=1, average=0.0)
    notes: list[str] = []
    fit(replace(short, micro_batch=4), model=Norms(short=True), watch=Watch(notes))
    small = replace(short, output=str(tmp_path / "small"), micro_batch=2)
    fit(small, model=Norms(short=False))
    assert any("going on with 2" in note for note in notes)
    assert_same_end(tmp_path / "run", tmp_path / "small")


def test_a_batch_is_cut_into_parts_of_one_size(config: TrainConfig) -> None:
    notes: list[str] = []
    model = Hungry(config, most=5)
    fit(replace(config, epochs=1, batch_size=14), model=model, watch=Watch(notes))  # 14, 7, 2: not 7, 3
    assert list(dict.fromkeys(model.sizes)) == [14, 7, 2]
    assert "with 7 pictures at a time: going on with 2 at a time, a batch stays 14" in notes[-1]


def test_one_picture_that_does_not_fit_is_one_clear_error(config: TrainConfig) -> None:
    with pytest.raises(TrainingError, match=r"one picture at a time \(CUDA out of memory.*\); wanted a"):
        fit(config, model=Hungry(config, most=0))


def children() -> set[str]:
    """The numbers of the processes that this one has started and that still are."""
    return {
        number for task in Path("/proc/self/task").glob("*/children") for number in task.read_text().split()
    }


def test_other_errors_pass_and_end_the_loaders(config: TrainConfig) -> None:
    class Wrong(Hungry):
        def forward(self, images: Tensor) -> Logits:
            raise RuntimeError("The size of tensor a must match")

    before = children()  # an earlier test of this process may have left a server of processes
    with pytest.raises(RuntimeError, match="size of tensor"):
        fit(replace(config, workers=1), model=Wrong(config))
    assert children() <= before


def test_judging_takes_fewer_too_and_measures_the_same(config: TrainConfig, tmp_path: Path) -> None:
    short = replace(config, epochs=2)
    notes: list[str] = []
    fit(short, model=Hungry(config))
    hungry = Hungry(config, judged=5)
    fit(replace(short, output=str(tmp_path / "short")), model=hungry, watch=Watch(notes))
    assert counters(tmp_path / "short")["judged_at_once"] == 4
    assert "memory ran out while judging 8 pictures at a time: going on with 4" in notes
    for one, other in zip(rows(tmp_path / "run"), rows(tmp_path / "short"), strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_a_real_shortage_of_this_processor(config: TrainConfig, tmp_path: Path) -> None:
    """The process may take 120 MiB more than it has; a batch needs about 250."""
    model = ModelChoice(name="vit_tiny", image_size=80, options={"depth": 3})
    large = replace(config, model=model, epochs=1, batch_size=48, threads=1, track="none")
    (tmp_path / "config.json").write_text(json.dumps(to_plain(large)))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "config.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "memory ran out at step 1 with 48 pictures at a time: going on with 24" in done.stdout
    assert counters(Path(config.output))["step"] == 1


LIMITED = """
import json, resource, sys
from dataclasses import replace
from pathlib import Path
from vitreous.config import from_plain
from vitreous.training.config import TrainConfig
from vitreous.training.fit import fit

config = from_plain(TrainConfig, json.load(open(sys.argv[1])))
# What a run needs beside its pictures, the libraries above all, is there after a first one.
fit(replace(config, output=config.output + "-first", batch_size=2, micro_batch=1))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 120 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
fit(config, watch=lambda moment: print(moment.values["text"], flush=True) if moment.kind == "note" else None)
"""


def test_a_shortage_in_one_of_two_processes_ends_both_and_names_the_way_on(
    config: TrainConfig, tmp_path: Path
) -> None:
    script = tmp_path / "short.py"
    script.write_text(SHORT_IN_ONE)
    (tmp_path / "config.json").write_text(json.dumps(to_plain(config)))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *(str(script), str(tmp_path / "config.json")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "memory ran out at step 4 with 4 pictures at a time in process 1 of 2" in done.stderr
    assert "--resume --set micro_batch=2: a batch stays 8 pictures" in done.stderr


SHORT_IN_ONE = """
import json, os, sys
from tests.training.test_gradients import Hungry
from vitreous.config import from_plain
from vitreous.training.config import TrainConfig
from vitreous.training.fit import fit

config = from_plain(TrainConfig, json.load(open(sys.argv[1])))
fit(config, model=Hungry(config, most=4 if os.environ["RANK"] == "0" else 2, steps=3))
"""
