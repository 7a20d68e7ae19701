"""Pictures with several labels on the command line: evaluate, predict, explain, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import Run, tiny_predictor
from tests.cli.test_bad_input import refused
from vitreous.predictor import Predictor, load, save


@pytest.fixture
def predictor() -> Predictor:
    found = tiny_predictor()
    return Predictor(found.model, found.preprocess, found.classes, device="cpu", answers="several")


@pytest.fixture
def several(tmp_path: Path, predictor: Predictor) -> Path:
    save(predictor, tmp_path / "several")
    return tmp_path / "several"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty pictures that show any of two things."""
    generator = np.random.default_rng(0)
    lines = ["path,labels"]
    (tmp_path / "pics").mkdir()
    for index in range(40):
        pixels = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pics" / f"{index:02d}.png")
        lines.append(f"pics/{index:02d}.png,{('ant|bee', 'ant', 'bee', '')[index % 4]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "labels.csv"


def with_logits(predictor: Predictor, *logits: float) -> Predictor:
    """The same, which says the same of every picture."""
    with torch.no_grad():
        predictor.model.head.weight.zero_()
        predictor.model.head.bias.copy_(torch.tensor(logits))
    return predictor


def test_all_labels_above_one_half_are_told(run: Run, table: Path, predictor: Predictor) -> None:
    save(with_logits(predictor, 1.0, 2.0), "both")
    said = run("predict", "both", "pics/00.png")
    assert said.rows == [
        ["score", "class", "picture"],
        ["88.08%", "bee", "pics/00.png"],
        ["73.11%", "ant", "pics/00.png"],
    ]
    record = json.loads(run("predict", "both", "pics/00.png", "--json").out)
    assert (record["label"], record["labels"]) == ("bee", ["bee", "ant"])
    assert [row["score"] for row in record["top"]] == pytest.approx([0.8808, 0.7311], abs=1e-4)
    answer = load("both", device="cpu")("pics/00.png")
    assert (answer.label, answer.labels, answer.index) == ("bee", ("bee", "ant"), 1)


def test_where_none_is_above_one_half_the_likeliest_is_told(
    run: Run, table: Path, predictor: Predictor
) -> None:
    save(with_logits(predictor, -2.0, -1.0), "none")
    said = run("predict", "none", "pics/00.png")
    assert said.rows[1] == ["26.89%", "bee", "(none", "above", "50%)", "pics/00.png"]
    record = json.loads(run("predict", "none", "pics/00.png", "--json").out)
    assert (record["label"], record["labels"]) == ("bee", [])


def test_one_label_a_picture_is_told_as_ever(run: Run, model: Path, table: Path) -> None:
    record = json.loads(run("predict", model, "pics/00.png", "--json").out)
    assert set(record) == {"picture", "label", "score", "top"}
    assert load(model, device="cpu")("pics/00.png").labels == (record["label"],)


def test_evaluate_tells_average_precision_with_intervals(run: Run, several: Path, table: Path) -> None:
    said = run("evaluate", several, "labels.csv", "--output", "results")
    assert said.code == 0, said.err
    assert "mean average precision" in said.out
    assert "right in all classes" in said.out
    assert sum(row[:1] in (["ant"], ["bee"]) for row in said.rows) == 2
    assert "surest mistake: pics/" in said.out
    assert [path.name for path in Path("results").iterdir()] == ["scores.json"]
    found = json.loads(run("evaluate", several, "labels.csv", "--json").out)
    low, high = found["intervals"]["mean_average_precision"]
    assert 0 < low <= found["mean_average_precision"] <= high <= 1
    assert [row["support"] for row in found["per_class"]] == [20, 20]


def test_one_label_against_several_is_refused(
    run: Run, model: Path, several: Path, table: Path, pictures: Path
) -> None:
    refused(run("evaluate", model, "labels.csv"), "the model tells one class of each")
    refused(run("evaluate", several, "pictures"), "the model tells any number of classes")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["evaluate", "model", "labels.csv", "--neighbours"], "--neighbours needs exactly one"),
        (["advise", "labels.csv", "--budget", "60s"], "vitreous advise (it compares accuracies) needs"),
        (["train", "labels.csv", "--recipe", "probe", "--from", "model"], "a linear probe"),
        (
            ["train", "labels.csv", "--recipe", "distil", "--set", "task.teacher=model"],
            "distillation needs exactly one",
        ),
        (["train", "labels.csv", "--recipe", "scratch", "--set", "task.balance=sampling"], "sampling"),
    ],
)
def test_verbs_that_need_one_label_say_so(
    run: Run, model: Path, table: Path, arguments: list[str], wanted: str
) -> None:
    refused(run(*arguments), wanted)
    assert not Path("runs").exists()


def test_a_class_is_explained_and_the_page_tells_of_sigmoids(run: Run, several: Path, table: Path) -> None:
    said = run("explain", several, "pics/00.png", "--target", "ant")
    assert said.code == 0, said.err
    page = Path("report.html").read_text()
    assert "Sigmoid" in page
    assert "Softmax" not in page


def test_inspect_and_doctor_know_of_several(run: Run, several: Path, table: Path) -> None:
    assert "any number of classes a picture, a sigmoid each" in run("inspect", several).out
    said = run("doctor", "labels.csv")
    assert said.code == 0, said.out
    assert ["ant", "16", "2", "2"] in said.rows
