from pathlib import Path

import pytest

from tests.data.test_coco import HEIGHT, WIDTH, picture
from vitreous.data.folder import read_data
from vitreous.errors import DataError


def thing(name: str, *corners: float, difficult: bool = False) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    told = "<difficult>1</difficult>" if difficult else ""
    return f"<object><name>{name}</name>{told}<bndbox>{box}</bndbox></object>"


def xml(stem: str, *things: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{stem}.png</filename>{sides}{''.join(things)}</annotation>"


def write(root: Path, texts: dict[str, str]) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for stem, text in texts.items():
        picture(root / "JPEGImages" / f"{stem}.png")
        (root / "Annotations" / f"{stem}.xml").write_text(text)
    return root


def test_boxes_count_from_one_and_parts_are_listed(tmp_path: Path) -> None:
    texts = {
        "a": xml("a", thing("dog", 1, 1, 10, 5), thing("cat", 3, 4, 3, 4, difficult=True)),
        "b": xml("b", thing("cat", 31, 21, 40, 30)),
        "c": xml("c"),
        "d": xml("d", thing("dog", 2, 2, 4, 4)),
    }
    write(tmp_path, texts)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    splits = read_data(tmp_path)
    assert splits.train is not None and splits.validation is not None and splits.test is None
    assert splits.train.classes == ("cat", "dog")
    first, second = (sample.held_objects() for sample in splits.train.samples)
    assert first is not None and first.boxes.tolist() == [[0, 0, 10, 5], [2, 3, 3, 4]]
    assert first.crowd.tolist() == [False, True] and first.labels.tolist() == [1, 0]
    assert second is not None and not len(second)
    assert "counted from 1" in splits.how
    assert "1 file in no list of ImageSets/Main left out" in splits.how


def test_a_zero_says_that_boxes_count_from_zero(tmp_path: Path) -> None:
    splits = read_data(write(tmp_path, {"a": xml("a", thing("dog", 0, 4, 9, 9))}))
    some = splits.train or splits.test
    assert some is not None
    objects = some.samples[0].held_objects()
    assert objects is not None and objects.boxes.tolist() == [[0, 4, 10, 10]]
    assert "counted from 0" in splits.how


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    texts = {
        "a": xml("a", thing("dog", 1, 1, 10, 5)),
        "b": "<annotation>\n<object></annotation>",
        "c": xml("c", thing("dgo", 1, 1, 10, 5)),
        "d": xml("d", thing("dog", 9, 1, 7, 5)),
        "e": xml("e", thing("dog", 9, 1, 70, 5)),
        "f": xml("f", size=(7, 7)),
        "g": xml("g", "<object><name>dog</name></object>"),
        "h": "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>",
    }
    write(tmp_path, texts)
    (tmp_path / "Annotations" / "gone.xml").write_text(xml("gone"))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    told = str(caught.value)
    assert len(told.splitlines()) == 9
    for reason in (
        "b.xml: broken XML at line 2, column 11: mismatched tag",
        "c.xml, object 1: unknown class 'dgo'; did you mean 'dog'?",
        "d.xml, object 1: box 8 0 7 5 has no area",
        "e.xml, object 1: box 8 0 70 5 is outside its picture of 40 x 30",
        "f.xml: 7 x 7 pixels, but JPEGImages/f.png has 40 x 30",
        "g.xml, object 1: wanted a name and a bndbox",
        "h.xml: XML with declarations of its own",
        "gone.png: no such file",
    ):
        assert reason in told


def test_one_picture_in_two_lists_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": xml("a", thing("dog", 1, 1, 10, 5))})
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for part in ("train", "val"):
        (lists / f"{part}.txt").write_text("a\n")
    with pytest.raises(DataError, match="'a' is in train and validation of ImageSets/Main"):
        read_data(tmp_path)
