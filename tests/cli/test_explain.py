"""``vitreous explain``: a page or a map, for the answer or for an asked class."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Run
from vitreous.predictor import load

PICTURE = "pictures/ant/00.png"


def test_a_page_in_one_file_is_written(run: Run, model: Path, pictures: Path) -> None:
    said = run("explain", model, PICTURE)
    assert (said.code, said.err) == (0, "")
    answer = load(model, device="cpu")(PICTURE)
    assert said.out.splitlines()[0].startswith(f"{PICTURE}: {answer.label} with ")
    assert said.out.splitlines()[1] == "wrote report.html"
    page = Path("report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "00.png" in page
    assert str(pictures.parent) not in page


@pytest.mark.parametrize("target", ["bee", "1"])
def test_an_asked_class_is_explained_by_name_or_index(
    run: Run, model: Path, pictures: Path, target: str
) -> None:
    found = json.loads(run("explain", model, PICTURE, "--target", target, "--json").out)
    assert (found["label"], found["index"]) == ("bee", 1)
    assert len(found["grid"]) == len(found["grid"][0]) == 2


@pytest.mark.parametrize("method", ["relevance", "rollout", "attention"])
def test_a_map_is_drawn_on_the_picture_itself(run: Run, model: Path, pictures: Path, method: str) -> None:
    assert run("explain", model, PICTURE, "--output", "map.png", "--method", method).code == 0
    with Image.open("map.png") as drawn, Image.open(PICTURE) as picture:
        assert drawn.size == picture.size


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([PICTURE, "--target", "be"], "did you mean 'bee'"),
        ([PICTURE, "--target", "7"], "no class 7; the model has 2"),
        ([PICTURE, "--method", "relevanc"], "did you mean 'relevance'"),
        ([PICTURE, "--output", "report.pdf"], "wanted a name that ends in .html or .png"),
        ([PICTURE, "--output", PICTURE], "the picture itself would be overwritten"),
        (["missing.png"], "missing.png: no such file"),
    ],
)
def test_bad_arguments_write_nothing(
    run: Run, model: Path, pictures: Path, arguments: list[str], wanted: str
) -> None:
    before = sorted(Path().rglob("*"))
    said = run("explain", model, *arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert wanted in said.err
    assert sorted(Path().rglob("*")) == before
