"""``vitreous evaluate`` of a model of ImageNet's classes on a folder that has some of them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Run, tiny_predictor, write_pictures
from vitreous.checkpoints.imagenet import class_list
from vitreous.evaluation import classification
from vitreous.predictor import save

NAMES = class_list("ImageNet-1k").names
FOLDERS = {"n02102040": 3, "n01440764": 4}  # English springer, tench


@pytest.fixture
def some(tmp_path: Path) -> Path:
    save(tiny_predictor(NAMES), tmp_path / "model")
    return write_pictures(tmp_path / "some", FOLDERS)


def test_it_is_said_and_only_the_classes_of_the_data_are_listed(run: Run, some: Path) -> None:
    said = run("evaluate", "model", "some")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[1] == (
        "the data has 2 of the model's 1,000 classes (ImageNet-1k); every score is over all 1,000"
    )
    table = said.out.split("\n\n")[2].splitlines()
    assert [line.split()[-1] for line in table[1:]] == ["4", "3"]
    assert [line.split("  ")[0] for line in table[1:]] == ["tench", "English springer"]
    assert any(row[:2] == ["top-5", "accuracy"] for row in said.rows)


def test_the_picture_of_the_confusion_has_the_classes_that_occur(run: Run, some: Path) -> None:
    assert run("evaluate", "model", "some", "--output", "results").code == 0
    result = json.loads(Path("results/scores.json").read_text())
    assert len(result["classes"]) == len(result["confusion"]) == 1000
    drawn = Path("results/confusion.svg").read_text()
    assert "English springer" in drawn and "great white shark" not in drawn
    with Image.open("results/confusion.png") as picture:
        assert max(picture.size) < 3000


def test_of_very_many_classes_there_is_no_picture_of_the_confusion(
    run: Run, some: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "CONFUSED", 999)
    assert run("evaluate", "model", "some", "--output", "results").code == 0
    assert [path.name for path in Path("results").iterdir()] == ["scores.json"]
    assert json.loads(Path("results/scores.json").read_text())["confusion"] is None


def test_a_folder_that_is_no_class_is_refused_with_its_name(run: Run, some: Path) -> None:
    write_pictures(some, {"my dog": 1})
    said = run("evaluate", "model", "some")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "1000 (tench, goldfish, " in said.err and "does not know 1 (my dog)" in said.err
