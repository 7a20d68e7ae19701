"""Sizes of grids and stems as plain numbers. No torch here: counting a model must not load it."""

from typing import NamedTuple


class Convolution(NamedTuple):
    """One convolution of a stem; its padding is half its kernel, rounded down."""

    channels: int  # in
    out: int
    kernel: int  # side, in pixels
    stride: int


def grid_of(height: int, width: int, patch: int, *, cut_edges: bool = False) -> tuple[int, int]:
    """The (rows, cols) of patches that cover a picture; a part of a patch counts as a whole one, or with
    ``cut_edges`` not at all."""
    if cut_edges:
        return height // patch, width // patch
    return -(-height // patch), -(-width // patch)


def whole_windows(rows: int, cols: int, window: tuple[int, int]) -> tuple[int, int]:
    """The (rows, cols) of whole windows that cover a grid."""
    return rows + -rows % window[0], cols + -cols % window[1]


def shift_on(
    grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int], rule: str
) -> tuple[int, int]:
    """How far a grid is shifted that wants to be shifted so far. ``rule`` says where it is not: "each_axis"
    along an axis that one window covers, "shorter_axis" at all where one window covers the shorter axis,
    "always" nowhere."""
    down, across = grid[0] > window[0], grid[1] > window[1]
    if rule == "always":
        down = across = True
    elif rule == "shorter_axis":
        down = across = min(grid[0] - window[0], grid[1] - window[1]) > 0
    return shift[0] * down, shift[1] * across


def stem_convolutions(
    channels: int, width: int, patch: int, first: int | None = None
) -> tuple[Convolution, ...]:
    """The convolutional stem for a patch: strides of two as often as they go, then what is left of the
    patch (16 -> 2 2 2 2; 14 -> 2 7); then 1 x 1 to D. Channels double from ``first`` up to the width, or, for
    None, so that the last has half the width."""
    strides: list[int] = []
    rest = patch
    while rest % 2 == 0:
        strides.append(2)
        rest //= 2
    if rest > 1 or not strides:
        strides.append(rest)
    layers: list[Convolution] = []
    for index, stride in enumerate(strides):
        half = max(8, width // 2 ** (len(strides) - index))
        out = half if first is None else min(width, first * 2**index)
        kernel = stride + 1 - stride % 2  # odd, so that half of it pads both sides alike
        layers.append(Convolution(channels, out, kernel, stride))
        channels = out
    return (*layers, Convolution(channels, width, 1, 1))
