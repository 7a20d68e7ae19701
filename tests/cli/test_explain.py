"""``vitreous explain``: a page or a map, for the answer or for an asked class."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import CLASSES, Run
from vitreous.data.preprocess import Preprocess
from vitreous.models import catalog
from vitreous.predictor import Predictor, load, save

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


def saved(name: str) -> Path:
    """A catalog model with random weights, as a directory in the current one."""
    config = catalog.configure(name, classes=len(CLASSES))
    classes = CLASSES if config.classes else ()
    save(Predictor(catalog.build(config), Preprocess(size=config.image_size), classes, device="cpu"), "it")
    return Path("it")


EXPLAINED = ("vit_tiny", "deit_tiny", "beit_tiny", "dinov2_tiny", "dinov3_tiny")
REFUSED = [name for name in catalog.names("*tiny*") if name not in EXPLAINED]


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_family_on_a_plain_vit_is_explained(run: Run, pictures: Path, name: str) -> None:
    said = run("explain", saved(name), PICTURE)
    assert (said.code, said.err) == (0, "")
    assert Path("report.html").read_text().lower().startswith("<!doctype html>")
    for method in ("relevance", "rollout", "attention"):
        assert run("explain", "it", PICTURE, "--output", "map.png", "--method", method).code == 0


@pytest.mark.parametrize("name", [*REFUSED, "resnet_18"])
@pytest.mark.parametrize("output", ["report.html", "map.png"])
def test_every_other_family_is_refused_in_one_line(run: Run, pictures: Path, name: str, output: str) -> None:
    said = run("explain", saved(name), PICTURE, "--output", output)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1 and "wanted a classifier on a plain ViT" in said.err
    assert not Path(output).exists()


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
