"""``vitreous predict`` with a detector: lines, JSON, pictures with boxes, COCO's results."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitreous
from tests.cli.conftest import Run
from vitreous.data.preprocess import Preprocess
from vitreous.predictor import ObjectsAnswer, Predictor, load, save

CLASSES = ("ant", "bee", "cow")
FINDS = "detector finds objects"


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = vitreous.create("detr_vit_tiny", classes=3)
    with torch.no_grad():
        for part in (model.classify, model.locate):
            for parameter in part.parameters():
                parameter.normal_(0, 0.15)
        if getattr(model, "query_places", None) is not None:
            model.query_places.normal_(0, 3)
    prepare = Preprocess(size=(64, 64), shorter=48, longest=80)
    save(Predictor(model, prepare, CLASSES, device="cpu"), tmp_path / "detector")
    return tmp_path / "detector"


def answers_of(detector: Path, names: list[str], threshold: float) -> list[ObjectsAnswer]:
    predictor = load(detector, device="cpu")
    found = [predictor(name, threshold=threshold) for name in names]
    assert all(isinstance(answer, ObjectsAnswer) for answer in found)
    return found  # type: ignore[return-value]


NAMES = ["pictures/ant/00.png", "pictures/bee/01.png"]


def test_a_line_has_one_object(run: Run, detector: Path, pictures: Path) -> None:
    said = run("predict", detector, *NAMES, "--threshold", "0.2")
    assert (said.code, said.err) == (0, "")
    assert said.rows[0] == ["score", "class", "x0", "y0", "x1", "y1", "picture"]
    wanted = [
        [f"{100 * score:.2f}%", label, *(f"{side:.1f}" for side in box), name]
        for name, answer in zip(NAMES, answers_of(detector, NAMES, 0.2), strict=True)
        for label, score, box in zip(answer.labels, answer.scores, answer.boxes, strict=True)
    ]
    assert len(wanted) > 2
    # Of equally sure ones the order may differ between one picture and two.
    assert sorted(row[1:2] + row[6:] for row in said.rows[1:]) == sorted(row[1:2] + row[6:] for row in wanted)
    assert [row[0] for row in said.rows[1:]] == [row[0] for row in wanted]


def test_a_picture_without_objects_has_a_line_too(run: Run, detector: Path, pictures: Path) -> None:
    said = run("predict", detector, *NAMES, "--threshold", "1")
    assert said.rows[1:] == [["-", "none", "above", "100%", "-", "-", "-", "-", name] for name in NAMES]
    found = [
        json.loads(line)
        for line in run("predict", detector, *NAMES, "--threshold", "1", "--json").out.splitlines()
    ]
    assert found == [{"picture": name, "width": 10, "height": 12, "objects": []} for name in NAMES]


def test_json_has_boxes_in_source_pixels(run: Run, detector: Path, pictures: Path) -> None:
    Image.new("L", (200, 30), 90).save(pictures / "wide.jpg")
    (pictures / "bad.png").write_bytes(b"no picture")
    said = run(
        "predict", detector, "pictures/wide.jpg", "pictures/bad.png", NAMES[0], "--json", "--threshold", "0"
    )
    assert said.code == 1
    wide, bad, small = (json.loads(line) for line in said.out.splitlines())
    assert bad == {"picture": "pictures/bad.png", "error": bad["error"]}
    assert (wide["width"], wide["height"]) == (200, 30) and (small["width"], small["height"]) == (10, 12)
    alone = answers_of(detector, ["pictures/wide.jpg"], 0)[0]
    assert [one["label"] for one in wide["objects"]] == list(alone.labels)
    for one, score, box in zip(wide["objects"], alone.scores, alone.boxes, strict=True):
        assert one["score"] == pytest.approx(float(score), abs=1e-4)
        assert one["box"] == pytest.approx(box.tolist(), abs=0.05)
    assert said.err.splitlines()[-1] == "vitreous: 1 of 3 pictures could not be read"


def test_drawn_pictures_take_no_name_twice_and_may_be_made_again(
    run: Run, detector: Path, pictures: Path
) -> None:
    (pictures / "bad.png").write_bytes(b"no picture")
    given = [NAMES[0], "pictures/bee/00.png", "pictures/bad.png"]
    for _ in range(2):
        said = run("predict", detector, *given, "--output", "drawn", "--json", "--threshold", "0")
        assert said.code == 1
        found = [json.loads(line) for line in said.out.splitlines()]
        assert [one.get("output") for one in found] == [["drawn/00.png"], ["drawn/00-2.png"], None]
        assert sorted(path.name for path in Path("drawn").iterdir()) == ["00-2.png", "00.png"]
    with Image.open("drawn/00.png") as drawn, Image.open(NAMES[0]) as source:
        factor = drawn.width // source.width
        assert drawn.size == (10 * factor, 12 * factor) and max(drawn.size) >= 480
        plain = source.convert("RGB").resize(drawn.size, Image.Resampling.NEAREST)
        changed = (np.asarray(drawn) != np.asarray(plain)).any(-1)
    assert 0 < changed.mean() < 0.9
    said = run("predict", detector, NAMES[0], "--output", "drawn")
    assert said.out.splitlines()[-1] == "wrote drawn"


def test_nothing_foreign_and_no_input_is_written_over(run: Run, detector: Path, pictures: Path) -> None:
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    said = run("predict", detector, "pictures/ant", "--output", "pictures/ant")
    assert said.code == 2 and "the picture itself would be overwritten" in said.err
    Path("drawn").mkdir()
    Image.new("RGB", (4, 4)).save("drawn/03.png")
    said = run("predict", detector, "pictures/ant", "--output", "drawn")
    assert said.code == 2 and "drawn/03.png: vitreous did not make this file" in said.err
    assert [path.name for path in Path("drawn").iterdir()] == ["03.png"]
    assert {path: path.read_bytes() for path in pictures.rglob("*.png")} == before
    # Drawn ones are pictures as well, and as such not written over.
    assert run("predict", detector, NAMES[0], "--output", "mine").code == 0
    said = run("predict", detector, "mine", "--output", "mine")
    assert said.code == 2 and "mine/00.png: the picture itself" in said.err


def test_coco_results_are_read_with_the_file_beside_them(run: Run, detector: Path, pictures: Path) -> None:
    tools = pytest.importorskip("faster_coco_eval")
    (pictures / "bad.png").write_bytes(b"no picture")
    said = run(
        "predict", detector, "pictures/bad.png", *NAMES, "--output", "found.json", "--threshold", "0.1"
    )
    assert said.code == 1
    assert said.out.splitlines()[-2:] == ["wrote found.json", "wrote found.images.json"]
    rows = json.loads(Path("found.json").read_text())
    answers = answers_of(detector, NAMES, 0.1)
    assert len(rows) == sum(len(answer.labels) for answer in answers) > 0
    assert {row["image_id"] for row in rows} == {2, 3}
    for number, answer in zip((2, 3), answers, strict=True):
        own = [row for row in rows if row["image_id"] == number]
        assert [row["score"] for row in own] == pytest.approx(answer.scores.tolist(), abs=1e-4)
        assert sorted(row["category_id"] for row in own) == sorted(answer.indices.tolist())
        left, top, width, height = own[0]["bbox"]
        near = np.abs(answer.boxes - [left, top, left + width, top + height]).max(axis=1)
        assert near.min() < 0.02
    data = tools.COCO("found.images.json")
    assert [(one["file_name"], one["width"], one["height"]) for one in data.dataset["images"]] == [
        (name, 10, 12) for name in NAMES
    ]
    assert len(data.loadRes("found.json").anns) == len(rows)
    assert run("predict", detector, *NAMES, "--output", "found.json", "--threshold", "1").code == 0
    assert json.loads(Path("found.json").read_text()) == []
    assert run("predict", detector, *NAMES, "--output", "found.json").code == 0


def test_results_take_the_ids_of_a_data_set(run: Run, detector: Path, pictures: Path) -> None:
    truth = {
        "images": [{"id": 70, "file_name": "ant/00.png"}, {"id": 71, "file_name": "elsewhere/01.png"}],
        "categories": [{"id": 9, "name": "cow"}, {"id": 3, "name": "bee"}, {"id": 5, "name": "ant"}],
    }
    Path("truth.json").write_text(json.dumps(truth))
    given = ["--output", "found.json", "--threshold", "0", "--ids", "truth.json"]
    assert run("predict", detector, *NAMES, *given).code == 0
    rows = json.loads(Path("found.json").read_text())
    assert {row["image_id"] for row in rows} == {70, 71}
    labels = answers_of(detector, NAMES, 0)
    wanted = sorted({"ant": 5, "bee": 3, "cow": 9}[label] for answer in labels for label in answer.labels)
    assert sorted(row["category_id"] for row in rows) == wanted
    said = run("predict", detector, "pictures/ant/02.png", *given)
    assert (
        said.code == 2
        and "pictures/ant/02.png: the data set whose ids are wanted has no such picture" in said.err
    )
    truth["categories"].pop()
    Path("truth.json").write_text(json.dumps(truth))
    said = run("predict", detector, *NAMES, *given)
    assert said.code == 2 and "has no category 'ant'" in said.err
    said = run("predict", detector, *NAMES, "--output", "truth.json", "--ids", "truth.json")
    assert said.code == 2 and "the data set itself would be overwritten" in said.err
    Path("truth.json").write_text("[1]")
    said = run("predict", detector, *NAMES, *given)
    assert said.code == 2 and "truth.json: no COCO data set" in said.err


def test_names_from_standard_input_are_drawn_too(
    run: Run, detector: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(NAMES)))
    assert run("predict", detector, "-", "--output", "drawn").code == 0
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["00.png", "01.png"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--top", "3"], f"--top is for a model that says which class a whole picture shows; {FINDS}"),
        (["--window", "32"], f"--window is for a model that tells the class of each pixel; {FINDS}"),
        (["--masks", "--json"], f"--masks is for a model that tells the class of each pixel; {FINDS}"),
        (["--masks"], "--masks goes into JSON; give --json, or --output for a folder of maps"),
        (["--ids", "truth.json"], "--ids is for COCO results; give --output NAME.json too"),
        (["--output", "one.png"], "one.png: wanted a folder for pictures, or a name that ends in .json"),
        (
            ["--output", "pictures/ant/00.png"],
            "pictures/ant/00.png: a file; wanted a folder for pictures, or the name of a .json file",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    run: Run, detector: Path, pictures: Path, arguments: list[str], wanted: str
) -> None:
    said = run("predict", "detector", NAMES[0], *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"vitreous: {wanted}\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["--threshold", "0.3"],
            "--threshold is for a model that finds objects; model says which class a whole",
        ),
        (["--window", "32"], "--window is for a model that tells the class of each pixel; model says"),
        (
            ["--output", "drawn"],
            "--output is for a model that finds objects or tells the class of each pixel; model",
        ),
    ],
)
def test_a_classifier_has_no_use_for_them(
    run: Run, model: Path, pictures: Path, arguments: list[str], wanted: str
) -> None:
    said = run("predict", "model", NAMES[0], *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert wanted in said.err
    assert not Path("drawn").exists()
