"""Looks at the features while a run learns without labels: seen, cheap, resumed alike, no false alarm."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitreous.data.augment import AugmentConfig
from vitreous.data.collection import Collection, Sample
from vitreous.errors import Interrupted
from vitreous.predictor import load
from vitreous.tasks.config import MaskedAutoencodingConfig, TokenizerConfig
from vitreous.training.config import ModelChoice, OptimizerConfig, TrainConfig
from vitreous.training.distributed import World
from vitreous.training.fit import Moment, fit
from vitreous.training.monitor import MOST, RANKED, Monitor, no_better_than_guessing
from vitreous.training.setup import Setup, set_up
from vitreous.training.state import Counters

ALONE = World(0, 1, torch.device("cpu"))
OPTIONS = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


@pytest.fixture
def blind(config: TrainConfig) -> TrainConfig:
    """A masked autoencoder that learns from the same pictures, without their labels."""
    return replace(
        config,
        model=ModelChoice(name="mae_tiny", image_size=12, options=OPTIONS),
        augment=AugmentConfig(crop=(0.6, 1.0), rand_augment=None),
        task=MaskedAutoencodingConfig(),
        epochs=4,
        evaluate_every=2,
    )


class Heard:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stop: int | None = None

    def __call__(self, moment: Moment) -> None:
        if moment.kind == "note":
            self.notes.append(moment.values["text"])
        if moment.kind == "step" and moment.step == self.stop:
            os.kill(os.getpid(), signal.SIGINT)

    def told(self, part: str) -> int:
        return sum(part in note for note in self.notes)


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def monitor(config: TrainConfig, setup: Setup | None = None) -> tuple[Monitor, Setup, list[str]]:
    setup, notes = setup or set_up(config), []
    return Monitor(config, setup, ALONE, lambda *, text: notes.append(text)), setup, notes


def test_what_is_seen_is_measured_told_and_kept(blind: TrainConfig) -> None:
    heard = Heard()
    run = fit(blind, watch=heard)
    last = rows(run.path)[-1]
    assert 1 <= last["effective_rank"] <= 15 and 0 <= last["neighbour_accuracy"] <= 1
    assert last["masked_error"] < last["guessing_error"]
    assert "alarm" not in last and not heard.told("collapse")
    assert heard.told("features before training: effective rank ") == 1
    assert b"effective_rank" in next((run.path / "tensorboard").glob("events*")).read_bytes()
    training = load(str(run.path), device="cpu").lineage["training"]
    assert training["before"].keys() == {"effective_rank", "neighbour_accuracy"}
    assert training["validation"]["effective_rank"] == run.measures["effective_rank"]


def test_a_resumed_run_has_seen_the_same(blind: TrainConfig, tmp_path: Path) -> None:
    fit(blind)
    stopped, heard = replace(blind, output=str(tmp_path / "stopped")), Heard()
    for heard.stop in (3, 14):
        with pytest.raises(Interrupted):
            fit(stopped, resume=True, watch=heard)
    heard.stop = None
    fit(stopped, resume=True, watch=heard)
    assert heard.told("features before training") == 1
    for name in ("metrics.jsonl", "best/config.json", "best/model.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_without_labels_there_are_no_neighbours(blind: TrainConfig, pictures: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(pictures.rglob("*.png"))):
        file.rename(flat / f"{number}.png")
    watcher, setup, notes = monitor(replace(blind, data=str(flat)))
    assert (len(watcher.queries), len(watcher.bank)) == (
        6,
        RANKED - 6,
    )  # six held out say too little of a rank
    measures: dict[str, float] = {}
    assert watcher.judge(setup.model, measures, Counters(), 4) == {}
    assert measures.keys() == {"effective_rank"} and not notes


def test_where_labels_are_learnt_nothing_is_looked_at(config: TrainConfig) -> None:
    heard = Heard()
    run = fit(replace(config, epochs=1), watch=heard)
    assert not heard.told("features") and "effective_rank" not in rows(run.path)[-1]
    watcher, _, _ = monitor(config)
    assert len(watcher.queries) == len(watcher.bank) == 0


def test_collapse_is_told_when_it_comes_and_when_it_is_over(blind: TrainConfig) -> None:
    watcher, setup, notes = monitor(blind)
    counters = Counters()
    watcher.begin(setup.model, counters)
    projection = setup.model.backbone.embed.patches.projection
    weights = projection.weight.detach().clone()
    with torch.no_grad():
        projection.weight.zero_()
    measures: dict[str, float] = {}
    for _ in range(2):
        said = watcher.judge(setup.model, measures, counters, 4)
        assert said["alarm"].startswith("collapse: the features of all pictures are the same")
    assert [note.startswith("collapse: ") for note in notes] == [False, True]
    assert measures["effective_rank"] == 1.0 and counters.alarm == "collapse"
    resumed, setup, more = monitor(blind, setup)
    with torch.no_grad():
        projection.weight.copy_(weights)
    assert resumed.judge(setup.model, measures, counters, 4) == {}
    assert more == ["collapse: over, nothing looks wrong any more"] and measures["effective_rank"] > 5
    assert resumed.judge(setup.model, measures, counters, 4) == {} and len(more) == 1


def test_features_that_training_makes_collapse_are_noticed(blind: TrainConfig) -> None:
    # So strong a decay halves every matrix at each step: soon the pictures have no say.
    heard = Heard()
    harsh = OptimizerConfig(learning_rate=1e-2, weight_decay=50.0, warmup=0.0, final=1.0)
    run = fit(replace(blind, optimizer=harsh, epochs=8), watch=heard)
    assert heard.told("collapse: the features of all pictures are the same") == 1
    assert "are the same" in str(rows(run.path)[-1]["alarm"])


def test_features_that_are_not_finite_end_no_run(blind: TrainConfig) -> None:
    watcher, setup, notes = monitor(blind)
    with torch.no_grad():
        setup.model.backbone.embed.patches.projection.weight.fill_(torch.inf)
    measures: dict[str, float] = {}
    said = watcher.judge(setup.model, measures, Counters(), 4)
    assert "the features of some pictures are not finite; try" in said["alarm"] and len(notes) == 1
    assert not measures


@pytest.mark.parametrize(
    ("measures", "done", "bad"),
    [
        ({"masked_error": 0.6, "guessing_error": 0.5}, 1.0, True),
        ({"masked_error": 0.6, "guessing_error": 0.5}, 0.2, False),  # it has not learnt for long
        ({"masked_error": 0.4, "guessing_error": 0.5}, 1.0, False),
        ({"masked_loss": 3.1, "guessing_loss": 3.0}, 0.5, True),
        ({"masked_accuracy": 0.6, "guessing_accuracy": 0.5}, 1.0, False),
        ({"masked_accuracy": 0.4, "guessing_accuracy": 0.5}, 1.0, True),
        # Averaged weights are soon right, and not sure yet.
        (
            {
                "masked_accuracy": 0.44,
                "masked_loss": 3.7,
                "guessing_accuracy": 0.2,
                "guessing_loss": 2.7,
            },
            1.0,
            False,
        ),
        ({"masked_error": 0.6}, 1.0, False),
        ({}, 1.0, False),
    ],
)
def test_no_better_than_guessing_is_a_bad_sign(measures: dict[str, float], done: float, bad: bool) -> None:
    assert (no_better_than_guessing(measures, done) is not None) == bad


def test_a_tokenizer_that_uses_few_codes_is_told_late_in_the_run(blind: TrainConfig) -> None:
    tokens = ModelChoice(name="dvae_tiny", image_size=12, options={"codes": 64, "groups": 3})
    watcher, setup, notes = monitor(replace(blind, model=tokens, task=TokenizerConfig()))
    counters = Counters()
    for perplexity, epoch, told in ((1.2, 0, 0), (1.2, 4, 1), (40.0, 4, 2)):
        watcher.every = 1
        said = watcher.judge(setup.model, {"code_perplexity": perplexity, "codes_used": 3.0}, counters, epoch)
        assert ("alarm" in said) == (told == 1) and len(notes) == told
    assert notes[0].startswith("few codes: tokens are hardly told apart")


@pytest.mark.parametrize("pictures_of_a_part", [(48, 16), (1293, 144), (5000, 600), (100_000, 50_000)])
@pytest.mark.parametrize("evaluate_every", [1, 5, 20])
def test_looks_cost_no_more_than_their_share(
    blind: TrainConfig, pictures_of_a_part: tuple[int, int], evaluate_every: int
) -> None:
    train, validation = (
        Collection("many", ("a", "b"), tuple(Sample(str(n), b"", n % 2) for n in range(count)))
        for count in pictures_of_a_part
    )
    config = replace(blind, evaluate_every=evaluate_every)
    setup = set_up(blind)._replace(train=train, validation=validation)
    watcher, _, _ = monitor(config, setup)
    looked = len(watcher.queries) + len(watcher.bank)
    trained = watcher.every * evaluate_every * len(train)
    assert looked <= MOST * trained
    assert len(watcher.bank) >= min(256, len(train)) and len(watcher.bank) <= 2000


def test_two_processes_share_a_look(blind: TrainConfig, tmp_path: Path) -> None:
    one = fit(replace(blind, epochs=1))
    settings = {
        "model.image_size": 12,
        "model.options": OPTIONS,
        "augment.crop": [0.6, 1.0],
        "augment.rand_augment": "null",
        "optimizer.learning_rate": 3e-3,
        "optimizer.betas": [0.9, 0.999],
        **{name: getattr(blind, name) for name in ("batch_size", "average", "workers", "device")},
        "epochs": 1,
        "evaluate_every": 2,
    }
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "vitreous", "train", blind.data, "--recipe", "mae", "--output", str(tmp_path / "two")),
        *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("features before training") == 1
    alone, together = rows(one.path)[-1], rows(tmp_path / "two")[-1]
    assert together["masked_error"] == pytest.approx(alone["masked_error"], rel=1e-3)
    assert together["effective_rank"] == pytest.approx(alone["effective_rank"], rel=1e-3)
    assert together["neighbour_accuracy"] == pytest.approx(alone["neighbour_accuracy"], abs=0.1)
