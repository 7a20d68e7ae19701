import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.pictures import colour
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Placement, Preprocess
from vitreous.errors import ConfigError

SIDES = st.integers(1, 90)
GREY = {"mean": (0.5,), "std": (0.5,)}


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Where real pictures come to lie: squashed, cut out, or with a border."""
    picture = Image.new("L", (draw(SIDES), draw(SIDES)))
    shorter = draw(st.none() | st.integers(1, 60))
    size = (draw(st.integers(1, 60)), draw(st.integers(1, 60)))
    return Preprocess(size=size, shorter=shorter, **GREY)(picture).where


def _placed(source: tuple[int, int], size: tuple[int, int], shorter: int | None) -> Placement:
    return Preprocess(size=size, shorter=shorter, **GREY)(Image.new("L", source[::-1])).where


@settings(deadline=None)
@given(where=placements(), data=st.data())
def test_boxes_go_forth_and_back(where: Placement, data: st.DataObject) -> None:
    numbers = st.floats(-200, 200, width=32)
    boxes = np.array(data.draw(st.lists(st.tuples(*[numbers] * 4), max_size=4))).reshape(-1, 4)
    assert np.allclose(where.back_boxes(where.forth_boxes(boxes), clip=False), boxes, atol=1e-6)
    assert np.allclose(where.forth_boxes(where.back_boxes(boxes, clip=False)), boxes, atol=1e-6)
    tensor = torch.tensor(boxes)
    assert np.allclose(where.forth_boxes(tensor).numpy(), where.forth_boxes(boxes))
    assert isinstance(where.back_boxes(tensor), torch.Tensor)


def test_boxes_by_hand() -> None:
    # 200 x 100 becomes 40 x 20, of which the columns 10 to 30 are seen.
    where = _placed((100, 200), (20, 20), 20)
    assert where == Placement((100, 200), (20, 40), (0, 10), (20, 20))
    boxes = np.array([[50, 0, 150, 100], [0, 0, 5, 5]])
    assert where.forth_boxes(boxes).tolist() == [[0, 0, 20, 20], [-10, 0, -9, 1]]


@settings(deadline=None)
@given(where=placements(), rows=st.integers(1, 70), cols=st.integers(1, 70))
def test_heat_stays_within_its_values_and_zero_outside(where: Placement, rows: int, cols: int) -> None:
    heat = np.random.default_rng(0).uniform(1, 2, (rows, cols))
    back = where.back(heat)
    assert back.shape == where.source
    assert back.dtype == np.float32
    height, width = where.source
    down = (np.arange(height) + 0.5) * where.resized[0] / height - where.corner[0]
    across = (np.arange(width) + 0.5) * where.resized[1] / width - where.corner[1]
    seen = ((down >= 0) & (down < where.view[0]))[:, None] & ((across >= 0) & (across < where.view[1]))
    assert (back[~seen] == 0).all()
    assert ((back[seen] > 0.999) & (back[seen] < 2.001)).all()
    mask = where.back_mask(heat > 0)
    assert mask.dtype == bool
    assert np.array_equal(mask, seen)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    shorter=st.none() | st.integers(20, 60),
    size=st.tuples(st.integers(16, 60), st.integers(16, 60)),
    place=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
)
def test_a_marked_source_region_gets_its_heat_back(
    height: int,
    width: int,
    shorter: int | None,
    size: tuple[int, int],
    place: tuple[float, float],
) -> None:
    top, left = int(place[0] * (height - 10)), int(place[1] * (width - 10))
    marked = np.zeros((height, width), np.uint8)
    marked[top : top + 10, left : left + 10] = 255
    prepare = Preprocess(size=size, shorter=shorter, mean=(0.0,), std=(1.0,))
    view = prepare(Image.fromarray(marked))
    heat = view.image[0]
    if float(heat.sum()) < 0.25 * heat.numel() / max(heat.shape):
        return  # the crop saw next to nothing of it
    back = view.where.back(heat)
    scale = max(1.0, height / view.where.resized[0], width / view.where.resized[1])
    reach = int(3 * scale) + 2
    near = np.zeros_like(marked, dtype=bool)
    near[max(0, top - reach) : top + 10 + reach, max(0, left - reach) : left + 10 + reach] = True
    assert back.sum() > 0
    assert back[~near].sum() <= 1e-3 * back.sum()


def test_one_hot_patch_lands_on_its_place() -> None:
    where = _placed((100, 200), (20, 20), 20)
    heat = np.zeros((4, 4))
    heat[1, 2] = 1
    back = where.back(heat)
    # The cell covers view columns 10..15 and rows 5..10: source columns 100..125, rows 25..50.
    assert np.unravel_index(back.argmax(), back.shape)[0] in range(25, 50)
    assert back[37, 112] == pytest.approx(1, abs=0.03)
    assert back[:, :75].sum() == back[:, 150:].sum() == 0
    mask = where.back_mask(heat > 0)
    assert mask[25:50, 100:125].all()
    assert mask.sum() == 25 * 25


@settings(deadline=None)
@given(rows=st.integers(1, 30), cols=st.integers(1, 30))
def test_heat_of_the_same_size_comes_back_as_it_is(rows: int, cols: int) -> None:
    heat = np.random.default_rng(1).normal(size=(rows, cols)).astype(np.float32)
    where = Placement((rows, cols), (rows, cols), (0, 0), (rows, cols))
    assert np.allclose(where.back(torch.from_numpy(heat)), heat, atol=1e-6)
    assert np.array_equal(where.back_mask(heat), heat)


def test_heat_that_is_not_finite_counts_as_zero() -> None:
    where = Placement((4, 4), (4, 4), (0, 0), (4, 4))
    heat = np.array([[np.nan, 1], [np.inf, 1]])
    assert np.isfinite(where.back(heat)).all()


def test_a_coarse_source_takes_the_average() -> None:
    where = Placement((2, 2), (64, 64), (0, 0), (64, 64))
    stripes = np.tile([0.0, 1.0], (64, 32))
    assert np.allclose(where.back(stripes), 0.5, atol=0.02)


def test_a_border_is_black_before_normalising() -> None:
    prepare = Preprocess(size=(9, 12), shorter=4, mean=(0.5,) * 3, std=(0.25,) * 3)
    view = prepare(Image.new("RGB", (4, 4), "white"))
    assert view.where.corner == (-2, -4)
    assert view.image.shape == (3, 9, 12)
    assert (view.image[:, 2:6, 4:8] == 2).all()
    assert (view.image == 2).sum() == 3 * 16
    assert (view.image == -2).sum() == 3 * (9 * 12 - 16)


def test_grey_models_see_one_channel() -> None:
    view = Preprocess(size=(8, 8), shorter=8, **GREY)(Image.fromarray(colour()))
    assert view.image.shape == (1, 8, 8)
    assert view.image.dtype == torch.float32


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pictures_of_any_mode_are_taken(mode: str) -> None:
    assert Preprocess(size=(8, 8))(Image.fromarray(colour()).convert(mode)).image.shape == (3, 8, 8)


def test_very_long_pictures_do_not_fill_the_memory() -> None:
    ramp = np.tile(np.linspace(0, 255, 60_000).astype(np.uint8), (2, 1))
    prepare = Preprocess(size=(64, 64), shorter=64, mean=(0.0,), std=(1.0,))
    view = prepare(Image.fromarray(ramp))
    assert view.where == Placement((2, 60_000), (64, 1_920_000), (0, 959_968), (64, 64))
    assert torch.allclose(view.image, torch.tensor(0.5), atol=0.01)
    bordered = Preprocess(size=(70, 64), shorter=64, mean=(0.0,), std=(1.0,))(Image.fromarray(ramp))
    assert torch.equal(bordered.image[:, 3:67], view.image)
    assert bordered.image[:, :3].sum() == bordered.image[:, 67:].sum() == 0


def test_restore_shows_what_the_model_saw() -> None:
    for prepare in (Preprocess(size=(30, 40)), Preprocess(size=(30, 40), mean=(0.3,), std=(0.2,))):
        view = prepare(Image.fromarray(colour()))
        again = prepare.restore(view.image)
        same = Preprocess(size=(30, 40), shorter=30, mean=prepare.mean, std=prepare.std)
        assert torch.allclose(same(again).image, view.image, atol=1e-5)


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
    shorter=st.none() | st.integers(1, 999),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    mean=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_dictionaries_go_round(size, shorter, interpolation, mean) -> None:
    prepare = Preprocess(size=size, shorter=shorter, interpolation=interpolation, mean=tuple(mean))
    assert from_plain(Preprocess, json.loads(json.dumps(to_plain(prepare)))) == prepare


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"sizes": [3, 3]}, "unknown key 'sizes'; did you mean 'size'"),
        ({"size": 224}, "size: wanted"),
        ({"size": [224]}, "size: wanted 2 values"),
        ({"size": [224, 0]}, "height, width"),
        ({"size": [224, 2.5]}, "size: wanted int"),
        ({"shorter": 0}, "shorter is 0"),
        ({"shorter": True}, "shorter: wanted int"),
        ({"interpolation": "bicubc"}, "did you mean 'bicubic'"),
        ({"interpolation": 3}, "interpolation: wanted str"),
        ({"mean": [0.5]}, "mean has 1 and std 3"),
        ({"mean": [0.5, 0.5], "std": [0.5, 0.5]}, "wanted 3 each"),
        ({"std": [0.5, 0.5, 0]}, "above zero"),
        ({"std": [0.5, 0.5, float("nan")]}, "above zero"),
        ({"mean": [0.5, 0.5, "x"]}, "mean: wanted"),
        ({"mean": 0.5}, "mean: wanted"),
    ],
)
def test_wrong_values_have_a_reason(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        from_plain(Preprocess, values)
    assert "\n" not in str(caught.value)
