import numpy as np
import pytest
from PIL import Image

from vitreous.explain.overlay import COLOURS, colourise, overlay, strength_of


def lightness(colour: str) -> float:
    """L of Oklab."""
    srgb = np.frombuffer(bytes.fromhex(colour), dtype=np.uint8) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = (
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ linear
    )
    return float(np.array([0.2104542553, 0.7936177850, -0.0040720468]) @ np.cbrt(cones))


def test_lightness_grows_evenly() -> None:
    steps = np.diff([lightness(colour) for colour in COLOURS])
    assert steps.min() > 0
    assert np.abs(steps - steps.mean()).max() < 0.1 * steps.mean()


def test_colours_meet_the_table() -> None:
    assert colourise(np.array(0.0)).tolist() == list(bytes.fromhex(COLOURS[0]))
    assert colourise(np.array([[1.0]])).tolist() == [[list(bytes.fromhex(COLOURS[-1]))]]
    assert colourise(np.array([0.5])).tolist() == [list(bytes.fromhex(COLOURS[8]))]
    assert colourise(np.array([-1.0, 2.0])).tolist() == colourise(np.array([0.0, 1.0])).tolist()


def test_strength_spans_what_was_seen() -> None:
    heat = np.array([[0, 0.30, 0.31], [0, 0.32, 0.30]], dtype=np.float32)
    strength = strength_of(heat)
    assert strength[:, 0].tolist() == [0, 0]
    assert strength.max() == 1 and strength[0, 1] == 0
    assert strength_of(np.zeros((2, 2))).max() == 0
    assert np.unique(strength_of(np.full((2, 2), 0.3))).tolist() == [0.5]


def test_overlay_colours_the_hot_side_only() -> None:
    picture = Image.new("RGB", (20, 10), (100, 120, 140))
    heat = np.zeros((10, 20), dtype=np.float32)
    heat[:, 10:] = 1.0
    heat[:, 5:10] = 0.01
    pixels = np.asarray(overlay(picture, heat)).astype(int)
    assert pixels.shape == (10, 20, 3)
    assert np.ptp(pixels[5, 0]) < 40  # greyed
    assert np.ptp(pixels[5, 15]) > 90  # yellow
    with pytest.raises(ValueError, match="heat is"):
        overlay(picture, heat.T)
