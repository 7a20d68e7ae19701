"""Annotated data at the command line: what is wrong is told at once, before anything else happens."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cli.conftest import Run
from tests.data.test_coco import WRONG, picture, spoilt, values, write


def test_training_is_refused_with_the_whole_list(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    write(tmp_path / "bad", spoilt(), count=5)
    said = run("train", "bad", "--output", "run")
    assert said.code == 2
    assert not (tmp_path / "run").exists()
    assert f"bad: {len(WRONG)} problems in the annotations; correct or remove them:" in said.err
    for _, text in WRONG:
        assert text in said.err


def test_the_doctor_counts_pictures_and_objects(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    write(tmp_path / "good", values())
    said = run("doctor", "good/annotations.json", "--json")
    found = json.loads(said.out)
    assert not any(finding["kind"].startswith("annotation") for finding in found["findings"])
    assert sum(counts["dog"] for counts in found["marked"].values()) == 2
    assert sum(counts["dog"] for counts in found["parts"].values()) == 1
    (tmp_path / "bad").mkdir()
    write(tmp_path / "bad", spoilt(), count=5)
    said = run("doctor", "bad")
    assert said.code == 1
    assert "error: 1 object of an unknown class" in said.out


def test_the_doctor_tells_all_that_is_odd_about_objects(run: Run, tmp_path: Path) -> None:
    told = values(12)
    told["annotations"] += [
        told["annotations"][1] | {"id": 50},
        {"id": 51, "image_id": 11, "bbox": [35, 20, 20, 5], "category_id": 9},
        {"id": 52, "image_id": 11, "bbox": [45, 20, 20, 5], "category_id": 9},
        {"id": 53, "image_id": 12, "bbox": [5, 20, 2, 5], "category_id": 9},
        {"id": 53, "image_id": 12, "bbox": [5, 20, 9, 5], "category_id": 9},
    ]
    root = tmp_path / "odd"
    write(root, told, count=12)
    for number in range(12):
        picture(root / f"{number}.png")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 30, 40, 3), dtype=np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(root / f"{number}.png")
    Image.fromarray(pixels[2]).save(root / "3.png")
    said = run("doctor", "odd")
    assert said.code == 1
    for line in (
        "error: 2 boxes outside the picture",
        "    annotations.json, annotation 51: box 35 20 55 25 is outside its picture of 40 x 30",
        "error: 1 case of an id or a picture told twice",
        "error: 1 picture marked in more than one way: keep one",
        "warning: 1 object marked twice",
        "warning: 1 object narrower than 4 pixels",
        "note: 10 pictures on which nothing is marked",
        "warning: 1 group of identical files",
    ):
        assert line in said.out, line
    findings = json.loads(run("doctor", "odd", "--json").out)["findings"]
    cases = {finding["kind"]: finding["cases"] for finding in findings}
    assert len(cases["nothing_marked"]) == 10 and len(cases["annotation_outside"]) == 2
    assert cases["repeated_object"] == ["0.png: dog"] and cases["tiny_object"] == ["2.png: cat, 2 x 5"]
    assert "2.png" in cases["contradiction"][0] and "3.png" in cases["contradiction"][0]


def test_copies_that_are_marked_alike_contradict_nothing(run: Run, tmp_path: Path) -> None:
    told = values(6)
    told["annotations"] = [
        {"id": number, "image_id": 10 + number, "bbox": [1, 2, 10, 5], "category_id": 9}
        for number in range(6)
    ]
    write(tmp_path / "alike", told, count=6)
    kinds = {one["kind"] for one in json.loads(run("doctor", "alike", "--json").out)["findings"]}
    assert "same_bytes" in kinds and "contradiction" not in kinds


def test_advice_is_for_pictures_with_labels(run: Run, tmp_path: Path) -> None:
    for data, told in (("scenes:detection", "objects are marked"), ("scenes:segmentation", "each pixel has")):
        said = run("advise", data, "--output", "advice.html")
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"vitreous: {data}: {told}") and said.err.count("\n") == 1
        assert not Path("advice.html").exists()
