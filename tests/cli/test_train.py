"""``vitreous train``: from a folder to a run that the other verbs understand."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Said
from vitreous.predictor import load

SMALL = (
    "--model=vit_tiny",
    "--set=model.image_size=8",
    "--set=model.options={width: 16, depth: 1, heads: 2}",
    "--set=epochs=2",
    "--set=batch_size=4",
    "--set=workers=0",
    "--set=augment.rand_augment=null",
)


def train(run: Run, *arguments: object) -> Said:
    return run("train", "pictures", *SMALL, *arguments)


def test_a_run_is_trained_and_can_be_used(run: Run, pictures: Path) -> None:
    said = train(run)
    assert said.code == 0, said.err
    assert said.out.startswith("trained 2 epochs in ")
    assert "vitreous evaluate runs/pictures pictures" in said.out
    assert "epoch 2 of 2: loss " in said.err
    assert load("runs/pictures", device="cpu").classes == ("ant", "bee")
    result = json.loads(run("evaluate", "runs/pictures", "pictures", "--json").out)
    assert result["data"]["part"] == "test"
    assert run("predict", "runs/pictures", "pictures/ant/00.png").code == 0


def test_json_lines_hold_every_measure_and_the_run(run: Run, pictures: Path) -> None:
    said = train(run, "--json", "--output", "there")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["epoch"] for row in rows[:-1]] == [1, 2]
    assert rows[-1]["run"] == "there"
    assert rows[-1]["measures"]["accuracy"] == pytest.approx(
        max(row["accuracy"] for row in rows[:-1]), abs=1e-9
    )


def test_another_run_is_never_overwritten(run: Run, pictures: Path) -> None:
    assert train(run).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    said = train(run)
    assert said.code == 2
    assert said.err == (
        "vitreous: runs/pictures is not empty; give another --output, or --resume to go on with its run\n"
    )
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before


def test_a_finished_run_is_resumed_without_its_data_being_named(run: Run, pictures: Path) -> None:
    assert train(run).code == 0
    weights = Path("runs/pictures/best/model.safetensors").read_bytes()
    said = run("train", "--resume", "--output", "runs/pictures")
    assert said.code == 0, said.err
    assert Path("runs/pictures/best/model.safetensors").read_bytes() == weights


def test_another_configuration_is_not_resumed(run: Run, pictures: Path) -> None:
    assert train(run).code == 0
    said = train(run, "--resume", "--set=optimizer.learning_rate=0.5")
    assert said.code == 2
    assert "optimizer.learning_rate=" in said.err
    assert "resume without changes" in said.err


def test_weights_can_be_gone_on_with(run: Run, model: Path, pictures: Path) -> None:
    said = run(
        "train", "pictures", "--from", "model", "--output", "tuned", "--set=epochs=1", "--set=workers=0"
    )
    assert said.code == 0, said.err
    assert load("tuned", device="cpu").lineage["from"]["source"] == "model"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "what to train on? give DATA"),
        (["--resume"], "--resume with --output RUN"),
        (["--resume", "--output", "pictures"], "no run to resume is there"),
        (["--resume", "--output", "pictures", "--model", "vit_tiny"], "leave out --model"),
        (["pictures", "--model", "vit_tiny", "--from", "model"], "give one of the two"),
        (["pictures", "--set", "epochs"], "--set wants key=value"),
        (["pictures", "--set", "epochs=many"], "epochs: wanted int, got 'many'"),
        (["pictures", "--set", "model.options.widht=3"], "did you mean 'width'"),
        (["pictures", "--recipe", "digit"], "did you mean 'digits'"),
        (["pictures", "--set", "device=abacus"], "unknown device 'abacus'"),
    ],
)
def test_what_makes_no_sense_begins_nothing(
    run: Run, model: Path, pictures: Path, arguments: list[str], wanted: str
) -> None:
    before = sorted(Path().rglob("*"))
    said = run("train", *arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert sorted(Path().rglob("*")) == before
