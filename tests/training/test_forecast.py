"""A forecast counts what the whole model will hold, and adds up times as the loop spends them."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from vitreous.data.folder import read_data
from vitreous.errors import ConfigError, DataError
from vitreous.models import catalog
from vitreous.tasks.config import DistillationConfig, MaskedAutoencodingConfig
from vitreous.training import forecast as adding
from vitreous.training import foreseen as module
from vitreous.training.config import ModelChoice, TrainConfig
from vitreous.training.distributed import World
from vitreous.training.fit import fit
from vitreous.training.forecast import MARGIN, Forecast, forecast
from vitreous.training.ledger import Ledger
from vitreous.training.recipes import recipe
from vitreous.training.rehearsal import Rehearsal, tiled
from vitreous.training.setup import set_up
from vitreous.training.tasks import build_task
from vitreous.training.teacher import Teacher
from vitreous.training.tuning_config import TuningConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what most of these tests look at."""
    monkeypatch.setattr(module, "BUDGET", 0.0)
    monkeypatch.setattr(module, "ROUNDS", 2)


def whole(config: TrainConfig) -> tuple[Rehearsal, Forecast, float, float]:
    """The run's own model with its step and its evaluation counted, beside the forecast."""
    found = forecast(config)
    setup = set_up(config)
    rehearsal = Rehearsal(config, setup.model, build_task(config, setup, World(0, 1, CPU)), CPU)
    foreseen = module.Foreseen(config, read_data(config.data), CPU)
    most = []
    for work, batch, size in (
        (rehearsal.gradient, foreseen.training_batch, found.micro_batch),
        (rehearsal.judge, foreseen.held_out_batch, foreseen.judged_at_once),
    ):
        ledger: Ledger = rehearsal.counted(work, tiled(batch, size))
        most.append(max(ledger.timeline) - ledger.standing)
    return rehearsal, found, most[0], most[1]


OPTIONS: dict[str, dict[str, Any]] = {
    "vit_tiny": {"depth": 7, "drop_path": 0.2},
    "deit_tiny": {"depth": 5},
    "beit_tiny": {"depth": 4},
    "swin_tiny": {"depths": [2, 6, 2]},
    "mae_tiny": {"depth": 6, "decoder_depth": 4},
    "resnet_18": {},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("batch", [3, 16])
def test_the_counts_are_those_of_the_whole_model(config: TrainConfig, name: str, batch: int) -> None:
    config = replace(
        config,
        model=ModelChoice(name=name, image_size=32, options=OPTIONS[name]),
        task=MaskedAutoencodingConfig() if name == "mae_tiny" else config.task,
        batch_size=batch,
    )
    rehearsal, found, step, evaluation = whole(config)
    pictures = 3 * 4 * 3 * 32 * 32
    assert found.weights == rehearsal.weight_bytes
    assert found.gradients == rehearsal.gradient_bytes
    assert found.optimizer == 2 * found.gradients
    assert found.copies == 3 * found.weights
    assert (found.activations - pictures * batch) / MARGIN == pytest.approx(step, rel=0.05)
    expected = max(MARGIN * evaluation + pictures * 16, found.weights)
    assert found.evaluation == pytest.approx(expected, rel=0.05)
    standing = found.base + 6 * found.weights - (found.weights - found.gradients) * 2
    assert found.peak_bytes == standing + max(found.activations, found.gradients, found.evaluation)


def test_accumulated_parts_hold_the_gradients_of_earlier_ones(config: TrainConfig) -> None:
    once, parts = forecast(config), forecast(replace(config, micro_batch=2))
    assert (parts.parts, parts.micro_batch) == (4, 2)
    assert parts.activations < once.activations
    assert parts.step_bytes == parts.activations + parts.gradients
    assert once.step_bytes == once.activations


def test_what_rests_has_no_gradients_and_no_moments(config: TrainConfig, tmp_path: Path) -> None:
    run = fit(replace(config, epochs=1))
    tuned = replace(config, output=str(tmp_path / "tuned"), model=ModelChoice(source=str(run.path)))
    everything = forecast(tuned)
    head = forecast(replace(tuned, tuning=TuningConfig(train="head")))
    adapters = forecast(replace(tuned, tuning=TuningConfig(train="lora")))
    assert head.optimizer < adapters.optimizer < everything.optimizer
    assert head.gradients == 4 * (16 * 2 + 2)
    assert head.activations < adapters.activations
    assert head.weights == everything.weights < adapters.weights


def test_a_probe_looks_at_every_picture_once(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fit(replace(config, epochs=1))
    probed = replace(
        recipe("probe")(config.data, str(tmp_path / "probed")), model=ModelChoice(source=str(run.path))
    )
    monkeypatch.setattr(Rehearsal, "seconds", costing)
    monkeypatch.setattr(module, "_timed", lambda stream: (0.5, next(stream)))
    monkeypatch.setattr(adding, "usable_cores", lambda: 2)
    found = forecast(replace(probed, threads=1))
    assert found.epoch_seconds == pytest.approx((48 + 16) * (2 + 3 * 2) / 3)
    assert found.peak_bytes == found.base + found.weights + found.evaluation


def test_lessons_by_heart_are_asked_for_once_and_before_the_first_epoch(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = str(fit(replace(config, output=str(tmp_path / "teacher"), epochs=1)).path)
    asked: list[int] = []
    ask = Teacher.ask

    def counting(self: Teacher, images: torch.Tensor) -> Any:
        asked.append(len(images))
        return ask(self, images)

    monkeypatch.setattr(Teacher, "ask", counting)
    by_heart = forecast(replace(config, task=DistillationConfig(teacher=teacher, cached_views=2)))
    assert len(asked) == 1
    assert by_heart.before_seconds > 0
    each_time = forecast(replace(config, task=DistillationConfig(teacher=teacher)))
    assert len(asked) > 5
    assert each_time.before_seconds == 0


def test_without_averaged_weights_there_are_two_copies_fewer(config: TrainConfig) -> None:
    assert forecast(replace(config, average=0.0)).copies == forecast(config).copies / 3


def costing(self: Rehearsal, work: Any) -> float:
    """Seconds as a table would have them: a picture's gradient takes 2, and 3 for each block; an update 10 a
    block; a judgement a third of a gradient."""
    blocks = len(self.model.backbone.encoder.blocks)  # type: ignore[union-attr, arg-type]
    if not isinstance(work, partial):
        work()
        return 10.0 * blocks
    size = len(work.args[0].images)
    if work.func.__name__ == "gradient":
        work()
        return size * (2.0 + 3.0 * blocks)
    return size * (2.0 + 3.0 * blocks) / 3


def test_times_add_up_as_the_loop_spends_them(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rehearsal, "seconds", costing)
    monkeypatch.setattr(module, "_timed", lambda stream: (0.5, next(stream)))
    monkeypatch.setattr(adding, "usable_cores", lambda: 2)
    deep = replace(config, model=replace(config.model, options={**config.model.options, "depth": 12}))
    found = forecast(replace(deep, micro_batch=4, evaluate_every=3))
    gradient, update = 8 * (2 + 3 * 12), 120
    assert found.step_seconds == pytest.approx(gradient + update)
    assert found.loading_seconds == pytest.approx(4)
    judging = 16 * (0.5 + (2 + 3 * 12) / 3)
    assert found.judging_seconds == pytest.approx(judging)
    assert found.epoch_seconds == pytest.approx(6 * (gradient + update + 4) + judging / 3)  # 48 pictures
    assert found.run_seconds == pytest.approx(6 * found.epoch_seconds)
    beside = forecast(replace(deep, micro_batch=4, evaluate_every=3, workers=1, threads=1))
    assert beside.epoch_seconds == pytest.approx(6 * (gradient + update) + judging / 3)
    shared = forecast(replace(deep, micro_batch=4, evaluate_every=3, workers=1, threads=2))
    assert shared.epoch_seconds == pytest.approx(6 * (gradient + update + 4 / 2) + judging / 3)


def test_a_disturbance_of_one_version_does_not_count_many_times(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(self: Rehearsal, work: Any) -> float:
        blocks = len(self.model.backbone.encoder.blocks)  # type: ignore[union-attr, arg-type]
        return costing(self, work) * (2 if blocks > 1 else 1)

    deep = replace(config, model=replace(config.model, options={**config.model.options, "depth": 24}))
    monkeypatch.setattr(Rehearsal, "seconds", costing)
    calm = forecast(deep).step_seconds
    monkeypatch.setattr(Rehearsal, "seconds", disturbed)
    assert forecast(deep).step_seconds < 2.5 * calm


def test_a_large_model_is_never_built(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    build = catalog.build

    def counting(shape: Any) -> Any:
        model = build(shape)
        built.append(sum(parameter.numel() for parameter in model.parameters()))
        return model

    monkeypatch.setattr(catalog, "build", counting)
    choice = ModelChoice(name="vit_s_16", image_size=32, options={"depth": 24})
    found = forecast(replace(config, model=choice, batch_size=2))
    assert max(built) < found.weights / 4 / 5
    assert found.taken < 30


def test_a_forecast_changes_nothing_that_a_run_depends_on(config: TrainConfig) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    forecast(replace(config, threads=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not Path(config.output).exists()


def test_what_the_run_refuses_is_refused(config: TrainConfig, pictures: Path) -> None:
    with pytest.raises(ConfigError, match="teacher"):
        forecast(replace(config, task=DistillationConfig()))
    (pictures / "train" / "above").rename(pictures.parent / "elsewhere")
    with pytest.raises(DataError):
        forecast(config)


def test_fewer_pictures_at_a_time_are_taken_where_memory_is_small(config: TrainConfig) -> None:
    found = forecast(config)
    assert found.most_at_once(found.peak_bytes + found.gradients + 2**30) == 8
    standing = found.peak_bytes - max(found.step_bytes, found.evaluation)
    assert found.most_at_once(standing + found.gradients + (found.activations + 1) // 2) == 4
    assert found.most_at_once(0) == 1
    assert found.most_at_once(found.peak_bytes) == 8  # one part: no gradient waits for another
    assert found.most_at_once(standing + found.gradients + found.activations * 7 // 8) in (4, 8)


def test_it_prints_as_a_table_that_adds_up(config: TrainConfig) -> None:
    lines = str(forecast(config)).splitlines()
    assert len(lines) == 8
    assert len({len(line.removesuffix(" MiB").removesuffix(" s")) for line in lines}) == 1
    assert lines[4].startswith("a step, 8 pictures at a time")


def test_the_base_may_be_said(config: TrainConfig) -> None:
    found = forecast(config, base=10)
    assert found.base == 10
    assert forecast(config).base > 50 * 2**20  # torch alone is more
