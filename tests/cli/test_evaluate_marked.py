"""``vitreous evaluate`` on pictures with objects, or with a class for each pixel."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.conftest import Run, write_pictures
from tests.data.test_coco import picture, values, write
from tests.marked import SHAPES
from vitreous.cli.source_kind import wanted_by
from vitreous.data.folder import read_data
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.evaluate import evaluate
from vitreous.models import catalog
from vitreous.predictor import Predictor, load, save

OBJECTS, REGIONS = ("detr_vit_tiny", SHAPES), ("segformer_tiny", ("background", *SHAPES))


def tiny(name: str, classes: tuple[str, ...]) -> Predictor:
    """A small model with random weights."""
    torch.manual_seed(0)
    model = catalog.build(catalog.configure(name, classes=len(classes), image_size=64))
    return Predictor(model, Preprocess(size=(64, 64), shorter=None), classes, device="cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    save(tiny(*OBJECTS), root / "detector")
    save(tiny("detr_vit_tiny", ("cat", "dog", "cow")), root / "animals")
    save(tiny(*REGIONS), root / "segmenter")
    return root


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return write(tmp_path / "animals", values(6), count=6)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Scenes as pictures and masks on disk."""
    test = read_data("scenes:segmentation").test
    assert test is not None
    for folder in ("images", "masks"):
        (tmp_path / "shapes" / folder).mkdir(parents=True)
    for number, sample in enumerate(test.samples[:12]):
        sample.open().save(tmp_path / "shapes/images" / f"{number:02d}.png")
        Image.fromarray(sample.held_region()).save(tmp_path / "shapes/masks" / f"{number:02d}.png")
    (tmp_path / "shapes/classes.txt").write_text("\n".join(("background", *SHAPES)))
    return tmp_path / "shapes"


def test_the_twelve_figures_of_a_detector_are_printed(run: Run, models: Path, animals: Path) -> None:
    said = run("evaluate", models / "animals", "animals", "--split", "all")
    assert (said.code, said.err) == (0, "")
    result = evaluate(load(models / "animals", device="cpu"), "animals", split="all")
    assert said.out.startswith("6 pictures of animals, part all: asked for\n2 objects (1 crowds aside), ")
    assert "the data has 2 of the model's 3 classes; the others take no part in the means" in said.out
    lines = said.out.splitlines()
    figures = lines[lines.index("") + 2 :][:12]
    assert [line[:2] for line in figures] == ["AP"] * 6 + ["AR"] * 6
    assert figures[1].split()[3] == f"{100 * result['ap50']:.2f}%"
    assert ["cow", "none", "none", "none", "none", "0"] in said.rows
    assert "mistakes: " in said.out and "2 missed" in said.out
    assert run("evaluate", models / "animals", "animals", "--split", "all", "--json").out == (
        json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    )


def test_overlaps_of_a_segmenter_are_printed(run: Run, models: Path, shapes: Path) -> None:
    said = run("evaluate", models / "segmenter", "shapes", "--split", "all")
    assert (said.code, said.err) == (0, "")
    result = evaluate(load(models / "segmenter", device="cpu"), "shapes", split="all")
    assert said.out.startswith("12 pictures of shapes, part all: asked for\n49,152 pixels\n")
    low, high = (f"{100 * end:.2f}%" for end in result["intervals"]["mean_iou"])
    assert ["mean", "IoU", f"{100 * result['mean_iou']:.2f}%", low, "to", high] in said.rows
    assert f"boundary IoU               {100 * result['boundary_iou']:5.2f}%" in said.out
    assert [row[0] for row in said.rows if row and row[0] in SHAPES and len(row) >= 6]
    assert "taken for" in said.out and "worst picture: " in said.out


@pytest.mark.parametrize(
    ("model", "data", "figures"),
    [("animals", "animals", ("confusion", "precision")), ("segmenter", "shapes", ("confusion",))],
)
def test_scores_figures_and_a_page_are_written(
    run: Run, models: Path, animals: Path, shapes: Path, model: str, data: str, figures: tuple[str, ...]
) -> None:
    said = run("evaluate", models / model, data, "--split", "all", "--output", "there")
    assert said.code == 0, said.err
    files = {f"{name}.{suffix}" for name in figures for suffix in ("svg", "png")}
    assert {path.name for path in Path("there").iterdir()} == {*files, "scores.json", "gallery.html"}
    result = json.loads(Path("there/scores.json").read_text())
    assert result["says"] == ("objects" if model == "animals" else "regions")
    page = Path("there/gallery.html").read_text("utf-8")
    drawn = sum(len(rows) for rows in result["gallery"].values())
    assert drawn and page.count("<figure") == drawn and page.count("<img") == 2 * drawn
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == page.count("http-equiv")
    assert "wrote there/gallery.html" in said.out
    assert run("evaluate", models / model, data, "--split", "all", "--output", "there").code == 0


def test_windows_are_for_pixels_alone(run: Run, models: Path, animals: Path, shapes: Path) -> None:
    whole, some = (
        json.loads(run("evaluate", models / "segmenter", "shapes", "--json", *more).out)["confusion"]
        for more in ((), ("--window", "64"))
    )
    assert whole == some, "a window as large as the picture is the picture"
    said = run("evaluate", models / "animals", "animals", "--window", "32")
    assert (said.code, said.out) == (2, "")
    assert "a window is for models that tell the class of each pixel" in said.err


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        (
            "detector",
            "pictures",
            "pictures: its pictures have labels at most, no boxes and no masks",
        ),
        ("segmenter", "pictures", "give pictures with masks (ROOT/{images,masks}), or scenes:segmentation"),
        ("segmenter", "boxes", "boxes without masks; segmentation wants a class per pixel"),
        ("detector", "shapes", "it has a class for each pixel and no boxes; wanted boxes for detection"),
        ("detector", "animals", "the model knows 10 (circle, square"),
    ],
)
def test_data_that_does_not_fit_is_refused_in_one_line(
    run: Run, models: Path, animals: Path, shapes: Path, tmp_path: Path, model: str, data: str, told: str
) -> None:
    write_pictures(tmp_path / "pictures", {"circle": 3, "square": 3})
    bare = values(3)
    for one in bare["annotations"]:
        del one["segmentation"]
    write(tmp_path / "boxes", bare)
    said = run("evaluate", models / model, data)
    assert (said.code, said.out) == (2, "")
    assert told in said.err and said.err.count("\n") == 1


def test_a_classifier_is_not_judged_on_objects(run: Run, model: Path, animals: Path) -> None:
    said = run("evaluate", model, "animals")
    assert (said.code, said.out) == (2, "")
    assert "animals: objects are marked on its pictures, and the model tells what a whole picture" in said.err
    assert said.err.count("\n") == 1


def test_neighbours_are_refused_for_what_tells_no_classes_of_pictures(
    run: Run, models: Path, model: Path, animals: Path
) -> None:
    said = run("evaluate", models / "detector", "animals", "--neighbours")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("vitreous: --neighbours tells which class a whole picture shows")
    assert said.err.count("\n") == 1
    said = run("evaluate", model, "animals", "--neighbours")
    assert said.code == 2 and "objects are marked on its pictures" in said.err


def test_without_the_package_the_line_that_installs_it_is_all(
    run: Run, models: Path, animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    said = run("evaluate", models / "animals", "animals")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "vitreous: faster-coco-eval is not installed; run: pip install 'vitreous[detection]'\n"
    )


def test_what_is_wrong_with_the_data_is_said_before_torch_is_imported(
    models: Path, animals: Path, tmp_path: Path
) -> None:
    told = values(6)
    told["annotations"][0]["category_id"] = 99
    write(animals, told)
    script = (
        "import sys; from vitreous.cli import main; code = main(sys.argv[1:]);"
        " print(code, 'torch' in sys.modules)"
    )
    for wanted in ("detector", "segmenter"):
        done = subprocess.run(
            [sys.executable, "-c", script, "evaluate", str(models / wanted), "animals"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "2 False\n"
        assert "unknown category_id 99" in done.stderr


def test_scenes_are_read_as_what_the_model_says(run: Run, models: Path) -> None:
    assert wanted_by(str(models / "detector")) == "detection"
    assert wanted_by(str(models / "segmenter")) == "segmentation"
    assert wanted_by(str(models / "detector" / "model.safetensors")) == "detection"
    said = run("evaluate", models / "animals", "scenes")
    assert said.code == 2
    assert "the model knows 3 (cat, dog, cow), scenes has 10 (circle, square" in said.err


def test_what_is_no_configuration_is_left_to_its_reader(tmp_path: Path, model: Path) -> None:
    assert wanted_by(str(model)) is None
    assert wanted_by(str(tmp_path / "nowhere")) is None
    for text in (
        "{",
        "[]",
        '{"family": "detr"}',
        '{"family": ["detr"], "model": {}}',
        '{"architectures": 3}',
    ):
        (tmp_path / "config.json").write_text(text)
        assert wanted_by(str(tmp_path)) is None
    (tmp_path / "config.json").write_text('{"architectures": ["DetrForObjectDetection"]}')
    assert wanted_by(str(tmp_path)) == "detection"
    assert wanted_by(str(tmp_path / "model.safetensors")) == "detection"


def test_weights_that_do_not_say_what_they_are_are_judged_all_the_same(
    run: Run,
    models: Path,
    animals: Path,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = import_module("vitreous.cli.evaluate")
    monkeypatch.setattr(module, "wanted_by", lambda source: None)
    save(tiny("segformer_tiny", ("background", "dog", "cat")), tmp_path / "pets")
    for model, data in ((models / "segmenter", "shapes"), ("pets", "animals")):
        said = run("evaluate", model, data, "--split", "all", "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["says"] == "regions"


def test_a_name_of_a_picture_cannot_break_the_page(run: Run, models: Path, tmp_path: Path) -> None:
    hostile = "<b>x&y.png"
    told = values(6)
    told["images"][0]["file_name"] = hostile
    write(tmp_path / "bad", told, count=6)
    picture(tmp_path / "bad" / hostile)
    assert run("evaluate", models / "animals", "bad", "--split", "all", "--output", "there").code == 0
    page = Path("there/gallery.html").read_text("utf-8")
    assert hostile not in page and "&lt;b&gt;x&amp;y.png" in page
    assert not re.search(r"<script[^>]+src", page)
