import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from vitreous.errors import ConfigError
from vitreous.report.patch_figure import patch_figure, strip

SVG = "{http://www.w3.org/2000/svg}"


def words_of(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_numbers_of_vit_b_16(cat: Image.Image) -> None:
    words = words_of(patch_figure(cat).svg())
    assert {str(number) for number in range(1, 197)} <= set(words)
    everything = " ".join(words)
    for fact in ("14 × 14 = 196", "768 numbers", "768 × 768", "197 × 768", "[CLS]", "equation 1"):
        assert fact in everything
    assert "z0  =  [ xclass ;  x1E ;  x2E ;  …  ;  xNE ]  +  Epos" in words


def test_the_cut_pictures_are_the_pictures_own_pixels() -> None:
    picture = Image.effect_noise((32, 32), 90).convert("RGB")
    figure = patch_figure(picture, 8, (32, 32))
    pictures = next(mark for mark in figure.marks if getattr(mark, "name", "") == "patches").marks
    cut = [np.asarray(mark.image) for mark in pictures if hasattr(mark, "image")]
    assert len(cut) == 16
    rows = [np.concatenate(cut[row * 4 : row * 4 + 4], axis=1) for row in range(4)]
    assert np.array_equal(np.concatenate(rows), np.asarray(picture))


def test_a_strip_is_the_vector_in_order() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    column = np.asarray(strip(Image.fromarray(pixels)))
    assert column.shape == (12, 1, 3)
    for channel in range(3):
        part = column[4 * channel : 4 * channel + 4, 0].astype(int)
        assert (np.diff(part[:, channel]) > 0).all()  # the values grow, and so does the brightness
        assert (part.argmax(axis=1) == channel).all()


@pytest.mark.parametrize(
    ("patch", "size"),
    [(32, (224, 224)), (8, (224, 224)), (2, (8, 8)), (4, (8, 8)), (16, (120, 200)), (8, (8, 8))],
)
def test_other_sizes_draw(cat: Image.Image, patch: int, size: tuple[int, int]) -> None:
    figure = patch_figure(cat, patch, size, width=64)
    rows, cols = -(-size[0] // patch), -(-size[1] // patch)
    assert f"{rows} rows × {cols} columns" in words_of(figure.svg())
    pixels = np.asarray(figure.raster(0.5))
    assert (pixels[:, -2:] == 255).all() and (pixels[-2:] == 255).all()


@pytest.mark.parametrize("patch", [0, -1, 33])
def test_an_impossible_patch_is_refused(cat: Image.Image, patch: int) -> None:
    with pytest.raises(ConfigError, match=r"larger than the picture of 32x48 pixels|1 pixel or more"):
        patch_figure(cat, patch, (32, 48))
