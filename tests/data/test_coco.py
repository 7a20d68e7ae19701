import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vitreous.data.annotation import Rle
from vitreous.data.folder import read_data
from vitreous.data.problems import Problems
from vitreous.errors import DataError

WIDTH, HEIGHT = 40, 30


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) * 7 % 256, 90, 30)).save(path)


def values(count: int = 3) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:15, 10:30] = True
    rle = Rle.of(mask)
    told = [
        {"bbox": [1, 2, 10, 5], "segmentation": [[1, 2, 11, 2, 11, 7, 1, 7]], "area": 50, "category_id": 9},
        {
            "bbox": [10, 5, 20, 10],
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.compressed().decode()},
            "category_id": 2,
        },
        {
            "bbox": [10, 5, 20, 10],
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": list(rle.runs())},
            "category_id": 2,
            "iscrowd": 1,
        },
    ]
    return {
        "images": [
            {"id": 10 + n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(count)
        ],
        "annotations": [{"id": n, "image_id": 10} | one for n, one in enumerate(told)],
        "categories": [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write(root: Path, told: Any, *, name: str = "annotations.json", count: int = 3) -> Path:
    for number in range(count):
        picture(root / f"{number}.png")
    text = told if isinstance(told, str) else json.dumps(told)
    (root / name).write_text(text)
    return root


def test_boxes_masks_and_crowds_are_read(tmp_path: Path) -> None:
    splits = read_data(write(tmp_path, values()))
    parts = [part for part in splits[:3] if part is not None]
    assert sum(len(part) for part in parts) == 3
    assert all(part.detects and part.classes == ("dog", "cat") for part in parts)
    (sample,) = [one for part in parts for one in part.samples if one.name == "0.png"]
    objects = sample.held_objects()
    assert objects is not None and objects.masks is not None
    assert objects.boxes.tolist() == [[1, 2, 11, 7], [10, 5, 30, 15], [10, 5, 30, 15]]
    assert objects.labels.tolist() == [1, 0, 0]
    assert objects.crowd.tolist() == [False, False, True]
    assert objects.areas.tolist() == [50, 200, 200]
    assert [mask.area() for mask in objects.masks] == [50, 200, 200]
    assert "nothing is marked on 2 pictures" in splits.how
    assert all(one.open().size == (WIDTH, HEIGHT) for part in parts for one in part.samples)
    assert parts[0].fingerprint() == read_data(tmp_path)[[*splits].index(parts[0])].fingerprint()


def test_the_layout_of_coco_itself(tmp_path: Path) -> None:
    for part in ("train2017", "val2017"):
        for number in range(3):
            picture(tmp_path / part / f"{number}.png")
    other = values()
    other["categories"] = [{"id": 4, "name": "dog"}, {"id": 5, "name": "cat"}]
    for one in other["annotations"]:
        one["category_id"] = 5
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(values()))
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(other))
    (tmp_path / "annotations" / "captions_val2017.json").write_text(json.dumps(values()))
    splits = read_data(tmp_path)
    assert splits.train is not None and splits.validation is not None and splits.test is None
    objects = splits.validation.samples[0].held_objects()
    assert objects is not None and objects.labels.tolist() == [1, 1, 1], "by name, whatever the ids are"
    assert "parts as given" in splits.how


def test_masks_can_be_asked_for_as_a_map_of_classes(tmp_path: Path) -> None:
    splits = read_data(write(tmp_path, values()), wanted="segmentation")
    (sample,) = [one for part in splits[:3] if part for one in part.samples if one.name == "0.png"]
    assert splits.train is not None and splits.train.classes == ("background", "dog", "cat")
    region = sample.held_region()
    assert region is not None and region.shape == (HEIGHT, WIDTH)
    assert region[3, 3] == 2 and region[10, 20] == 1 and region[25, 5] == 0
    with pytest.raises(DataError, match="has boxes without masks"):
        told = values()
        del told["annotations"][0]["segmentation"]
        read_data(write(tmp_path, told), wanted="segmentation")


def spoilt() -> dict[str, Any]:
    """One of every kind of trouble."""
    told = values(5)
    told["images"][3]["file_name"] = "gone.png"
    told["images"][4]["width"] = WIDTH + 1
    told["images"].append(dict(told["images"][0]))
    box = {"bbox": [1, 1, 5, 5], "category_id": 2, "image_id": 10}
    told["annotations"] += [
        box | {"id": 20, "category_id": 77},
        box | {"id": 21, "bbox": [1, 1, 0, 5]},
        box | {"id": 22, "bbox": [100, 1, 5, 5]},
        box | {"id": 23, "bbox": [1, 1, "a", 5]},
        box | {"id": 24, "segmentation": {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}},
        box | {"id": 25, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [3]}},
        box | {"id": 26, "segmentation": [[1, 2, 3]]},
        box | {"id": 27, "image_id": 999},
        box | {"id": 21},
    ]
    return told


WRONG = (
    ("annotation_missing", "gone.png: no such file"),
    ("annotation_size", "4.png: annotations.json says 41 x 30 pixels, the picture has 40 x 30"),
    ("annotation_duplicate", "annotations.json: image 10, 0.png: its id or file_name comes twice"),
    ("annotation_category", "annotations.json, annotation 20: unknown category_id 77"),
    ("annotation_area", "annotations.json, annotation 21: box 1 1 1 6 has no area"),
    ("annotation_outside", "annotation 22: box 100 1 105 6 is outside its picture of 40 x 30"),
    ("annotation_value", "annotation 23: bbox is [1, 1, 'a', 5]; wanted left, top, width, height"),
    ("annotation_mask", "annotation 24: its mask is 30 x 40 pixels, the picture 40 x 30"),
    ("annotation_mask", "annotation 25: run lengths for 3 pixels, but the mask is 40 x 30"),
    ("annotation_value", "annotation 26: a polygon wants x y x y x y ..., three points or more"),
    ("annotation_missing", "annotation 27: no image has the id 999"),
    ("annotation_duplicate", "annotation 21: its id comes twice"),
)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, spoilt(), count=5)
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"{len(WRONG)} problems in the annotations; correct or remove them:")
    assert len(lines) == 1 + len(WRONG)
    problems = Problems()
    splits = read_data(tmp_path, problems=problems)
    for kind, text in WRONG:
        assert any(text in line for line in lines), text
        assert any(text in one.text and one.kind == kind for one in problems.found), (kind, text)
    samples = [one for part in splits[:3] if part for one in part.samples]
    assert sorted(one.name for one in samples) == ["0.png", "1.png", "2.png"]
    assert sum(len(one.held_objects() or ()) for one in samples) == 3, "what is right stays"


def test_only_the_first_twenty_are_listed(tmp_path: Path) -> None:
    told = values()
    told["annotations"] = [{"id": n, "image_id": n, "bbox": [0, 0, 1, 1]} for n in range(100, 130)]
    with pytest.raises(DataError) as caught:
        read_data(write(tmp_path, told))
    assert len(str(caught.value).splitlines()) == 22
    assert str(caught.value).endswith("and 10 more; vitreous doctor --json lists all")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"images": [],\n "annotations": [}', "broken JSON at line 2, column 18: Expecting value"),
        ('{"images": [], "categories": []}', "no list 'annotations'"),
        ('["images", "annotations"]', "not an object with images, annotations and categories"),
        ('{"images": [' + "[" * 100_000, "broken JSON"),
        (
            json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []}),
            "image number 0 has no id and file_name",
        ),
    ],
)
def test_files_that_cannot_be_read_say_where(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annotations\.json") as caught:
        read_data(write(tmp_path, text))
    assert reason in str(caught.value)


def test_small_overhang_is_cut_off(tmp_path: Path) -> None:
    told = values()
    told["annotations"] = [{"id": 1, "image_id": 10, "category_id": 2, "bbox": [-1, 0, WIDTH + 2.5, 9]}]
    splits = read_data(write(tmp_path, told))
    boxes = [one.held_objects() for part in splits[:3] if part for one in part.samples if one.name == "0.png"]
    assert boxes[0] is not None and boxes[0].boxes.tolist() == [[0, 0, WIDTH, 9]]
