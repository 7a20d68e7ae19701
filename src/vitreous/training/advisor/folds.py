"""The same pictures for every candidate: folds of what is there to learn from."""

from hashlib import sha256

from vitreous.data.collection import Collection, Splits
from vitreous.errors import DataError

COUNT = 5  # folds; a candidate learns from four fifths of the pictures


def pool_of(splits: Splits) -> Collection:
    """What folds are made of: the train and validation parts. A test part stays unseen.

    Raises:
        DataError: there are no labelled pictures, or one class alone.
    """
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    if not parts:
        raise DataError("the data has no labelled pictures; put each into the folder of its class")
    pool = Collection(
        parts[0].name, parts[0].classes, tuple(sample for part in parts for sample in part.samples)
    )
    if len(pool.classes) < 2:
        raise DataError(f"{pool.name}: one class only, {pool.classes[0]}; there is nothing to tell apart")
    few = [name for name, count in pool.counts().items() if count < COUNT]
    if few:
        raise DataError(
            f"{pool.name}: too few pictures of {', '.join(few[:8])} to compare on; wanted {COUNT} or more of"
            " every class"
        )
    return pool


def fold_of(pool: Collection, number: int, *, seed: int) -> Splits:
    """Fold ``number`` (from 0) held out as the test part, a tenth of the rest for validation, and train.

    Within each class, pictures stand in the order of SHA-256("<seed>:<name>"); every ``COUNT``-th one is of a
    fold, so that each fold has its share of every class.
    """
    train: list[int] = []
    validation: list[int] = []
    test: list[int] = []
    for members in _by_class(pool, seed):
        rest = [index for place, index in enumerate(members) if place % COUNT != number]
        test += [index for place, index in enumerate(members) if place % COUNT == number]
        held = max(1, (len(rest) + 5) // 10)
        validation += rest[:held]
        train += rest[held:]
    how = f"fold {number + 1} of {COUNT}: {len(train)} train, {len(validation)} validation, {len(test)} test"
    first, second, third = (pool.select(sorted(part)) for part in (train, validation, test))
    return Splits(first, second, third, how, seeded=True)


def _by_class(pool: Collection, seed: int) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in pool.classes]
    for index, label in enumerate(pool.labels):
        members[label].append(index)
    names = [f"{seed}:{sample.name}".encode("utf-8", "backslashreplace") for sample in pool.samples]
    return [sorted(some, key=lambda index: sha256(names[index]).digest()) for some in members]
