"""Folds: every picture is judged in one of them, and none is learnt from where it is judged."""

import numpy as np
import pytest

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.folder import read_data
from vitreous.errors import DataError
from vitreous.training.advisor.folds import COUNT, fold_of, pool_of


def collection(counts: dict[str, int], prefix: str = "") -> Collection:
    pixels = np.zeros((4, 4), dtype=np.uint8)
    samples = tuple(
        Sample(f"{prefix}{name}/{number}.png", pixels, label)
        for label, (name, count) in enumerate(counts.items())
        for number in range(count)
    )
    return Collection("made", tuple(counts), samples)


def test_folds_cover_the_pool_once_and_keep_the_shares_of_classes() -> None:
    pool = pool_of(read_data("digits"))
    assert len(pool) == 1293 + 144  # the test part stays unseen
    judged: list[str] = []
    for number in range(COUNT):
        train, validation, test, how, _ = fold_of(pool, number, seed=3)
        assert train is not None and validation is not None and test is not None
        parts = [{sample.name for sample in part.samples} for part in (train, validation, test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert sum(map(len, parts)) == len(pool)
        assert all(
            0.17 < count / whole < 0.23
            for count, whole in zip(test.counts().values(), pool.counts().values(), strict=True)
        )
        assert f"fold {number + 1} of {COUNT}" in how
        judged += parts[2]
    assert sorted(judged) == sorted(sample.name for sample in pool.samples)


def test_the_same_seed_gives_the_same_folds() -> None:
    pool = collection({"a": 20, "b": 9})
    names = [[sample.name for sample in fold_of(pool, 1, seed=seed).test.samples] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_what_cannot_be_compared_on_is_refused() -> None:
    few = collection({"a": 20, "b": COUNT - 1})
    with pytest.raises(DataError, match="too few pictures of b"):
        pool_of(Splits(few, None, None, "made"))
    with pytest.raises(DataError, match="no labelled pictures"):
        pool_of(Splits(None, None, few, "made"))
    one = collection({"a": 20})
    with pytest.raises(DataError, match="one class"):
        pool_of(Splits(one, None, None, "made"))
