"""Judging what finds objects, and what tells the class of each pixel."""

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_coco import values, write
from tests.marked import SHAPES, Knowing, told
from vitreous.data.annotation import Objects
from vitreous.data.collection import Collection
from vitreous.data.folder import read_data
from vitreous.errors import DataError, MissingPackage, PictureError
from vitreous.evaluation.detection import Found, detection_scores
from vitreous.evaluation.evaluate import evaluate, to_judge
from vitreous.evaluation.judged import Answered
from vitreous.evaluation.objects import judge_objects
from vitreous.evaluation.regions import judge_regions
from vitreous.evaluation.segmentation import segmentation_scores

PAINTS = ("background", *SHAPES)


def scenes(task: str, count: int = 12) -> Collection:
    part = read_data(f"scenes:{task}").test
    assert part is not None
    return part.select(range(count))


def halves(objects: Objects, name: str) -> Found:
    """Right on pictures of even numbers; elsewhere every class is the next one."""
    wrong = int(name[-1]) % 2
    return Found.of(objects.boxes, (objects.labels + wrong) % 10, np.linspace(1, 0.6, len(objects)))


def shifted(region: np.ndarray, name: str) -> np.ndarray:
    return np.roll(region, int(name[-1]), axis=1)


def test_figures_of_objects_are_those_of_the_answers() -> None:
    data = scenes("detection")
    result = evaluate(Knowing("objects", SHAPES, find=halves), data)
    truths = [sample.held_objects() for sample in data.samples]
    found = [halves(one, sample.name) for one, sample in zip(truths, data.samples, strict=True)]
    wanted = detection_scores(found, truths, SHAPES)
    assert {name: result[name] for name in wanted} == wanted
    assert 0 < result["ap"] < 1 and result["says"] == "objects" and result["unreadable"] == []
    assert result["data"]["part"] == "test" and result["data"]["note"] is None
    json.dumps(result, allow_nan=False)


def test_figures_of_regions_are_those_of_the_maps() -> None:
    data = scenes("segmentation")
    result = evaluate(Knowing("regions", PAINTS, paint=shifted), data)
    truths = [sample.held_region() for sample in data.samples]
    maps = [shifted(one, sample.name) for one, sample in zip(truths, data.samples, strict=True)]
    wanted = segmentation_scores(maps, truths, PAINTS)
    assert {name: result[name] for name in wanted} == wanted
    assert np.array(result["confusion"]).sum() == result["pixels"] == 12 * 64 * 64
    json.dumps(result, allow_nan=False)


def test_a_gallery_names_the_worst_the_most_confused_and_the_best() -> None:
    result = evaluate(Knowing("objects", SHAPES, find=halves), scenes("detection"))
    gallery = result["gallery"]
    assert all(int(row["name"][-1]) % 2 and row["f1"] == 0 for row in gallery["worst"])
    assert len(gallery["worst"]) == len(gallery["confused"]) == 6
    rights = [row["right"] for row in gallery["best"]]
    assert all(row["f1"] == 1 for row in gallery["best"]) and rights == sorted(rights, reverse=True)
    confused = [row["confused"] for row in gallery["confused"]]
    assert confused == sorted(confused, reverse=True) and confused[-1] > 0
    result = evaluate(Knowing("regions", PAINTS, paint=shifted), scenes("segmentation"))
    gallery = result["gallery"]
    overlaps = [row["mean_iou"] for row in gallery["best"]]
    assert overlaps == sorted(overlaps, reverse=True) and overlaps[0] == 1
    assert [row["mean_iou"] for row in gallery["worst"]] == sorted(
        row["mean_iou"] for row in gallery["worst"]
    )
    shares = [row["confused"]["share"] for row in gallery["confused"]]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0
    assert gallery["confused"][0]["confused"]["class"] in PAINTS


def test_the_confusion_of_objects_counts_each_once() -> None:
    data = scenes("detection")
    result = evaluate(Knowing("objects", SHAPES, find=halves), data)
    matrix = np.array(result["mistakes"]["confusion"])
    assert matrix.shape == (11, 11)
    assert matrix[:10].sum() == result["objects"], "every object is found, taken for another, or missed"
    assert np.trace(matrix) == result["mistakes"]["right"]
    nothing = evaluate(Knowing("objects", SHAPES, find=lambda objects, name: Found.of([], [], [])), data)
    assert np.array(nothing["mistakes"]["confusion"])[:10, 10].sum() == result["objects"]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_classes_in_another_order_are_the_same(task: str) -> None:
    says, own = ("objects", SHAPES) if task == "detection" else ("regions", PAINTS)
    turned = own[::-1]
    result = evaluate(Knowing(says, turned), scenes(task))
    assert result["ap" if task == "detection" else "mean_iou"] == pytest.approx(1)
    assert result["data"]["note"] is None and tuple(result["classes"]) == turned


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_data_may_have_some_of_the_classes(task: str) -> None:
    says, own = ("objects", SHAPES) if task == "detection" else ("regions", PAINTS)
    result = evaluate(Knowing(says, ("moon", *own, "sun")), scenes(task))
    assert result["ap" if task == "detection" else "mean_iou"] == pytest.approx(1)
    assert f"{len(own)} of the model's {len(own) + 2} classes" in result["data"]["note"]
    assert result["per_class"][0]["ap" if task == "detection" else "iou"] is None


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_classes_that_the_model_does_not_know_are_named(task: str) -> None:
    says, own = ("objects", SHAPES) if task == "detection" else ("regions", PAINTS)
    with pytest.raises(DataError, match=r"the model does not know 2 \(arrow, hexagon\)"):
        evaluate(Knowing(says, own[:-2]), scenes(task))


def test_a_class_that_the_model_has_twice_is_not_the_datas() -> None:
    with pytest.raises(DataError, match=r"the classes differ"):
        evaluate(Knowing("objects", (*SHAPES, "circle")), scenes("detection"))


@pytest.mark.parametrize(
    ("says", "data", "told"),
    [
        (
            "objects",
            "digits",
            "digits: its pictures have labels at most, no boxes and no masks, and the model",
        ),
        ("regions", "digits", "the model tells the class of each pixel; give pictures with masks"),
        (
            "classes",
            "scenes:detection",
            "objects are marked on its pictures, and the model tells what a whole",
        ),
        (
            "classes",
            "scenes:segmentation",
            "each pixel of its pictures has a class, and the model tells what",
        ),
        ("objects", "scenes:segmentation", "has a class, and the model finds objects; give COCO"),
    ],
)
def test_data_of_another_kind_is_refused_before_a_picture_is_looked_at(
    says: str, data: str, told: str
) -> None:
    model = Knowing(says, SHAPES)
    with pytest.raises(DataError) as caught:
        evaluate(model, data)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert model.asked == []


def test_a_detector_reads_scenes_as_objects() -> None:
    part, collection, _ = to_judge(Knowing("objects", SHAPES), "scenes")
    assert part.name == "test" and collection.detects and len(collection) == 1000


def test_without_the_package_it_is_said_before_a_picture_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    model = Knowing("objects", SHAPES)
    with pytest.raises(MissingPackage, match=r"pip install 'vitreous\[detection\]'"):
        evaluate(model, scenes("detection"))
    assert model.asked == []


def test_pictures_that_cannot_be_read_are_named_or_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "data", values(5), count=5)
    data = read_data(root)
    model = Knowing("objects", ("dog", "cat"))
    assert evaluate(model, data, split="all")["n"] == 5
    (root / "3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 5 pictures cannot be read: 3\.png"):
        evaluate(model, data, split="all")
    result = evaluate(model, data, split="all", allow_unreadable=True)
    assert result["n"] == 4 and result["unreadable"][0]["name"] == "3.png"
    assert result["crowds"] == 1


def test_data_without_an_object_is_refused(tmp_path: Path) -> None:
    data = scenes("detection")
    empty = [replace(sample, objects=Objects.of([], [])) for sample in data.samples]
    model = Knowing("objects", SHAPES)
    with pytest.raises(DataError, match="no object is marked on its 12 pictures"):
        judge_objects(model, Collection("bare", SHAPES, tuple(empty)))
    assert model.asked == []


def test_maps_that_do_not_fit_are_named_together(tmp_path: Path) -> None:
    data = scenes("segmentation", 4)
    cut = lambda region, name: region[:-1] if name[-1] in "12" else region  # noqa: E731
    with pytest.raises(DataError, match="2 of 4 pictures cannot be read") as caught:
        evaluate(Knowing("regions", PAINTS, paint=cut), data)
    assert str(caught.value).count("does not fit the truth of (64, 64)") == 2
    result = evaluate(Knowing("regions", PAINTS, paint=cut), data, allow_unreadable=True)
    assert result["n"] == 2 and len(result["unreadable"]) == 2


def test_a_mask_that_is_gone_is_an_unreadable_picture(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(5):
        pixels = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data/images" / f"{number}.png")
        mask = np.kron(np.eye(3, dtype=np.uint8), np.ones((3, 3), dtype=np.uint8)) * 255
        Image.fromarray(mask).save(tmp_path / "data/masks" / f"{number}.png")
    data = read_data(tmp_path / "data", wanted="segmentation")
    model = Knowing("regions", ("background", "foreground"))
    assert evaluate(model, data, split="all")["mean_iou"] == 1
    model.regions = lambda samples, batch_size=8, *, window=None: (  # type: ignore[method-assign]
        (sample, np.zeros((9, 9), np.uint8)) for sample in samples
    )
    (tmp_path / "data/masks/2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 5 pictures cannot be read: \S*2\.png"):
        evaluate(model, data, split="all")
    assert evaluate(model, data, split="all", allow_unreadable=True)["n"] == 4


def test_one_map_is_held_at_a_time() -> None:
    data = scenes("segmentation")
    alive: list[weakref.ref[np.ndarray]] = []

    def paint(region: np.ndarray, name: str) -> np.ndarray:
        gc.collect()
        assert sum(one() is not None for one in alive) <= 2
        copy = region.copy()
        alive.append(weakref.ref(copy))
        return copy

    result, _ = judge_regions(Knowing("regions", PAINTS, paint=paint), data)
    assert result["n"] == len(alive) == 12


def test_progress_is_told_of_every_picture() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(
        Knowing("objects", SHAPES, find=told),
        scenes("detection", 5),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(count, 5) for count in range(1, 6)]


def test_when_nothing_can_be_read_that_is_said_even_where_it_is_allowed() -> None:
    data = scenes("detection", 3)
    broken = ((sample, PictureError(sample.name, "gone")) for sample in data.samples)
    with pytest.raises(DataError, match="none of its 3 pictures can be read"):
        list(Answered(broken, data, allow_unreadable=True))
