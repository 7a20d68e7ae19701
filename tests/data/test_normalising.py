"""From one model's view to another's and back."""

import pytest
import torch
from PIL import Image

from vitreous.data.normalising import coloured, normalised, pixels_of
from vitreous.data.preprocess import Preprocess


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_normalised_comes_back(channels: int) -> None:
    mean, std = (0.2, 0.5, 0.7)[:channels], (0.1, 0.2, 0.9)[:channels]
    prepare = Preprocess(size=(6, 5), shorter=None, mean=mean, std=std)
    plain = Preprocess(size=(6, 5), shorter=None, mean=(0.0,) * channels, std=(1.0,) * channels)
    picture = Image.effect_mandelbrot((5, 6), (-2, -1, 1, 1), 60).convert("RGB")
    image, pixels = (view(picture).image[None] for view in (prepare, plain))
    torch.testing.assert_close(pixels_of(image, prepare), pixels)
    torch.testing.assert_close(normalised(pixels, prepare), image)


def test_grey_is_three_equal_channels_and_colour_its_luminance() -> None:
    grey = torch.rand(2, 1, 4, 4)
    assert torch.equal(coloured(grey, 3), grey.expand(2, 3, 4, 4))
    assert torch.equal(coloured(grey, 1), grey)
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
    assert coloured(red, 1).item() == pytest.approx(0.299, abs=1e-3)
    torch.testing.assert_close(coloured(coloured(grey, 3), 1), grey, atol=1e-4, rtol=0)
