"""Scenes by name: fixed parts, balanced classes, drawn when they are asked for."""

import pickle

import numpy as np
import pytest

from vitreous.data.augment import AugmentConfig
from vitreous.data.collection import Collection, Sample
from vitreous.data.folder import check_trainable, read_data
from vitreous.data.loader import Order, batches, training_parts
from vitreous.data.preprocess import Preprocess
from vitreous.data.scene_set import SceneDrawing, scenes
from vitreous.data.scenes import SHAPES, scene
from vitreous.data.survey import survey
from vitreous.errors import DataError

PREPARE = Preprocess(size=(32, 32), shorter=None)


def part_of(name: str, part: str = "train") -> Collection:
    found = getattr(read_data(name), part)
    assert isinstance(found, Collection)
    return found


def test_by_name_it_is_read_like_any_other_data() -> None:
    splits = read_data("scenes:hard,size=32", seed=7)
    check_trainable(splits)
    assert [len(part) for part in splits[:3] if part] == [1500, 500, 1000]
    assert "hard, 32 pixels" in splits.how
    assert not splits.seeded
    assert splits.train is not None
    assert splits.train.classes == SHAPES
    assert splits.train.counts() == dict.fromkeys(SHAPES, 150)
    assert np.asarray(splits.train.open(0)).shape == (32, 32, 3)
    assert np.asarray(part_of("scenes").open(0)).shape == (64, 64, 3)


def test_no_scene_is_in_two_parts_and_more_to_train_on_moves_none() -> None:
    few, many = scenes("pictures=100"), scenes("pictures=3000")
    names = [sample.name for part in many[:3] if part for sample in part.samples]
    assert len(set(names)) == len(names) == 4500
    for one, other in zip(few[:3], many[:3], strict=True):
        assert one is not None
        assert other is not None
        assert one.samples == other.samples[: len(one)]
    assert few.train is not None
    assert len(few.train) == 100


@pytest.mark.parametrize(("asked", "count"), [("shape", 10), ("colour", 8), ("pair", 80)])
def test_the_label_is_true_of_the_main_object(asked: str, count: int) -> None:
    part = part_of(f"scenes:easy,size=32,classes={asked}", "validation")
    assert len(part.classes) == count
    for sample in part.samples[:20]:
        drawing = sample.source
        assert isinstance(drawing, SceneDrawing)
        assert sample.label is not None
        one = scene(drawing.config, drawing.index, shape=drawing.shape, hue=drawing.hue)
        assert set(part.classes[sample.label].split()) <= set(one.phrases[0].split())


def test_pixels_are_drawn_once_and_travel_as_what_they_are_made_from() -> None:
    sample = part_of("scenes:size=32").samples[0]
    before = len(pickle.dumps(sample))
    drawing = sample.source
    assert isinstance(drawing, SceneDrawing)
    pixels = drawing.pixels()
    assert pixels is drawing.pixels()
    assert sample.size() == pixels.nbytes == 32 * 32 * 3
    assert len(pickle.dumps(sample)) == before < pixels.nbytes
    copy: Sample = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(np.asarray(copy.open()), pixels)


def test_loading_processes_see_the_same_views() -> None:
    part = part_of("scenes:hard,size=32").select(range(8))

    def view(workers: int) -> list[np.ndarray]:
        stream = training_parts(
            part,
            lambda_free_view,
            AugmentConfig(crop=None, flip=0, rand_augment=None),
            Order(pictures=8, batch=4, seed=0),
            steps=range(2),
            parts=[(0, 4)],
            workers=workers,
        )
        return [found.batch.images.numpy() for found in stream]

    for alone, helped in zip(view(0), view(1), strict=True):
        assert np.array_equal(alone, helped)
    assert len(next(batches(part, PREPARE, batch_size=8)).labels) == 8


def lambda_free_view(picture):  # type: ignore[no-untyped-def]
    return PREPARE(picture).image


def test_other_pixels_have_another_fingerprint() -> None:
    names = ("scenes", "scenes:hard", "scenes:size=32", "scenes:seed=1", "scenes:classes=colour")
    assert len({part_of(name).fingerprint() for name in names}) == len(names)
    assert part_of("scenes").fingerprint() == part_of("scenes:normal").fingerprint()


def test_the_doctor_can_look_at_them() -> None:
    part = part_of("scenes:size=32").select(range(3))
    found = list(survey({"train": part}))
    assert [one.reason for one in found] == ["", "", ""]
    assert {(one.size, one.format, one.mode) for one in found} == {((32, 32), "pixels", "RGB")}
    assert len({one.pixel_hash for one in found}) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scenes:harf", "did you mean 'hard'"),
        ("scenes:hard,easy", "level is said twice"),
        ("scenes:size=8", "size must be from 16 to 1024 pixels, got 8"),
        ("scenes:siz=32", "did you mean 'size'"),
        ("scenes:size=big", "size: wanted int, got 'big'"),
        ("scenes:pictures=0", "pictures must be from 1"),
        ("scenes:classes=hue", "wanted one of shape, colour, pair"),
        ("digits:hard", "digits takes no options"),
        ("scene:hard", "no such file or folder"),
    ],
)
def test_a_bad_name_is_answered_in_one_line(name: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_data(name)
    assert "\n" not in str(caught.value)
