"""Views come in order, a bad file in its place, and not all at once."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.data.reading import read_ahead
from vitreous.errors import PictureError

PREPARE = Preprocess(size=(4, 4), shorter=None, mean=(0.0,) * 3, std=(1.0,) * 3)


def test_views_are_in_order_and_errors_in_their_place() -> None:
    asked: list[int] = []

    def samples() -> Iterator[Sample]:
        for number in range(9):
            asked.append(number)
            pixels = np.full((4, 4), 10 * number, dtype=np.uint8)
            yield Sample(f"{number}.png", b"broken" if number == 4 else pixels)

    stream = read_ahead(samples(), PREPARE, ahead=3)
    first, _ = next(stream)
    assert first.name == "0.png" and len(asked) == 4
    rest = list(stream)
    assert [sample.name for sample, _ in rest] == [f"{number}.png" for number in range(1, 9)]
    for number, (_, view) in enumerate(rest, start=1):
        if number == 4:
            assert isinstance(view, PictureError) and view.name == "4.png"
        else:
            assert isinstance(view, Tensor)
            assert round(float(view.mean()) * 255) == 10 * number
