"""The loop: it learns, it resumes to the same bits, and it says what went wrong."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vitreous.config import to_plain
from vitreous.errors import ConfigError, DataError, Interrupted, MissingPackage, TrainingError
from vitreous.models import catalog
from vitreous.models.classifier import Logits
from vitreous.predictor import load
from vitreous.tasks.config import ClassificationConfig
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.fit import Moment, fit


def last_state(run: Path) -> dict[str, Tensor]:
    return load_file(sorted((run / "state").glob("step-*"))[-1] / "tensors.safetensors")


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_end(one: Path, other: Path) -> None:
    first, second = last_state(one), last_state(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    for kind in ("best", "last"):
        weights = (one / kind / "model.safetensors").read_bytes()
        assert weights == (other / kind / "model.safetensors").read_bytes()


def test_it_learns_and_leaves_a_run_that_predicts(config: TrainConfig, pictures: Path) -> None:
    run = fit(config)
    losses = [row["loss"] for row in rows(run.path)]
    assert losses[-1] < 0.7 * losses[0]
    assert run.measures["accuracy"] == 1.0
    predictor = load(str(run.path), device="cpu")
    assert predictor.classes == ("above", "below")
    assert predictor(pictures / "val" / "below" / "03.png").label == "below"
    lineage = predictor.lineage
    assert lineage["data"]["source"] == pictures.name
    assert lineage["training"]["seed"] == 0


def test_two_runs_of_one_configuration_are_equal(config: TrainConfig, tmp_path: Path) -> None:
    fit(config)
    fit(replace(config, output=str(tmp_path / "again"), workers=2))
    assert_same_end(tmp_path / "run", tmp_path / "again")


class Stop:
    """Sends this process a signal after a number of steps, as a terminal does."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def __call__(self, moment: Moment) -> None:
        if moment.kind == "step" and moment.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_saves_and_resume_ends_with_the_same_bits(
    config: TrainConfig, tmp_path: Path, number: int, code: int
) -> None:
    fit(config)
    stopped = replace(config, output=str(tmp_path / "stopped"))
    for step in (1, 15):  # in the first epoch, and in the middle of a later one
        with pytest.raises(Interrupted) as caught:
            fit(stopped, resume=True, watch=Stop(step, number))
        assert caught.value.exit_code == code
        assert f"after step {step + 1} " in str(caught.value)  # the one in progress is finished
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_kill_9_loses_at_most_what_was_not_saved(config: TrainConfig, tmp_path: Path) -> None:
    fit(config)
    killed = replace(config, output=str(tmp_path / "killed"), save_seconds=0.0)
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(to_plain(killed)))
    script = (
        "import json, os, signal, sys\n"
        "from vitreous.config import from_plain\n"
        "from vitreous.training.config import ModelChoice, TrainConfig\n"
        "from vitreous.training.fit import fit\n"
        "config = from_plain(TrainConfig, json.load(open(sys.argv[1])))\n"
        "def watch(moment):\n"
        "    if moment.kind == 'step' and moment.step == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "fit(config, resume=True, watch=watch)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    ended = subprocess.run([sys.executable, "-c", script, str(settings)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    fit(killed, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "killed")


def test_accumulated_batches_train_like_one(config: TrainConfig, tmp_path: Path) -> None:
    mixed = replace(config, augment=replace(config.augment, mixup=0.4, cutmix=1.0))
    fit(mixed)
    fit(replace(mixed, output=str(tmp_path / "small"), micro_batch=3))
    one, other = rows(tmp_path / "run"), rows(tmp_path / "small")
    for row, small in zip(one, other, strict=True):
        assert small["loss"] == pytest.approx(row["loss"], rel=1e-4)


def test_without_a_finite_gradient_steps_are_skipped_then_the_run_stops(config: TrainConfig) -> None:
    class Broken(nn.Module):
        def __init__(self, good: int) -> None:
            super().__init__()
            self.inner = catalog.build(config.model.configure(2))
            self.good, self.calls = good, 0

        def forward(self, images: Tensor) -> Logits:
            self.calls += self.training
            logits = self.inner(images).logits
            return Logits(logits * torch.nan if self.training and self.calls > self.good else logits)

    with pytest.raises(TrainingError, match=r"10 steps in a row.*step 17.*last good checkpoint"):
        fit(config, model=Broken(good=7))


def test_one_bad_step_changes_nothing_and_is_counted(config: TrainConfig) -> None:
    class Hiccup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = catalog.build(config.model.configure(2)), 0

        def forward(self, images: Tensor) -> Logits:
            self.calls += self.training
            logits = self.inner(images).logits
            return Logits(logits * torch.inf if self.training and self.calls == 3 else logits)

    run = fit(config, model=Hiccup())
    assert rows(run.path)[-1]["skipped_steps"] == 1
    assert run.measures["accuracy"] == 1.0
    assert not (run.path / "best").exists()  # a rival is no model of ours; only its measures stay


def test_a_bad_picture_is_replaced_named_and_counted(config: TrainConfig, pictures: Path) -> None:
    (pictures / "train" / "above" / "05.png").write_bytes(b"no picture")
    heard: list[str] = []
    with pytest.raises(TrainingError, match=r"1 of 64 pictures cannot be used, more than 1%: .*05\.png"):
        fit(config, watch=lambda moment: heard.append(moment.kind))
    assert "troubled" in heard


def test_a_bad_validation_picture_is_left_out_named_and_counted(config: TrainConfig, pictures: Path) -> None:
    (pictures / "val" / "below" / "02.png").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"1 of 64 pictures cannot be used.*val.*02\.png"):
        fit(config)


def test_a_run_is_never_overwritten(config: TrainConfig) -> None:
    short = replace(config, epochs=1)
    fit(short)
    before = (Path(config.output) / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="not empty"):
        fit(short)
    with pytest.raises(ConfigError, match=r"epochs=1 \(now 6\)"):
        fit(config, resume=True)
    assert (Path(config.output) / "metrics.jsonl").read_bytes() == before


def test_patience_stops_early(config: TrainConfig) -> None:
    run = fit(replace(config, epochs=30, patience=2))
    assert run.epochs < 30


def test_going_on_from_a_run_takes_a_new_head_and_says_so(
    config: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    first = fit(replace(config, epochs=2))
    (pictures / "train" / "above").rename(pictures / "train" / "over")
    (pictures / "val" / "above").rename(pictures / "val" / "over")
    tuned = replace(
        config, output=str(tmp_path / "tuned"), epochs=1, model=ModelChoice(source=str(first.path))
    )
    notes: list[str] = []
    run = fit(tuned, watch=lambda moment: notes.append(str(moment.values.get("text"))))
    assert any("new head" in note for note in notes)
    predictor = load(str(run.path), device="cpu")
    assert predictor.classes == ("below", "over")
    assert predictor.lineage["from"]["source"] == str(first.path)


def test_a_damaged_state_is_passed_over_for_the_one_before(config: TrainConfig, tmp_path: Path) -> None:
    fit(config)
    damaged = replace(config, output=str(tmp_path / "damaged"), save_seconds=0.0)
    with pytest.raises(Interrupted):
        fit(damaged, watch=Stop(15))
    newest = sorted((tmp_path / "damaged" / "state").glob("step-*"))[-1] / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    content[-3] ^= 0x10
    newest.write_bytes(content)
    fit(damaged, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "damaged")


@pytest.mark.parametrize("track", ["tensorboard", "none"])
def test_tensorboard_has_the_measures_where_it_is_wanted(config: TrainConfig, track: str) -> None:
    run = fit(replace(config, epochs=1, track=track))  # type: ignore[arg-type]
    written = list((run.path / "tensorboard").glob("events*")) if (run.path / "tensorboard").exists() else []
    assert len(written) == (1 if track == "tensorboard" else 0)
    assert all(b"validation_loss" in file.read_bytes() for file in written)


def test_a_missing_tensorboard_is_said_with_its_install_line(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitreous.training.output.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"pip install 'vitreous\[track\]'"):
        fit(replace(config, track="tensorboard"))
    assert not Path(config.output).exists()


def test_sigterm_to_every_process_of_a_job_saves(config: TrainConfig, tmp_path: Path) -> None:
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(to_plain(replace(config, epochs=500, workers=2))))
    script = (
        "import json, sys\n"
        "from vitreous.cli import explained\n"
        "from vitreous.config import from_plain\n"
        "from vitreous.training.config import TrainConfig\n"
        "from vitreous.training.fit import fit\n"
        "def watch(moment):\n"
        "    if moment.kind == 'measured': print('going', flush=True)\n"
        "try: fit(from_plain(TrainConfig, json.load(open(sys.argv[1]))), watch=watch)\n"
        "except Exception as error: sys.exit(explained(error)[1])\n"
    )
    command = [sys.executable, "-c", script, str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 75
    assert list((Path(config.output) / "state").glob("step-*"))


def test_a_run_does_not_go_on_with_other_pictures(config: TrainConfig, pictures: Path) -> None:
    with pytest.raises(Interrupted):
        fit(config, watch=Stop(9))
    (pictures / "train" / "above" / "00.png").unlink()
    with pytest.raises(DataError, match="pictures have changed"):
        fit(config, resume=True)


def test_skipped_steps_do_not_lower_the_logged_loss(config: TrainConfig, tmp_path: Path) -> None:
    class Flat(nn.Module):
        """Its loss is ln 2 in every step, and every other step has no finite gradient."""

        def __init__(self, *, skips: bool) -> None:
            super().__init__()
            self.weight, self.skips, self.calls = nn.Parameter(torch.zeros(2)), skips, 0

        def forward(self, images: Tensor) -> Logits:
            self.calls += self.training
            logits = (self.weight * 0).expand(len(images), 2)
            broken = self.skips and self.training and self.calls % 2 == 1
            return Logits(logits * torch.nan if broken else logits)

    short = replace(config, epochs=1, task=ClassificationConfig(smoothing=0.0))
    losses = []
    for skips in (False, True):
        run = fit(replace(short, output=str(tmp_path / f"{skips}")), model=Flat(skips=skips))
        losses.append(rows(run.path)[0]["loss"])
    assert losses[1] == pytest.approx(losses[0])
