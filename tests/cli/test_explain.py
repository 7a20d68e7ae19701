"""``vitreous explain``: a page or a map, for the answer or for an asked class."""

import json
from pathlib import Path

import pytest
import torch
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
    prepare = Preprocess(size=config.image_size, shorter=None)
    save(Predictor(catalog.build(config), prepare, classes, device="cpu"), "it")
    return Path("it")


DETECTORS = ("detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny", "yolos_tiny")
SEGMENTERS = ("segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny", "beit_tiny_upernet")
EXPLAINED = ("vit_tiny", "deit_tiny", "beit_tiny", "dinov2_tiny", "dinov3_tiny")
KNOWN = (*DETECTORS, *SEGMENTERS, *EXPLAINED)
REFUSED = [name for name in catalog.names("*tiny*") if name not in KNOWN]


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


@pytest.mark.parametrize("name", DETECTORS)
def test_objects_are_explained_one_by_one(run: Run, pictures: Path, name: str) -> None:
    said = run("explain", saved(name), PICTURE, "--threshold", 0, "--target", 2)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0].startswith(f"{PICTURE}: object 2, ")
    page = Path("report.html").read_text()
    assert "What the model found in 00.png" in page and page.count('class="box"') > 2
    for method in ("relevance", "attention", "gradient"):
        arguments = ("--threshold", 0, "--method", method, "--output", "map.png", "--json")
        told = json.loads(run("explain", "it", PICTURE, *arguments).out)
        assert told["method"] == method and told["way"] and told["number"] == 0 and len(told["box"]) == 4
        with Image.open("map.png") as drawn, Image.open(PICTURE) as picture:
            assert drawn.size == picture.size


@pytest.mark.parametrize("name", SEGMENTERS)
def test_places_and_regions_are_explained(run: Run, pictures: Path, name: str) -> None:
    said = run("explain", saved(name), PICTURE, "--point", "3,4")
    assert (said.code, said.err) == (0, "")
    assert " at 3,4" in said.out.splitlines()[0]
    page = Path("report.html").read_text()
    assert "What the model sees where in 00.png" in page
    for method in ("relevance", "gradient"):
        arguments = ("--method", method, "--output", "map.png", "--json")
        told = json.loads(run("explain", "it", PICTURE, *arguments).out)
        assert told["method"] == method and told["at"] is None and told["label"] in CLASSES
        with Image.open("map.png") as drawn, Image.open(PICTURE) as picture:
            assert drawn.size == picture.size
    both = json.loads(run("explain", "it", PICTURE, "--point", "9,11", "--target", "bee", "--json").out)
    assert (both["at"], both["label"], both["index"]) == ([9, 11], "bee", 1)


def test_a_page_says_plainly_that_nothing_was_found(run: Run, pictures: Path) -> None:
    said = run("explain", saved("detr_resnet_tiny"), PICTURE, "--threshold", "0.999")
    assert (said.code, said.err) == (0, "")
    assert f"{PICTURE}: nothing was found above 0.999; the surest is " in said.out
    assert "Nothing was found" in Path("report.html").read_text()
    told = json.loads(run("explain", "it", PICTURE, "--threshold", "0.999", "--json").out)
    assert told["found"] == 0


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        (
            "detr_resnet_tiny",
            ["--threshold", "0.999", "--output", "map.png"],
            "nothing was found above 0.999",
        ),
        ("detr_resnet_tiny", ["--threshold", "0.999", "--target", "ant"], "nothing was found above 0.999"),
        ("detr_resnet_tiny", ["--threshold", "0", "--target", "99"], "no object 99; 16 objects were found"),
        ("detr_resnet_tiny", ["--threshold", "0", "--target", "be"], "did you mean 'bee'"),
        (
            "detr_resnet_tiny",
            ["--threshold", "0", "--point", "10,3"],
            "the point 10,3 is outside the picture",
        ),
        ("detr_resnet_tiny", ["--method", "rollout"], "'rollout' is not for a model that tells objects"),
        ("detr_resnet_tiny", ["--threshold", "2"], "threshold"),
        ("segformer_tiny", ["--point", "3,12"], "wanted x from 0 to 9 and y from 0 to 11"),
        ("segformer_tiny", ["--point", "3"], "--point '3': wanted X,Y in pixels of the picture"),
        ("segformer_tiny", ["--point=-1,3"], "--point '-1,3': wanted X,Y"),
        ("segformer_tiny", ["--target", "cat"], "unknown class 'cat'"),
        ("segformer_tiny", ["--method", "attention"], "wanted relevance or gradient"),
        ("vit_tiny", ["--point", "3,4"], "a classifier tells what the whole picture shows"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    run: Run, pictures: Path, name: str, arguments: list[str], wanted: str
) -> None:
    source = saved(name)
    before = sorted(Path().rglob("*"))
    said = run("explain", source, PICTURE, *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.count("\n") == 1 and wanted in said.err
    assert sorted(Path().rglob("*")) == before


def test_a_class_that_no_place_has_is_said(run: Run, pictures: Path) -> None:
    config = catalog.configure("segformer_tiny", classes=len(CLASSES))
    model = catalog.build(config)
    with torch.no_grad():
        model.head.classify.bias[:] = torch.tensor([9.0, -9.0])
    save(Predictor(model, Preprocess(size=config.image_size), CLASSES, device="cpu"), "it")
    said = run("explain", "it", PICTURE, "--target", "bee")
    assert said.code == 2 and said.err.count("\n") == 1
    assert "no place is told to be 'bee'; the picture shows 'ant'" in said.err
