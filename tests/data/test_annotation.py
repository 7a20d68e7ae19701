import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vitreous.data.annotation import Objects, Polygons, Rle, extent
from vitreous.errors import DataError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@settings(deadline=None)
@given(mask=MASKS)
def test_run_lengths_go_there_and_back(mask: np.ndarray) -> None:
    rle = Rle.of(mask)
    assert np.array_equal(rle.decode(), mask)
    text = Rle(rle.size, rle.compressed())
    assert text.runs() == rle.runs()
    assert np.array_equal(text.decode(), mask)
    assert rle.area() == text.area() == mask.sum()


@settings(deadline=None)
@given(height=st.integers(1, 4000), width=st.integers(1, 4000), data=st.data())
def test_long_runs_survive_their_text(height: int, width: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, height * width), max_size=9)))
    runs = tuple(np.diff([0, *cuts, height * width]).tolist())
    assert Rle((height, width), Rle((height, width), runs).compressed()).runs() == runs


def test_texts_of_cocos_own_tools() -> None:
    # What pycocotools 2.0.11 wrote for these masks.
    square = np.zeros((6, 7), bool)
    square[1:4, 2:5] = True
    assert Rle.of(square).compressed() == b"=33000;"
    assert np.array_equal(Rle((6, 7), b"=33000;").decode(), square)


def _ring(*points: float) -> np.ndarray:
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def test_polygons_are_filled() -> None:
    found = Polygons((8, 10), (_ring(2, 1, 6, 1, 6, 5, 2, 5),)).decode()
    assert extent(found) == (2, 1, 6, 5)
    assert found.sum() == 16
    two = Polygons((8, 10), (_ring(0, 0, 4, 0, 4, 4, 0, 4), _ring(2, 2, 6, 2, 6, 6, 2, 6)))
    assert two.decode().sum() == 16 + 16 - 4, "what two outlines share belongs to the object once"
    assert Rle((8, 10), two.counts).decode().sum() == 28
    assert two.area() == 28
    beyond = Polygons((8, 10), (_ring(-5, -5, 20, -5, 20, 20, -5, 20),))
    assert beyond.decode().all()


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    points=st.lists(st.tuples(st.floats(-9, 60), st.floats(-9, 60)), min_size=3, max_size=8),
)
def test_polygons_and_texts_agree_with_faster_coco_eval(
    height: int, width: int, points: list[tuple[float, float]]
) -> None:
    try:
        tools = importlib.import_module("faster_coco_eval.core.mask")
    except ImportError:
        pytest.skip("faster-coco-eval is not installed")
    ring = np.array(points)
    told = tools.frPyObjects([ring.ravel().tolist()], height, width)
    theirs = tools.decode(told)[..., 0].astype(bool)
    ours = Polygons((height, width), (ring,))
    assert np.array_equal(ours.decode(), theirs)
    assert ours.compressed() == tools.encode(np.asfortranarray(theirs.astype(np.uint8)))["counts"]


@pytest.mark.parametrize(
    ("rle", "reason"),
    [
        (Rle((2, 2), (1, 2)), "run lengths for 3 pixels, but the mask is 2 x 2"),
        (Rle((2, 2), (5, -1)), "run lengths for 4 pixels"),
        (Rle((2, 2), b"4 "), "the character ' '"),
        (Rle((2, 2), b"P"), "in the middle of a number"),
    ],
)
def test_run_lengths_that_do_not_fit_are_refused(rle: Rle, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rle.decode()


def test_objects_know_their_areas_and_can_be_selected() -> None:
    boxes = [[0, 0, 4, 2], [1, 1, 3, 3]]
    plain = Objects.of(boxes, [0, 1])
    assert plain.areas.tolist() == [8, 4]
    mask = np.zeros((5, 5), bool)
    mask[1:3, 1] = True
    marked = Objects.of(boxes, [0, 1], masks=[Rle.of(mask), Rle.of(~mask)])
    assert marked.areas.tolist() == [2, 23]
    second = marked.select([False, True])
    assert second.labels.tolist() == [1]
    assert second.masks is not None and second.masks[0].area() == 23
    assert len(plain.select([])) == 0 and len(Objects.of([], [])) == 0
    assert plain.digest() != marked.digest() != Objects.of(boxes, [0, 2]).digest()
