"""Two processes under torchrun train like one with the same global batch; one of them writes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitreous.errors import ConfigError
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World, parts_of, total
from vitreous.training.fit import fit


def test_two_processes_have_the_loss_curve_of_one(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, epochs=2, augment=replace(config.augment, mixup=0.4))
    fit(config)
    arguments = [
        *("--model", "vit_tiny", "--output", str(tmp_path / "two"), "--recipe", "scratch"),
        *_settings(config),
    ]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "vitreous", "train", config.data, *arguments),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained 2 epochs") == 1
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "two")
    )
    assert len(one) == len(two) == 2
    for alone, together in zip(one, two, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert together["validation_loss"] == pytest.approx(alone["validation_loss"], rel=1e-3)


def _settings(config: TrainConfig) -> list[str]:
    values = {
        "model.image_size": 12,
        "model.options": "{width: 16, depth: 2, heads: 2, drop_path: 0.2}",
        "augment.crop": "[0.6, 1.0]",
        "augment.rand_augment": "[1, 3]",
        "augment.mixup": config.augment.mixup,
        "augment.cutmix": 0.0,
        "optimizer.learning_rate": 3e-3,
        **{name: getattr(config, name) for name in ("epochs", "batch_size", "average", "workers", "device")},
    }
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def test_parts_cover_the_global_batch_once() -> None:
    for world, micro, size in ((1, None, 8), (1, 3, 8), (2, None, 8), (4, 2, 24), (2, 5, 12)):
        parts = [
            part
            for rank in range(world)
            for part in parts_of(size, micro, World(rank, world, torch.device("cpu")))
        ]
        covered = [place for start, stop in parts for place in range(start, stop)]
        assert covered == list(range(size))
        lengths = {stop - start for start, stop in parts}
        assert len(lengths) == 1
        assert micro is None or max(lengths) <= micro


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size 9 cannot be shared by 2"):
        parts_of(9, None, World(0, 2, torch.device("cpu")))


def test_sums_of_one_process_stay() -> None:
    assert total({"right": 3.0}, World(0, 1, torch.device("cpu"))) == {"right": 3.0}
