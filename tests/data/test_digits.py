import numpy as np

from vitreous.data.digits import digits
from vitreous.data.folder import check_trainable, read_data

# The split is written down here: a change of these breaks every number that was ever reported.
TRAIN = "3a3062cc037027599a27aaf961654759d3a09bff0b6ae5182abbe25553afbe72"
VALIDATION = "e04a31b78eb6a5d77d4cc70da8462a9dbe565d196ae7147338a05507f48f5dc8"
TEST = "8fed94128639b2388855d9cde42a9db4518d14bcfea6e7c3eb0769fa4051f3b5"


def test_the_split_is_the_one_that_was_written_down() -> None:
    splits = digits()
    assert [len(part) for part in splits[:3]] == [1293, 144, 360]
    assert [part.fingerprint() for part in splits[:3]] == [TRAIN, VALIDATION, TEST]
    assert "1293 train, 144 validation, 360 test" in splits.how


def test_the_parts_share_no_digit_and_hold_all() -> None:
    names = [sample.name for part in digits()[:3] for sample in part.samples]
    assert len(names) == len(set(names)) == 1797


def test_the_split_is_stratified() -> None:
    splits = digits()
    totals = {name: sum(part.counts()[name] for part in splits[:3]) for name in splits.train.classes}
    for part in splits[:3]:
        for name, count in part.counts().items():
            assert abs(count - totals[name] * len(part) / 1797) < 2


def test_pixels_and_labels_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    table = load_digits()
    for part in digits()[:3]:
        assert part.classes == tuple("0123456789")
        for sample in part.samples:
            number = int(sample.name.removeprefix("digit-"))
            assert sample.label == table.target[number]
            assert sample.source.dtype == np.uint8
            assert np.abs(sample.source / 255 * 16 - table.images[number]).max() < 0.04
    assert np.asarray(digits().train.open(0)).shape == (8, 8, 3)


def test_the_seed_does_not_move_the_digits() -> None:
    splits = read_data("digits", seed=7)
    assert splits.test.fingerprint() == TEST
    check_trainable(splits)
