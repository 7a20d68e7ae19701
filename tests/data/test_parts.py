"""What a run learns from: labels where they are needed, pictures alone where they are not, never the test."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.data.pictures import colour, png
from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.folder import read_data
from vitreous.data.layouts import Wanted
from vitreous.data.parts import FEWEST, MOST_HELD_OUT, learning_parts
from vitreous.errors import DataError

PICTURE = png(colour()[:4, :4])


def fill(root: Path, names: Iterable[str]) -> str:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    return str(root)


def flat(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{number:04d}.png" for number in range(count)]


def parts(source: str, *, seed: int = 0, labelled: bool = False) -> Splits:
    return learning_parts(read_data(source, seed=seed), seed=seed, labelled=labelled)


def names(splits: Splits) -> list[set[str]]:
    return [{sample.name for sample in part.samples} if part else set() for part in splits[:3]]


def test_a_folder_without_classes_gives_a_tenth_to_validation(tmp_path: Path) -> None:
    splits = parts(fill(tmp_path, flat(40)))
    train, validation, test = names(splits)
    assert (len(train), len(validation), test) == (36, 4, set())
    assert train | validation == set(flat(40))
    assert splits.seeded
    assert "40 pictures without labels; 4 of 40 held out by seed 0" in splits.how
    assert splits.train is not None and splits.train.classes == ()
    assert [sample.number for sample in splits.train.samples] == [-1] * 36


def test_of_many_pictures_only_so_many_are_held_out() -> None:
    count = 10 * MOST_HELD_OUT + 100
    pictures = Collection("many", (), tuple(Sample(name, PICTURE) for name in flat(count)))
    train, validation, _ = names(learning_parts(Splits(None, None, pictures, "many"), labelled=False))
    assert (len(train), len(validation)) == (count - MOST_HELD_OUT, MOST_HELD_OUT)


def test_what_is_held_out_follows_from_seed_and_names_alone(tmp_path: Path) -> None:
    here = fill(tmp_path / "here", flat(60))
    there = fill(tmp_path / "there", reversed(flat(60)))
    assert names(parts(here)) == names(parts(there))
    assert names(parts(here)) != names(parts(here, seed=1))
    more = fill(tmp_path / "more", [*flat(60), "another.png"])
    assert len(names(parts(more))[1] & names(parts(here))[1]) >= 5  # most stay where they are


def test_labels_are_not_needed_but_kept_and_the_test_part_stays_unseen(tmp_path: Path) -> None:
    source = fill(tmp_path, [*flat(30, "cat/"), *flat(30, "dog/")])
    with_labels, without = parts(source, labelled=True), parts(source)
    assert with_labels == without == read_data(source)
    train, validation, test = names(without)
    assert test and not test & (train | validation)
    assert without.train is not None and without.train.counts() == {"cat": 24, "dog": 24}


def test_without_a_train_part_the_test_part_stays_unseen(tmp_path: Path) -> None:
    source = fill(tmp_path, [*flat(40, "val/cat/"), *flat(40, "test/cat/")])
    train, validation, test = names(parts(source))
    assert (len(train), len(validation), len(test)) == (36, 4, 40)


def test_parts_that_were_given_stay_what_they_are(tmp_path: Path) -> None:
    source = fill(tmp_path, [*flat(20, "train/cat/"), *flat(5, "val/cat/"), *flat(9, "test/cat/")])
    assert [len(part) for part in names(parts(source))] == [20, 5, 9]


def test_one_class_is_enough_where_none_is_told(tmp_path: Path) -> None:
    source = fill(tmp_path, flat(30, "everything/"))
    assert len(names(parts(source))[0]) == 24
    with pytest.raises(DataError):
        parts(source, labelled=True)


def test_a_folder_without_classes_teaches_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        parts(fill(tmp_path, flat(40)), labelled=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 3, FEWEST - 1])
def test_three_pictures_are_refused_in_one_line(tmp_path: Path, count: int) -> None:
    with pytest.raises(
        DataError, match=rf"{count} pictures? to learn from without labels; wanted 20"
    ) as caught:
        parts(fill(tmp_path, flat(count)))
    assert "\n" not in str(caught.value)


def test_so_many_are_enough(tmp_path: Path) -> None:
    assert [len(part) for part in names(parts(fill(tmp_path, flat(FEWEST))))] == [FEWEST - 2, 2, 0]


def test_three_pictures_of_a_class_are_refused_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="to learn from without labels"):
        parts(fill(tmp_path, [*flat(3, "cat/"), *flat(3, "dog/")]))


def test_the_embedded_digits_keep_their_test() -> None:
    assert parts("digits") == read_data("digits")


@pytest.mark.parametrize(
    ("data", "wanted", "told"),
    [
        (
            "scenes:detection,pictures=5",
            "segmentation",
            "have objects each, and segmentation wants a class for",
        ),
        (
            "scenes:segmentation,pictures=5",
            "detection",
            "have a class for each pixel each, and detection wants",
        ),
        ("scenes:detection,pictures=5", None, "have objects each, and classification wants a label"),
        ("scenes:pictures=30", "detection", "have a label each, and detection wants objects"),
    ],
)
def test_what_is_told_must_be_what_is_learnt(data: str, wanted: Wanted | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        learning_parts(read_data(data), labelled=wanted is None, wanted=wanted)
    if wanted is not None:
        fitting = read_data(data.replace("detection,", "").replace("segmentation,", ""), wanted=wanted)
        assert learning_parts(fitting, labelled=False, wanted=wanted) is fitting
