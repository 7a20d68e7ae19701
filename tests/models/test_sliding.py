"""What does not depend on its window comes out as it was; every pixel is seen, and weighs what it should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vitreous.errors import ConfigError
from vitreous.models.sliding import even, falling, slide, windows_of


def pointwise(images: Tensor) -> Tensor:
    """(b, 3, h, w) -> (b, 2, h, w): each pixel by itself."""
    return torch.stack([images.sum(1).sin(), images[:, 0] * images[:, 2]], dim=1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.tuples(st.integers(3, 17), st.integers(3, 17)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)), st.data(),
)  # fmt: skip
def test_on_a_pointwise_model_it_equals_the_whole(
    count: int, size: tuple[int, int], window: tuple[int, int], data: st.DataObject
) -> None:
    step = data.draw(st.tuples(*(st.integers(1, side) for side in window)) | st.none())
    images = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))
    for weights in (even, falling):
        at_once = data.draw(st.integers(1, 5))
        found = slide(pointwise, images, window=window, step=step, weights=weights, at_once=at_once)
        torch.testing.assert_close(found, pointwise(images), rtol=1e-5, atol=1e-6)


def test_overlapping_answers_are_averaged_with_the_weights() -> None:
    """Each window answers with its own number: what two of them say is mixed by their weights."""
    asked: list[int] = []

    def numbered(windows: Tensor) -> Tensor:
        asked.append(len(windows))
        first = sum(asked[:-1])
        numbers = torch.arange(first, first + len(windows)).float()
        return numbers[:, None, None, None].expand(-1, 1, *windows.shape[-2:])

    images = torch.zeros(1, 3, 4, 10)
    level = slide(numbered, images, window=(4, 4), step=(4, 3), weights=even, at_once=1)
    assert asked == [1, 1, 1]
    torch.testing.assert_close(level[0, 0, 0], torch.tensor([0, 0, 0, 0.5, 1, 1, 1.5, 2, 2, 2]))
    asked.clear()
    tapered = slide(numbered, images, window=(4, 4), step=(4, 2), weights=falling, at_once=4)
    assert asked == [4]
    mixed = torch.tensor([0, 0, 1 / 3, 2 / 3, 4 / 3, 5 / 3, 7 / 3, 8 / 3, 3, 3])
    torch.testing.assert_close(tapered[0, 0, 0], mixed)


def test_windows_of_all_pictures_go_together_and_no_more_than_were_allowed() -> None:
    asked: list[tuple[int, ...]] = []

    def watched(windows: Tensor) -> Tensor:
        asked.append(tuple(windows.shape))
        return avg_pool2d(windows, 4)

    found = slide(watched, torch.randn(3, 3, 16, 20), window=(8, 8), at_once=7)
    assert found.shape == (3, 3, 16, 20)
    assert sum(shape[0] for shape in asked) == 3 * 3 * 4
    assert {shape[0] for shape in asked} == {6} and {shape[1:] for shape in asked} == {(3, 8, 8)}


def test_a_small_picture_is_padded_to_the_window() -> None:
    images = torch.randn(1, 3, 5, 20)

    def whole(windows: Tensor) -> Tensor:
        assert windows.shape[-2:] == (8, 8)
        assert (windows[:, :, 5:] == 0).all()
        return pointwise(windows)

    torch.testing.assert_close(slide(whole, images, window=(8, 8)), pointwise(images), rtol=1e-5, atol=1e-6)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_windows_leave_no_pixel_out_and_end_where_the_side_does(side: int, window: int, step: int) -> None:
    window, step = min(side, window), min(side, window, step)
    starts = windows_of(side, window, step)
    assert starts[0] == 0 and starts[-1] + window == side
    assert len(set(starts)) == len(starts)
    assert {place for start in starts for place in range(start, start + window)} == set(range(side))


def test_what_would_leave_pixels_out_is_refused() -> None:
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ConfigError, match="leave out pixels"):
        slide(pointwise, images, window=(4, 4), step=(5, 4))
    with pytest.raises(ConfigError, match="1 pixel or more"):
        slide(pointwise, images, window=(0, 4))
