import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.test_coco import HEIGHT, WIDTH, picture
from vitreous.data.collection import Sample, Splits
from vitreous.data.folder import read_data
from vitreous.data.problems import Problems
from vitreous.errors import DataError

SHAPE = (HEIGHT, WIDTH)


def mask(*values: int, kind: type = np.uint8) -> NDArray[np.generic]:
    """Stripes of these values, each as high as the others."""
    rows = np.arange(HEIGHT) * len(values) // HEIGHT
    return np.repeat(np.array(values, kind)[rows][:, None], WIDTH, axis=1)


def coloured(*values: int) -> NDArray[np.uint8]:
    flat = mask(*values, kind=np.int64)
    return np.stack([flat >> 16 & 255, flat >> 8 & 255, flat & 255], axis=-1).astype(np.uint8)


def write(root: Path, masks: dict[str, NDArray[np.generic]], suffix: str = "", palette: bool = False) -> Path:
    for name, values in masks.items():
        picture(root / "images" / f"{name}.jpg")
        file = root / "masks" / f"{name}{suffix}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        saved = Image.fromarray(values)
        if palette:
            saved = Image.fromarray(values, "L").convert("P")
            saved.putdata(values.ravel().tolist())
        saved.save(file)
    return root


def samples(splits: Splits) -> list[Sample]:
    found = [one for part in splits[:3] if part is not None for one in part.samples]
    return sorted(found, key=lambda one: one.name)


def classes(splits: Splits) -> tuple[str, ...]:
    some = splits.train or splits.test
    assert some is not None and some.segments
    return some.classes


def regions(splits: Splits) -> list[list[int]]:
    """The values of each region, from above."""
    found = []
    for sample in samples(splits):
        region = sample.held_region()
        assert region is not None and region.shape == SHAPE
        rows = region[:, 0].tolist()
        assert (region == region[:, :1]).all()
        found.append([value for place, value in enumerate(rows) if place == 0 or value != rows[place - 1]])
    return found


@pytest.mark.parametrize("palette", [False, True])
def test_indices_are_classes_by_the_list(palette: bool, tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 1, 255), "b": mask(1, 2)}, "_mask", palette)
    (tmp_path / "classes.txt").write_text("road\nhouse\ntree\n")
    splits = read_data(tmp_path)
    assert classes(splits) == ("road", "house", "tree")
    assert regions(splits) == [[0, 1, 255], [1, 2]]
    assert "0 is 'road', 255 takes no part" in splits.how
    assert [one.name for one in samples(splits)] == ["images/a.jpg", "images/b.jpg"]


def test_ade20k_counts_from_one_and_zero_is_no_class(tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 1, 3), "b": mask(2)})
    (tmp_path / "classes.txt").write_text("wall\nbuilding\nsky\n")
    splits = read_data(tmp_path)
    assert classes(splits) == ("wall", "building", "sky")
    assert regions(splits) == [[255, 0, 2], [1]]
    assert "indices from 1 by classes.txt, as ADE20K's: 0 takes no part" in splits.how


def test_black_and_white_is_background_and_foreground(tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 255, 0), "b": mask(0)})
    splits = read_data(tmp_path)
    assert classes(splits) == ("background", "foreground")
    assert regions(splits) == [[0, 1, 0], [0]]
    assert "0 and 255 alone: 'background' and 'foreground'" in splits.how
    (tmp_path / "classes.txt").write_text("polyp\n")
    assert classes(read_data(tmp_path)) == ("background", "polyp")


def test_grey_in_three_channels_is_grey(tmp_path: Path) -> None:
    splits = read_data(write(tmp_path, {"a": coloured(0, 0xFFFFFF), "b": coloured(0)}))
    assert classes(splits) == ("background", "foreground")
    assert regions(splits) == [[0, 1], [0]]


def test_colours_are_classes_by_a_table_or_by_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, {"a": coloured(0, 0x804000), "b": coloured(0xC0C000, 0)})
    splits = read_data(tmp_path)
    assert classes(splits) == ("background", "#804000", "#c0c000")
    assert regions(splits) == [[0, 1], [2, 0]]
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nVoid,0,0,0\nroad,192,192,0\nhouse,128,64,0\n")
    splits = read_data(tmp_path)
    assert classes(splits) == ("road", "house")
    assert regions(splits) == [[255, 1], [0, 255]]
    assert "#000000 takes no part" in splits.how


def test_a_json_may_say_what_each_value_is(tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(7, 26), "b": mask(0, 7)})
    (tmp_path / "classes.json").write_text(json.dumps({"road": 7, "car": 26}))
    splits = read_data(tmp_path)
    assert classes(splits) == ("road", "car")
    assert regions(splits) == [[0, 1], [255, 0]]


def test_more_than_255_classes_in_sixteen_bits(tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 300, 65535, kind=np.uint16), "b": mask(255, kind=np.uint16)})
    splits = read_data(tmp_path)
    assert len(classes(splits)) == 301
    assert regions(splits) == [[0, 300, 65535], [255]]


@pytest.mark.parametrize(
    "places",
    [
        ("images/training", "annotations/training", "images/validation", "annotations/validation"),
        ("train/images", "train/masks", "val/images", "val/masks"),
        ("train", "train_labels", "val", "val_labels"),
    ],
)
def test_parts_are_found(places: tuple[str, ...], tmp_path: Path) -> None:
    for number, (pictures, masks) in enumerate(zip(places[::2], places[1::2], strict=True)):
        picture(tmp_path / pictures / f"{number}.jpg")
        (tmp_path / masks).mkdir(parents=True)
        Image.fromarray(mask(0, 1)).save(tmp_path / masks / f"{number}.png")
    splits = read_data(tmp_path)
    assert splits.train is not None and splits.validation is not None
    assert (len(splits.train), len(splits.validation)) == (1, 1)
    assert splits.train.segments and not splits.train.detects


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 1), "b": mask(0, 9, 5), "c": mask(1)[:9], "d": mask(1)})
    (tmp_path / "classes.txt").write_text("road\nhouse\n")
    (tmp_path / "images" / "d.jpg").unlink()
    picture(tmp_path / "images" / "lonely.jpg")
    picture(tmp_path / "images" / "soft.jpg")
    picture(tmp_path / "masks" / "soft.jpg")
    picture(tmp_path / "images" / "cut.jpg")
    (tmp_path / "masks" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    told = str(caught.value)
    for reason in (
        "masks/b.png: 5, 9 beyond the 2 classes",
        "masks/c.png: 40 x 9 pixels, its picture 40 x 30",
        "masks/d.png: no picture of its name in images",
        "images/lonely.jpg: no mask of its name in masks",
        "masks/soft.jpg: .jpg changes values; save masks as PNG",
        "masks/cut.png: ",
    ):
        assert reason in told
    assert len(told.splitlines()) == 7
    problems = Problems()
    splits = read_data(tmp_path, problems=problems)
    assert [one.name for one in samples(splits)] == ["images/a.jpg"]
    assert "annotation_class" in {one.kind for one in problems.found}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("classes.txt", "\n", "no names of classes"),
        ("classes.txt", "road\nroad\n", "classes named twice: 'road'"),
        ("classes.json", '{"road": [1, 2]}', "a number, or red, green and blue"),
        ("classes.json", '{"road": ', "broken JSON at line 1"),
        ("classes.json", '{"road": 1, "house": 1}', "two classes of one value"),
        ("classes.csv", "title,value\n", "no column 'name'"),
        ("classes.csv", "name,value\nroad,one\n", "a row without a name and numbers"),
        ("class_dict.csv", "name,r,g,b\nroad,1,2,3\n", "it names colours, but the masks are of indices"),
    ],
)
def test_wrong_files_of_classes_have_a_reason(name: str, text: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {"a": mask(0, 1)})
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name) as caught:
        read_data(tmp_path)
    assert reason in str(caught.value)


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    for name in ("images/a.png", "images/b.png", "drawings/c.png", "drawings/d.png"):
        picture(tmp_path / name)
    train = read_data(tmp_path).train
    assert train is not None and not train.segments and train.classes == ("drawings", "images")
