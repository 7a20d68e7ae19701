"""What is hidden: as much as was asked for, in one piece where that is the point, and from the seed alone."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from vitreous.data.collection import Collection, Sample
from vitreous.data.draws import drawing
from vitreous.data.loader import batches
from vitreous.data.masks import Blockwise, Masks, RandomOrder, RandomUnits, nearest_share
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError

sides = st.integers(1, 24)
ratios = st.floats(0.01, 0.99)


def drawn(masks: Masks, *name: int) -> Tensor:
    with drawing("mask", *name):
        return masks()


def neighbours(masks: Masks, grid: tuple[int, int], count: int = 200) -> float:
    """How many of its four neighbours a hidden patch has hidden beside it, in the mean."""
    hidden = torch.stack([drawn(masks, number).view(grid) for number in range(count)]).float()
    beside = torch.zeros_like(hidden)
    beside[:, 1:] += hidden[:, :-1]
    beside[:, :-1] += hidden[:, 1:]
    beside[:, :, 1:] += hidden[:, :, :-1]
    beside[:, :, :-1] += hidden[:, :, 1:]
    return ((beside * hidden).sum() / hidden.sum()).item()


@pytest.mark.parametrize(
    ("ratio", "total", "hidden"),
    [(0.4, 196, 78), (0.383, 196, 75), (0.4, 64, 26), (0.5, 5, 3), (0.6, 36, 22), (0.01, 16, 0)],
)
def test_a_share_is_the_nearest_whole_number(ratio: float, total: int, hidden: int) -> None:
    assert nearest_share(ratio, total) == hidden


# Blocks


@given(rows=sides, cols=sides, ratio=ratios, aspect=st.floats(0.01, 1.0), seed=st.integers(0, 2**32))
def test_blocks_hide_exactly_their_share_of_any_grid(
    rows: int, cols: int, ratio: float, aspect: float, seed: int
) -> None:
    count = nearest_share(ratio, rows * cols)
    assume(0 < count < rows * cols)
    masks = Blockwise(grid=(rows, cols), mask_ratio=ratio, aspect=aspect)
    assert masks.count == count
    hidden = drawn(masks, seed)
    assert hidden.shape == (rows * cols,)
    assert hidden.dtype == torch.bool
    assert hidden.sum() == count
    assert torch.equal(hidden, drawn(masks, seed))


@given(data=st.data(), rows=sides, cols=sides, ratio=ratios)
def test_any_smallest_block_that_fits_hides_as_much(
    data: st.DataObject, rows: int, cols: int, ratio: float
) -> None:
    count = nearest_share(ratio, rows * cols)
    assume(0 < count < rows * cols)
    smallest = data.draw(st.integers(1, count))
    masks = Blockwise(grid=(rows, cols), mask_ratio=ratio, smallest_block=smallest)
    assert masks.smallest == smallest
    assert drawn(masks, 0).sum() == count


def test_the_published_sizes() -> None:
    masks = Blockwise(grid=(14, 14), mask_ratio=0.383)
    assert (masks.count, masks.smallest) == (75, 16)
    assert Blockwise(grid=(4, 4), mask_ratio=0.4).smallest == 1
    assert Blockwise(grid=(14, 14), mask_ratio=0.02).smallest == 4  # no more than are hidden


@pytest.mark.parametrize("grid", [(14, 14), (8, 8), (6, 20)])
def test_blocks_are_no_salt_and_pepper(grid: tuple[int, int]) -> None:
    masks = Blockwise(grid=grid)
    scattered = RandomUnits(grid=grid, unit=1, mask_ratio=0.4)
    assert neighbours(masks, grid) > 1.8 * neighbours(scattered, grid)


def test_where_one_block_is_all_it_is_a_rectangle_of_any_aspect_between_the_bounds() -> None:
    masks = Blockwise(grid=(40, 40), mask_ratio=0.04, smallest_block=64, aspect=0.25)
    shapes = []
    for number in range(300):
        hidden = drawn(masks, number).view(40, 40)
        shapes.append((hidden.any(1).sum().item(), hidden.any(0).sum().item()))
    # Others were a patch or two short or long in rounding, which a second block made up for.
    whole = {(rows, cols) for rows, cols in shapes if rows * cols == 64}
    assert whole == {(4, 16), (8, 8), (16, 4)}
    assert sum(shape in whole for shape in shapes) > 20


def test_every_patch_is_hidden_in_some_pictures_and_visible_in_others() -> None:
    masks = Blockwise(grid=(8, 8))
    share = torch.stack([drawn(masks, number) for number in range(600)]).float().mean(0)
    assert share.min() > 0.02 and share.max() < 0.9


def test_other_seeds_hide_other_patches() -> None:
    masks = Blockwise(grid=(8, 8))
    assert len({tuple(drawn(masks, number).tolist()) for number in range(50)}) == 50


@pytest.mark.parametrize("same", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("grid", [(8, 8), (3, 17)])
def test_the_unluckiest_draws_end(
    grid: tuple[int, int], same: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = Blockwise(grid=grid, mask_ratio=0.9, smallest_block=1)
    rectangles: list[int] = []

    def rand(count: int) -> Tensor:  # one rectangle again and again, which hides nothing new
        rectangles.append(count)
        assert len(rectangles) <= masks.count, "a rectangle has hidden nothing"
        return torch.full((count,), same)

    monkeypatch.setattr(torch, "rand", rand)
    assert masks().sum() == masks.count


# Squares


@given(
    rows=sides,
    cols=sides,
    unit=st.integers(1, 9),
    ratio=ratios,
    seed=st.integers(0, 2**32),
)
def test_squares_are_hidden_whole_or_not_at_all(
    rows: int, cols: int, unit: int, ratio: float, seed: int
) -> None:
    down, across = -(-rows // unit), -(-cols // unit)
    count = nearest_share(ratio, down * across)
    assume(0 < count < down * across)
    masks = RandomUnits(grid=(rows, cols), unit=unit, mask_ratio=ratio)
    hidden = drawn(masks, seed)
    assert hidden.shape == (rows * cols,)
    assert hidden.dtype == torch.bool
    assert torch.equal(hidden, drawn(masks, seed))
    squares = 0
    for top in range(0, rows, unit):
        for left in range(0, cols, unit):
            square = hidden.view(rows, cols)[top : top + unit, left : left + unit]
            assert square.all() or not square.any()
            squares += int(square.all())
    assert squares == count


def test_the_papers_squares() -> None:
    masks = RandomUnits(grid=(48, 48), unit=8, mask_ratio=0.6)  # 192 pixels, patches of 4, squares of 32
    assert (masks.units, masks.count) == ((6, 6), 22)
    assert drawn(masks, 0).sum() == 22 * 64


def test_every_square_has_the_same_chance() -> None:
    masks = RandomUnits(grid=(4, 4), unit=2, mask_ratio=0.5)
    share = torch.stack([drawn(masks, number) for number in range(1000)]).float().mean(0)
    assert ((share - 0.5).abs() < 0.06).all()


# In batches


def test_a_held_out_picture_is_masked_alike_whichever_are_judged_beside_it() -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    collection = Collection("ten", (), tuple(Sample(f"{number}.png", pixels) for number in range(10)))
    masks, prepare = Blockwise(grid=(8, 8)), Preprocess(size=(8, 8), shorter=None)
    (whole,) = batches(collection, prepare, batch_size=10, masks=masks)
    assert whole.masks is not None and len(whole.masks.unique(dim=0)) == 10
    own = range(1, 10, 2)  # what the second of two processes judges
    pieces = list(batches(collection.select(own), prepare, batch_size=2, masks=masks))
    assert torch.equal(torch.cat([piece.masks for piece in pieces]), whole.masks[list(own)])


# Refused, and sent to loading processes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Blockwise(grid=(4, 4), mask_ratio=0.01), "hides none of 16 patches"),
        (lambda: Blockwise(grid=(4, 4), mask_ratio=0.99), "hides 16 of 16 patches"),
        (lambda: Blockwise(grid=(1, 1), mask_ratio=0.4), "hides none of 1 patches"),
        (lambda: Blockwise(grid=(4, 4), mask_ratio=0.4, smallest_block=7), "7 patches, and 6 are hidden"),
        (lambda: RandomUnits(grid=(8, 8), unit=8), "hides 1 of 1 squares of 8x8 patches"),
        (lambda: RandomUnits(grid=(8, 8), unit=4, mask_ratio=0.1), "hides none of 4 squares"),
    ],
)
def test_what_hides_nothing_or_everything_is_refused_in_one_line(wrong: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        wrong()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "masks", [RandomOrder(6), Blockwise(grid=(2, 3), mask_ratio=0.5), RandomUnits(grid=(2, 3), unit=1)]
)
def test_masks_travel_to_loading_processes(masks: Masks) -> None:
    assert torch.equal(drawn(pickle.loads(pickle.dumps(masks)), 3), drawn(masks, 3))
