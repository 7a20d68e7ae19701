"""Colours are fixed and apart; what is drawn is where it was said to be, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitreous.data.annotation import IGNORED, Rle
from vitreous.data.drawing import Marks, colour_of, draw_objects, draw_region, palette

CLASSES = ("one", "two", "three")
FIRST = [(251, 134, 139), (112, 80, 209), (43, 221, 232)]


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (90, 90, 90))


def oklab(colours: np.ndarray) -> np.ndarray:
    """(n, 3) sRGB -> (n, 3), by its own matrices."""
    light = colours / 255
    light = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    opponents = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(light @ cones.T) @ opponents.T


def test_colours_are_fixed_by_their_number() -> None:
    assert [colour_of(number) for number in range(3)] == FIRST
    table = palette(3, IGNORED)
    assert table[:9] == [part for colour in FIRST for part in colour]
    assert table[3 * IGNORED :] == [255, 255, 255] and len(table) == 768


@pytest.mark.parametrize(("classes", "apart"), [(8, 0.13), (20, 0.08), (64, 0.035), (150, 0.025)])
def test_colours_look_different_from_one_another(classes: int, apart: float) -> None:
    seen = oklab(np.array([colour_of(number) for number in range(classes)], dtype=float))
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1) + np.eye(classes)
    assert distances.min() > apart


def test_a_box_is_drawn_on_the_pixels_that_it_has() -> None:
    drawn = np.asarray(draw_objects(grey(60, 50), Marks([[10, 20, 30, 45]], [1]), CLASSES))
    colour = np.array(colour_of(1))
    assert (drawn[20, 10:30] == colour).all() and (drawn[44, 10:30] == colour).all()
    assert (drawn[20:45, 10] == colour).all() and (drawn[20:45, 29] == colour).all()
    changed = (drawn != 90).any(axis=-1)
    assert not changed[21:44, 11:29].any() and not changed[45:].any()
    assert changed[:20].any()  # its name, above


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-30, 90)] * 4), max_size=4),
    st.integers(1, 70), st.integers(1, 70), st.sampled_from([0, 100]), st.booleans(),
)  # fmt: skip
def test_any_box_on_any_picture_is_drawn(
    boxes: list[tuple[float, ...]], width: int, height: int, least: int, masked: bool
) -> None:
    picture = grey(width, height)
    mask = Rle.of(np.ones((height, width), dtype=bool))
    marks = Marks(boxes, [2] * len(boxes), [0.5] * len(boxes), [mask] * len(boxes) if masked else None)
    drawn = draw_objects(picture, marks, CLASSES, least=least)
    factor = max(1, -(-least // max(width, height)))
    assert drawn.mode == "RGB" and drawn.size == (width * factor, height * factor)
    assert (np.asarray(picture) == 90).all()


def test_a_small_object_lies_on_top_of_a_large_one() -> None:
    large, small = np.zeros((2, 40, 40), dtype=bool)
    large[5:35, 5:35], small[15:25, 15:25] = True, True
    for places in ((0, 1), (1, 0)):
        boxes = np.array([[5, 5, 35, 35], [15, 15, 25, 25]])[list(places)]
        masks = [[Rle.of(large), Rle.of(small)][place] for place in places]
        drawn = np.asarray(draw_objects(grey(40, 40), Marks(boxes, places, None, masks), CLASSES)).astype(int)
        veiled = 0.5 * 90 + 0.5 * np.array(colour_of(0))
        assert np.abs(drawn[30, 30] - veiled).max() <= 1
        assert np.abs(drawn[22, 22] - (0.5 * veiled + 0.5 * np.array(colour_of(1)))).max() <= 1.5
        assert (drawn[37:] == 90).all()


def test_a_map_colours_its_classes_and_leaves_the_rest() -> None:
    region = np.full((60, 80), IGNORED, dtype=np.uint8)
    region[:, :40], region[30:, 40:60] = 0, 2
    drawn = np.asarray(draw_region(grey(80, 60), region, CLASSES, opacity=1)).astype(int)
    assert (drawn[:25, 60:] == 90).all()  # names lie lower
    assert (drawn[:15, :10] == colour_of(0)).all()
    assert (drawn[55:, 41:59] == colour_of(2)).all()
    half = np.asarray(draw_region(grey(80, 60), region, CLASSES, opacity=0.5)).astype(int)
    assert np.abs(half[5, 5] - (45 + np.array(colour_of(0)) / 2)).max() <= 1
    large = draw_region(grey(80, 60), region, CLASSES, least=200)
    assert large.size == (240, 180)
    with pytest.raises(ValueError, match=r"the map is \(80, 60\)"):
        draw_region(grey(80, 60), region.T, CLASSES)


def test_names_that_no_font_has_are_drawn_all_the_same() -> None:
    names = ("猫\n", "", "x" * 400)
    drawn = draw_objects(grey(64, 64), Marks([[0, 0, 9, 9]] * 3, [0, 1, 2]), names)
    assert drawn.size == (64, 64)
