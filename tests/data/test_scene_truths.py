import pickle

import numpy as np
import pytest

from vitreous.data.folder import check_trainable, read_data
from vitreous.data.scene_truths import BACKGROUND
from vitreous.data.scenes import COLOURS, SHAPES, scene
from vitreous.errors import DataError


@pytest.mark.parametrize(("asked", "count"), [("shape", len(SHAPES)), ("colour", len(COLOURS)), ("pair", 80)])
def test_every_object_is_marked(asked: str, count: int) -> None:
    splits = read_data(f"scenes:detection,hard,size=48,pictures=10,classes={asked}")
    train = splits.train
    assert train is not None and splits.validation is not None
    check_trainable(splits)
    assert train.detects and not train.segments and len(train.classes) == count
    for sample in train.samples:
        objects, pixels = sample.held_objects(), np.asarray(sample.open())
        assert objects is not None and objects.masks is not None and pixels.shape == (48, 48, 3)
        for box, mask, area in zip(objects.boxes, objects.masks, objects.areas, strict=True):
            shown = mask.decode()
            left, top, right, bottom = box.astype(int)
            assert shown[top:bottom, left:right].sum() == shown.sum() == area
        assert objects.labels.max() < count


def test_they_are_the_scenes_of_their_index() -> None:
    splits = read_data("scenes", wanted="detection")
    assert splits.test is not None and splits.test.detects
    sample = splits.test.samples[5]
    told = scene(sample.source.config, 5)  # type: ignore[union-attr]
    objects = sample.held_objects()
    assert objects is not None
    assert np.array_equal(np.asarray(sample.open()), told.picture)
    assert np.array_equal(objects.boxes, told.boxes) and np.array_equal(objects.labels, told.shapes)
    assert [splits.test.classes[label] for label in objects.labels] == [
        SHAPES[shape] for shape in told.shapes
    ]
    again = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(np.asarray(again.open()), told.picture)
    assert again.held_objects().digest() == objects.digest()


def test_each_pixel_has_a_class() -> None:
    splits = read_data("scenes:segmentation,size=48,pictures=10")
    train = splits.train
    assert train is not None and train.segments and train.classes == (BACKGROUND, *SHAPES)
    check_trainable(splits)
    sample = train.samples[3]
    region = sample.held_region()
    assert region is not None and np.array_equal(region, scene(sample.source.config, 1503).semantic)  # type: ignore[union-attr]


def test_levels_and_tasks_are_other_data() -> None:
    names = [
        "scenes:detection,pictures=3",
        "scenes:detection,hard,pictures=3",
        "scenes:segmentation,pictures=3",
    ]
    prints = set()
    for name in [*names, "scenes:detection,pictures=3,classes=colour", "scenes:pictures=3"]:
        train = read_data(name).train
        assert train is not None
        prints.add(train.fingerprint())
    assert len(prints) == 5
    assert read_data(names[0]).train == read_data(names[0]).train


def test_a_task_twice_is_refused() -> None:
    with pytest.raises(DataError, match="task is said twice, the second time as 'segmentation'"):
        read_data("scenes:detection,segmentation")
