"""A skewed folder: rare classes count as much as others, and a run stays what it was otherwise."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.test_fit import assert_same_end
from vitreous.data.augment import AugmentConfig
from vitreous.errors import Interrupted
from vitreous.evaluation.evaluate import evaluate
from vitreous.predictor import load
from vitreous.tasks.config import Balance, ClassificationConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.fit import Moment, fit

TASKS = {
    balance: ClassificationConfig(smoothing=0.0, balance=balance) for balance in ("none", "loss", "sampling")
}


@pytest.fixture
def skewed(tmp_path: Path) -> TrainConfig:
    """Two shades that overlap, 120 pictures of the one to 10 of the other; as many of both to judge by."""
    random = np.random.default_rng(0)
    for part, counts in (("train", (120, 10)), ("val", (20, 20))):
        for name, level, count in zip(("common", "rare"), (110, 128), counts, strict=True):
            folder = tmp_path / "skewed" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                shade = random.normal(level, 12)
                pixels = np.clip(shade + random.normal(0, 10, (4, 4)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return TrainConfig(
        data=str(tmp_path / "skewed"),
        output=str(tmp_path / "run"),
        model=ModelChoice(
            name="vit_tiny",
            image_size=4,
            channels=1,
            options={"width": 8, "depth": 1, "heads": 1, "patch": 4},
        ),
        augment=AugmentConfig(crop=None, flip=0.5, rand_augment=None),
        optimizer=OptimizerConfig(learning_rate=5e-3),
        epochs=6,
        batch_size=16,
        average=0.0,
        evaluate_every=6,
        workers=0,
        device="cpu",
    )


def recalls(config: TrainConfig, balance: Balance, tmp_path: Path) -> dict[str, float]:
    run = fit(replace(config, task=TASKS[balance], output=str(tmp_path / f"run-{balance}")))
    result = evaluate(load(run.path, device="cpu"), config.data, split="validation")
    found = {row["class"]: row["recall"] for row in result["per_class"]}
    assert run.measures["balanced_accuracy"] == pytest.approx(sum(found.values()) / 2)
    return found


def test_balance_raises_the_recall_of_the_rare_class(skewed: TrainConfig, tmp_path: Path) -> None:
    plain, weighed, drawn = (recalls(skewed, balance, tmp_path) for balance in ("none", "loss", "sampling"))
    assert plain["rare"] <= 0.2 and plain["common"] == 1
    for balanced in (weighed, drawn):
        assert balanced["rare"] >= plain["rare"] + 0.4
        assert sum(balanced.values()) >= sum(plain.values()) + 0.2


@pytest.mark.parametrize("balance", ["loss", "sampling"])
@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_interrupted_balanced_runs_end_with_the_same_bits(
    skewed: TrainConfig, tmp_path: Path, balance: str, mixup: float
) -> None:
    config = replace(
        skewed, task=TASKS[balance], epochs=3, augment=replace(skewed.augment, mixup=mixup, zoom=0.1)
    )
    fit(config)
    stopped = replace(config, output=str(tmp_path / "stopped"), workers=1)

    def stop(moment: Moment) -> None:
        if moment.kind == "step" and moment.step == 11:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        fit(stopped, watch=stop)
    fit(stopped, resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "stopped")


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_accumulated_balanced_batches_train_like_one(
    skewed: TrainConfig, tmp_path: Path, balance: str
) -> None:
    config = replace(skewed, task=TASKS[balance], augment=replace(skewed.augment, mixup=0.3))
    fit(config)
    fit(replace(config, output=str(tmp_path / "small"), micro_batch=4))
    one, other = (
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("run", "small")
    )
    for row, small in zip(one, other, strict=True):
        assert small["loss"] == pytest.approx(row["loss"], rel=1e-4)
