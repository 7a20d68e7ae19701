from pathlib import Path

import pytest

from tests.data.test_coco import picture
from vitreous.data.folder import read_data
from vitreous.data.problems import Problems
from vitreous.errors import DataError

BOX = "1 0.5 0.5 0.25 0.2"
OUTLINE = "0 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4"


def write(root: Path, texts: dict[str, str | None], yaml: str | None = "names: [cat, dog]\n") -> Path:
    """Pictures and their text files; parts as folders below images."""
    for name, text in texts.items():
        picture(root / "images" / f"{name}.png")
        if text is not None:
            file = root / "labels" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


YAML = "path: somewhere/else\ntrain: ../images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


def test_boxes_and_outlines_are_read(tmp_path: Path) -> None:
    both = f"{BOX}\n{BOX.replace('1 ', '0 ', 1)}\n"
    write(tmp_path, {"train/a": both, "train/b": None, "val/c": OUTLINE}, YAML)
    splits = read_data(tmp_path)
    assert splits.train is not None and splits.validation is not None
    assert splits.train.classes == ("cat", "dog")
    assert [sample.name for sample in splits.train.samples] == ["images/train/a.png", "images/train/b.png"]
    first, second = (sample.held_objects() for sample in splits.train.samples)
    assert first is not None and first.boxes.tolist() == [[15, 12, 25, 18]] * 2
    assert first.labels.tolist() == [1, 0] and first.masks is None
    assert second is not None and len(second) == 0, "no text file says that nothing is there"
    outlined = splits.validation.samples[0].held_objects()
    assert outlined is not None and outlined.masks is not None
    assert outlined.boxes.tolist() == [[4, 3, 20, 12]]
    assert outlined.masks[0].area() == 16 * 9
    by_file = read_data(tmp_path / "data.yaml").train
    assert by_file is not None and by_file.samples == splits.train.samples


def test_without_yaml_a_list_names_the_classes(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys("abcdefghij", BOX), None)
    with pytest.raises(DataError, match="no names of classes for its YOLO text files"):
        read_data(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    splits = read_data(tmp_path)
    assert [len(part) for part in splits[:3] if part is not None] == [8, 1, 1]
    assert splits.seeded


WRONG = (
    ("annotation_category", "2 0.5 0.5 0.1 0.1", "class 2, but the names are of 0 to 1"),
    ("annotation_category", "0.5 0.5 0.5 0.1 0.1", "class 0.5, but"),
    ("annotation_area", "0 0.5 0.5 0 0.1", "has no area"),
    ("annotation_outside", "0 0.5 0.5 1.5 0.1", "is outside its picture of 40 x 30"),
    ("annotation_outside", "0 20 15 10 10", "is outside its picture"),
    ("annotation_value", "0 0.5 0.5 0.1", "3 numbers after the class"),
    ("annotation_value", "0 0.5 0.5 0.1 0.1 0.9", "5 numbers after the class"),
    ("annotation_value", "cat 0.5 0.5 0.1 0.1", "not numbers"),
    ("annotation_value", "0 0.5 nan 0.1 0.1", "wanted 4 of a box"),
    ("annotation_duplicate", BOX, "the same as line 1"),
)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"train/a": "\n".join([BOX, *(line for _, line, _ in WRONG)]), "val/b": BOX}, YAML)
    (tmp_path / "images" / "train" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        read_data(tmp_path)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(WRONG) + 1
    assert "images/train/broken.png: not a picture" in lines[0]
    for place, (line, (_, _, reason)) in enumerate(zip(lines[1:], WRONG, strict=True), start=2):
        assert line.strip().startswith(f"images/train/a.png, line {place} of its text file: ")
        assert reason in line
    problems = Problems()
    splits = read_data(tmp_path, problems=problems)
    assert [one.kind for one in problems.found[1:]] == [kind for kind, _, _ in WRONG]
    assert splits.train is not None
    assert [len(one.held_objects() or ()) for one in splits.train.samples] == [1]


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        ("names: [cat, dog\ntrain: images/train\n", "broken YAML at line 2"),
        ("names: [cat, dog]\nnc: 3\ntrain: images/train\n", "nc says 3 classes, names has 2"),
        ("names: [cat, cat]\ntrain: images/train\n", "classes named twice: 'cat'"),
        ("names: {1: cat, 2: dog}\ntrain: images/train\n", "wanted 0, 1, 2"),
        ("names: [cat, dog]\ntrain: images/gone\n", "train is 'images/gone', but there is no such folder"),
        ("names: [cat, dog]\n", "no train, val or test"),
        ("train: images/train\n", "no names of classes"),
    ],
)
def test_a_wrong_yaml_has_a_reason(yaml: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, {"train/a": BOX}, yaml)
    with pytest.raises(DataError, match=r"data\.yaml") as caught:
        read_data(tmp_path / "data.yaml")
    assert reason in str(caught.value)


def test_no_text_file_at_all_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"train/a": None, "val/b": None}, YAML)
    with pytest.raises(DataError, match="no object is marked on its 2 pictures; are the text files there"):
        read_data(tmp_path / "data.yaml")
