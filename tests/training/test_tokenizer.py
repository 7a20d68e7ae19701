"""A run that trains a tokenizer: it learns, however it is cut, and goes on to the same bits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.test_fit import Stop, assert_same_end, rows
from vitreous.checkpoints.passport import inspect
from vitreous.checkpoints.source import read_any
from vitreous.errors import CheckpointError, ConfigError, Interrupted
from vitreous.predictor import load
from vitreous.tasks.config import TokenizerConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.fit import fit
from vitreous.training.recipes import default_recipe, recipe


@pytest.fixture
def tokenizer(config: TrainConfig) -> TrainConfig:
    """Four epochs of six steps."""
    options = {"width": 8, "codes": 16, "code_width": 8, "groups": 2, "blocks": 1}
    return replace(
        config,
        model=ModelChoice(name="dvae_tiny", image_size=12, options=options),
        task=TokenizerConfig(temperature=(1.0, 0.2), divergence=0.01),
        optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0),
        epochs=4,
    )


def test_it_learns_and_leaves_a_tokenizer(tokenizer: TrainConfig) -> None:
    run = fit(replace(tokenizer, epochs=10))
    errors = [row["painted_error"] for row in rows(run.path)]
    assert errors[-1] < 0.8 * errors[0]
    assert run.measures["codes_used"] >= 2 and run.measures["code_perplexity"] > 1
    checkpoint = read_any(run.path)
    assert checkpoint.lineage["training"]["task"] == "tokenizer" and checkpoint.classes == ()
    assert checkpoint.model.config.grid == (6, 6)
    passport = inspect(run.path)
    assert (passport.family, passport.problem) == ("dvae", None)
    assert passport.to_dict()["codes"] == 16 and passport.to_dict()["stride"] == 2
    with pytest.raises(CheckpointError, match="does not say which class"):
        load(str(run.path), device="cpu").answer(load(str(run.path)).prepare(_a_picture(tokenizer)))


def _a_picture(config: TrainConfig) -> Path:
    return next(Path(config.data).rglob("*.png"))


def test_an_interrupted_run_ends_with_the_same_bits(tokenizer: TrainConfig, tmp_path: Path) -> None:
    fit(tokenizer)
    stopped = replace(tokenizer, output=str(tmp_path / "stopped"), workers=1)
    with pytest.raises(Interrupted):
        fit(stopped, watch=Stop(14))
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


def test_accumulated_batches_train_like_one(tokenizer: TrainConfig, tmp_path: Path) -> None:
    fit(tokenizer)
    fit(replace(tokenizer, output=str(tmp_path / "small"), micro_batch=3))
    for row, small in zip(rows(tmp_path / "run"), rows(tmp_path / "small"), strict=True):
        assert small["loss"] == pytest.approx(row["loss"], rel=1e-4)


def test_the_temperature_matters(tokenizer: TrainConfig, tmp_path: Path) -> None:
    short = replace(tokenizer, epochs=1)
    fit(short)
    fit(
        replace(
            short,
            output=str(tmp_path / "other"),
            task=TokenizerConfig(temperature=(1.0, 0.9), divergence=0.01),
        )
    )
    assert rows(tmp_path / "run")[0]["loss"] != rows(tmp_path / "other")[0]["loss"]


def test_codes_that_are_not_told_apart_are_said_aloud(tokenizer: TrainConfig) -> None:
    said: list[str] = []
    still = replace(tokenizer.optimizer, learning_rate=1e-9)
    many = replace(tokenizer.model, options=tokenizer.model.options | {"codes": 4000})
    run = fit(
        replace(tokenizer, optimizer=still, model=many, epochs=2),
        watch=lambda moment: said.append(str(moment.values.get("text"))),
    )
    assert any("few codes: tokens are hardly told apart" in text and "4000 codes" in text for text in said)
    assert "codes are used" in rows(run.path)[-1]["alarm"]  # type: ignore[operator]


def test_pictures_without_labels_do(tokenizer: TrainConfig, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(Path(tokenizer.data).rglob("*.png"))):
        path.rename(flat / f"{number:03d}.png")
    run = fit(replace(tokenizer, data=str(flat), epochs=1))
    assert json.loads((run.path / "metrics.jsonl").read_text())["painted_error"] > 0


def test_going_on_from_a_tokenizer(tokenizer: TrainConfig, tmp_path: Path) -> None:
    first = fit(replace(tokenizer, epochs=1))
    source = ModelChoice(source=str(first.path))
    again = fit(replace(tokenizer, epochs=1, output=str(tmp_path / "again"), model=source))
    assert read_any(again.path).lineage["from"]["source"] == str(first.path)
    tuned = replace(recipe("tune")(tokenizer.data, str(tmp_path / "tuned")), model=source)
    with pytest.raises(ConfigError, match="cannot be tuned to tell classes apart"):
        fit(tuned)


def test_the_recipe_is_what_a_dvae_is_taught_by() -> None:
    assert default_recipe("pictures", None, "dvae_tiny") == "tokenizer"
    config = recipe("tokenizer")("pictures", "run")
    assert config.task.kind == "tokenizer" and config.model.name == "dvae_tiny"
