"""``vitreous train DATA``, and nothing else: what is chosen, what is said, and what wins over it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run
from vitreous.cli.chosen import leaves_open
from vitreous.training import foreseen


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreseen, "BUDGET", 0.0)
    monkeypatch.setattr(foreseen, "ROUNDS", 2)


def configuration(run: str) -> dict[str, object]:
    return dict(json.loads((Path(run) / "config.json").read_text()))


def test_a_run_is_chosen_told_and_gone_on_with(run: Run, pictures: Path) -> None:
    said = run("train", "pictures", "--set=epochs=1", "--set=workers=0", "--set=track=none")
    assert said.code == 0, said.err
    first, second, third, fourth = said.err.splitlines()[:4]
    assert first.startswith("chosen: vit_tiny, 64 wide and 4 deep, at ")
    assert second.startswith("1 epoch in batches of 8; views may be mirrored (--set augment.flip=0")
    assert third.startswith("few pictures to learn from scratch")
    assert "vitreous advise pictures" in third
    assert fourth.startswith("expected: ") and " GiB of memory" in fourth
    model = configuration("runs/pictures")["model"]
    assert isinstance(model, dict)
    assert model["options"]["stem"] == "conv"
    # Without a word about the model: the run knows which one it has.
    again = run("train", "pictures", "--resume")
    assert again.code == 0, again.err
    assert "chosen" not in again.err
    other = run("train", "pictures", "--resume", "--set=epochs=2")
    assert other.code == 2
    assert "epochs=1 (now 2)" in other.err


def test_what_is_said_wins(run: Run, pictures: Path) -> None:
    settings = (
        "--set=epochs=1",
        "--set=workers=0",
        "--set=model.image_size=12",
        "--set=model.options.patch=4",
    )
    said = run("train", "pictures", *settings, "--set=model.options.width=16", "--set=augment.flip=0")
    assert said.code == 0, said.err
    assert "chosen: vit_tiny, 16 wide and 4 deep, at 12x12 pixels in 3x3 patches" in said.err
    assert "never mirrored" in said.err


@pytest.mark.parametrize(
    "explicit",
    [("--model=vit_tiny",), ("--recipe=scratch", "--model=vit_tiny"), ("--set=model.name=resnet_18",)],
)
def test_an_explicit_model_or_recipe_leaves_nothing_to_choose(
    run: Run, pictures: Path, explicit: tuple[str, ...]
) -> None:
    size = ("--set=model.image_size=16", "--set=model.options={}", "--set=epochs=1", "--set=workers=0")
    said = run("train", "pictures", *explicit, *size)
    assert said.code == 0, said.err
    assert "chosen" not in said.err
    assert "expected" not in said.err


def test_pictures_alone_are_pretrained_on(run: Run, tmp_path: Path) -> None:
    flat = Path("flat")
    flat.mkdir()
    random = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(random.integers(0, 255, (16, 16), dtype=np.uint8)).save(flat / f"{number:02d}.png")
    said = run("train", "flat", "--set=epochs=1", "--set=workers=0")
    assert said.code == 0, said.err
    assert "chosen: a masked autoencoder, mae_tiny" in said.err
    assert "grey pictures of about 16 pixels without labels" in said.err
    assert configuration("runs/flat")["task"] == {"kind": "masked_autoencoding"}


def test_too_many_at_a_time_for_memory_are_taken_in_parts(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitreous.training.forecast.Forecast.most_at_once", lambda self, free: 2)
    said = run("train", "pictures", "--set=epochs=1", "--set=workers=0")
    assert said.code == 0, said.err
    assert "7 pictures at a time do not fit into memory: 2 are taken, a batch stays" in said.err
    assert configuration("runs/pictures")["micro_batch"] == 2


def test_json_has_no_sentences(run: Run, pictures: Path) -> None:
    said = run("train", "pictures", "--json", "--set=epochs=1", "--set=workers=0")
    assert said.code == 0, said.err
    assert "chosen" not in said.out + said.err
    assert all(json.loads(line) for line in said.out.splitlines())


def test_bad_input_is_said_before_anything_is_chosen(run: Run, pictures: Path) -> None:
    Path("runs/pictures").mkdir(parents=True)
    Path("runs/pictures/notes.txt").write_text("mine")
    said = run("train", "pictures")
    assert said.code == 2
    assert said.err == (
        "vitreous: runs/pictures is not empty; give another --output, or --resume to go on with its run\n"
    )
    shutil.rmtree("runs")
    assert "unknown key 'epoch'" in run("train", "pictures", "--set=epoch=2").err
    assert "no such file or folder" in run("train", "nowhere").err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("data", "settings", "is_open"),
    [
        ("pictures", (), True),
        ("pictures", ("epochs=3", "model.image_size=32", "task.smoothing=0"), True),
        ("pictures", (" model.name =vit_s_16",), False),
        ("pictures", ("task.kind=distillation",), False),
        ("pictures", ("model={name: vit_tiny}",), False),
        ("digits", (), False),
    ],
)
def test_what_leaves_the_model_open(data: str, settings: tuple[str, ...], is_open: bool) -> None:
    assert leaves_open(data, settings) is is_open
