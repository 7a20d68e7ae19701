import json
from pathlib import Path

import numpy as np

from tests.data.test_coco import WRONG, spoilt, write
from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection, Sample
from vitreous.data.folder import read_data
from vitreous.data.marks import marks_of
from vitreous.data.problems import Problems
from vitreous.doctor import examine


def test_objects_are_counted_and_odd_ones_named() -> None:
    boxes = [[0, 0, 20, 20], [0, 0, 20, 20.5], [5, 5, 8, 20], [0, 0, 20, 20]]
    objects = Objects.of(boxes, [0, 0, 1, 1])
    blank = np.zeros((30, 30), np.uint8)
    samples = (Sample("a", blank, objects=objects), Sample("b", blank, objects=Objects.of([], [])))
    found = marks_of(Collection("some", ("cat", "dog", "cow"), samples))
    assert found.pictures == {"cat": 1, "dog": 1, "cow": 0}
    assert found.amounts == {"cat": 2, "dog": 2, "cow": 0}
    assert found.empty == ["b"]
    assert found.repeated == ["a: cat"]
    assert found.tiny == ["a: dog, 3 x 15"]


def test_pixels_are_counted_but_ignored_ones() -> None:
    region = np.array([[0, 1, 1], [255, 255, 1]], np.uint8)
    sample = Sample("a", np.zeros((2, 3), np.uint8), region=region)
    found = marks_of(Collection("some", ("sky", "sea"), (sample,)))
    assert found.amounts == {"sky": 1, "sea": 3} and found.pictures == {"sky": 1, "sea": 1}
    nothing = Sample("b", np.zeros((2, 3), np.uint8), region=np.full((2, 3), 255, np.uint8))
    assert marks_of(Collection("some", ("sky", "sea"), (nothing,))).empty == ["b"]


def test_the_doctor_tells_what_the_readers_found(tmp_path: Path) -> None:
    problems = Problems()
    splits = read_data(write(tmp_path, spoilt(), count=5), problems=problems)
    found = examine(splits, problems=problems.found)
    assert not found.ok
    told = {finding.kind: finding for finding in found.findings}
    for kind, text in WRONG:
        assert any(text in case for case in told[kind].cases)
    assert told["annotation_duplicate"].text.startswith("2 cases of an id or a picture told twice")
    assert sum(sum(counts.values()) for counts in found.marked.values()) == 3
    assert len(told["nothing_marked"].cases) == 2
    json.dumps(found.to_dict())
