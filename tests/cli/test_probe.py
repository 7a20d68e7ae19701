"""``vitreous train --recipe probe``: from weights to a model that the other verbs understand."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, write_pictures
from vitreous.predictor import load


def test_a_probe_is_fitted_and_can_be_used(run: Run, model: Path, pictures: Path) -> None:
    said = run("train", "pictures", "--from", "model", "--recipe", "probe", "--output", "probe")
    assert said.code == 0, said.err
    assert said.out.startswith("fitted a linear probe in ")
    assert "a linear probe on 7 pictures, 16 numbers each: penalty " in said.err
    assert load("probe", device="cpu").lineage["training"]["tuned"] == "probe"
    assert json.loads(run("evaluate", "probe", "pictures", "--json").out)["data"]["part"] == "test"
    assert run("predict", "probe", "pictures/ant/00.png").code == 0
    assert run("explain", "probe", "pictures/ant/00.png", "--output", "page.html").code == 0
    assert "tuned probe" in run("inspect", "probe").out
    again = run("train", "--resume", "--output", "probe")
    assert again.code == 0
    assert "the probe in probe is finished" in again.err


def test_json_lines_hold_the_measures_and_the_run(run: Run, model: Path, pictures: Path) -> None:
    said = run("train", "pictures", "--from", "model", "--recipe", "probe", "--output", "probe", "--json")
    row, end = [json.loads(line) for line in said.out.splitlines()]
    assert (row["epoch"], row["step"]) == (1, 1)
    assert end["measures"]["accuracy"] == row["accuracy"]


@pytest.mark.parametrize(
    ("data", "options", "wanted"),
    [
        ("pictures", [], "--from SOURCE"),
        ("pictures", ["--from", "model", "--set=task.balance=sampling"], "task.balance=loss"),
        ("pictures/ant", ["--from", "model"], "only pictures without labels"),
        ("single", ["--from", "model"], "one class only, ant"),
        ("pictures", ["--from", "nowhere"], "nowhere: no such file or directory"),
        ("pictures", ["--from", "model", "--set=tuning.layer_decay=0.5"], "tuning.layer_decay"),
    ],
)
def test_what_cannot_be_probed_begins_nothing(
    run: Run, model: Path, pictures: Path, tmp_path: Path, data: str, options: list[str], wanted: str
) -> None:
    write_pictures(tmp_path / "single", {"ant": 6})
    before = sorted(tmp_path.rglob("*"))
    said = run("train", data, "--recipe", "probe", *options)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert sorted(tmp_path.rglob("*")) == before
