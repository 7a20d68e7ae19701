"""Scans are counted to the end of the picture, whatever is appended to it."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vitreous.data.images import open_picture
from vitreous.data.jpeg import count_scans

PIXELS = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)


def encoded(*, progressive: bool) -> bytes:
    stream = BytesIO()
    Image.fromarray(PIXELS).save(stream, format="JPEG", progressive=progressive, quality=95)
    return stream.getvalue()


@pytest.mark.parametrize(("progressive", "scans"), [(False, 1), (True, 10)])
def test_scans_are_counted(progressive: bool, scans: int) -> None:
    assert count_scans(encoded(progressive=progressive)) == scans


def test_a_film_behind_the_picture_does_not_count() -> None:
    picture = encoded(progressive=False)
    film = b"\x00\xff\xda\x00\x08" * 1000
    assert count_scans(picture + film) == 1
    assert open_picture(picture + film).tobytes() == open_picture(picture).tobytes()


def test_what_is_no_jpeg_ends() -> None:
    for data in (b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8\xff\xda\x00\x00" * 9):
        assert count_scans(data) <= 9
