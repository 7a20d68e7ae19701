"""Facts come from the pictures themselves, and from no more of them than it takes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitreous.data.folder import read_data
from vitreous.errors import DataError
from vitreous.training import facts as module
from vitreous.training.facts import facts_of, is_grey

RANDOM = np.random.default_rng(0)


def draw(folder: Path, count: int, size: tuple[int, int] = (40, 30), *, grey: bool = False) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        shape = size[::-1] if grey else (*size[::-1], 3)
        Image.fromarray(RANDOM.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{number:03d}.png")


def test_labelled_photographs(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "ant", 30)
    draw(tmp_path / "train" / "bee", 6)
    draw(tmp_path / "val" / "ant", 2)
    draw(tmp_path / "val" / "bee", 2)
    found = facts_of(read_data(tmp_path), device="cuda")
    assert (found.pictures, found.classes, found.fewest, found.most) == (36, 2, 6, 30)
    assert (found.side, found.grey, found.device) == (40, False, "cuda")
    assert found.cores == module.cores() >= 1


def test_grey_pictures_without_labels(tmp_path: Path) -> None:
    draw(tmp_path / "pictures", 30, grey=True)
    found = facts_of(read_data(tmp_path / "pictures"))
    assert (found.classes, found.fewest, found.most, found.grey) == (0, 0, 0, True)
    assert found.pictures == 27  # a tenth is held out


def test_the_digits(tmp_path: Path) -> None:
    found = facts_of(read_data("digits"))
    assert (found.pictures, found.classes, found.side, found.grey) == (1293, 10, 8, True)


def test_one_coloured_picture_makes_them_coloured_and_bad_files_are_passed_over(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        draw(tmp_path / label, 12, grey=True)
    draw(tmp_path / "cow", 1)
    draw(tmp_path / "dog", 2, (3000, 10), grey=True)
    (tmp_path / "ant" / "000.png").write_bytes(b"no picture")
    found = facts_of(read_data(tmp_path))
    assert found.grey is False
    assert found.side == 40  # of the middle one


@pytest.mark.parametrize(("tint", "grey"), [(0, True), (2, True), (40, False)])
def test_a_small_tint_is_grey(tint: int, grey: bool) -> None:
    pixels = np.repeat(RANDOM.integers(0, 200, (20, 20, 1), dtype=np.uint8), 3, axis=2)
    pixels[..., 0] += np.uint8(tint)
    assert is_grey(Image.fromarray(pixels)) is grey


def test_no_more_pictures_are_opened_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("ant", "bee"):
        draw(tmp_path / label, 100, (4, 4))
    train = read_data(tmp_path).train
    assert train is not None
    opened: list[int] = []
    original = type(train).open
    monkeypatch.setattr(
        type(train), "open", lambda self, index: (opened.append(index), original(self, index))[1]
    )
    module.look(train)
    assert len(opened) <= module.LOOKED_AT
    assert max(opened) > 0.9 * len(train) > 10 * (min(opened) + 1)  # from all of the collection
    opened.clear()
    monkeypatch.setattr(module, "SECONDS", 0.0)
    module.look(train)
    assert len(opened) == module.FEWEST
    opened.clear()
    monkeypatch.setenv("WORLD_SIZE", "2")  # every process must come to the same
    module.look(train)
    assert len(opened) > module.FEWEST
    assert module.cores() == 2


def test_pictures_that_cannot_be_read_are_no_data(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        draw(tmp_path / label, 4)
        for file in (tmp_path / label).iterdir():
            file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the pictures"):
        facts_of(read_data(tmp_path))


def test_what_cannot_be_learnt_from_is_said(tmp_path: Path) -> None:
    draw(tmp_path / "ant", 30)
    with pytest.raises(DataError, match="one class only"):
        facts_of(read_data(tmp_path))
