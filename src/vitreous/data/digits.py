"""The embedded data: 1797 real handwritten digits of 8 x 8 pixels, with a split that never changes.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository (1998), as shipped inside scikit-learn.

The split: within each class, the digits are put in the order of SHA-256("vitreous digits <number>"),
where the number is the digit's place in scikit-learn's table; the first ones are test, the next
validation, the rest train. Each class gives to a part in proportion to its size, largest remainders
first. So test has 360 digits, validation 144, train 1293, on every machine and for every seed. The
test part is for the last word only: no setting may be chosen by looking at it.
"""

import hashlib

import numpy as np

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.errors import DataError

TEST, VALIDATION = 360, 144
_CLASSES = tuple(str(digit) for digit in range(10))


def digits(options: str = "") -> Splits:
    """The digits as three Collections of (8, 8) uint8 pictures, 0 (paper) to 255 (ink). They have no
    ``options``: DataError for any."""
    if options:
        raise DataError(f"digits:{options}: digits takes no options; wanted digits alone")
    from sklearn.datasets import load_digits

    table = load_digits()
    # The scan counts ink in 0..16; the whole range of a byte is used.
    pictures = np.rint(table.images * 255 / 16).astype(np.uint8)
    samples = [
        Sample(f"digit-{number:04d}", picture, int(label))
        for number, (picture, label) in enumerate(zip(pictures, table.target, strict=True))
    ]
    parts = _split([int(label) for label in table.target])
    train, validation, test = (
        Collection("digits", _CLASSES, tuple(samples[number] for number in part)) for part in parts
    )
    return Splits(
        train,
        validation,
        test,
        f"embedded digits in their fixed split: {len(train)} train, {len(validation)} validation,"
        f" {len(test)} test",
    )


def _split(labels: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the train, validation and test digits, each in ascending order."""
    members: list[list[int]] = [[] for _ in _CLASSES]
    for number, label in enumerate(labels):
        members[label].append(number)
    for numbers in members:
        numbers.sort(key=lambda number: hashlib.sha256(f"vitreous digits {number}".encode()).digest())
    sizes = [len(numbers) for numbers in members]
    tests, validations = _shares(sizes, TEST), _shares(sizes, VALIDATION)
    train, validation, test = [], [], []
    for numbers, first, second in zip(members, tests, validations, strict=True):
        test += numbers[:first]
        validation += numbers[first : first + second]
        train += numbers[first + second :]
    return sorted(train), sorted(validation), sorted(test)


def _shares(sizes: list[int], total: int) -> list[int]:
    """Whole numbers in proportion to ``sizes`` that add up to ``total``."""
    whole = sum(sizes)
    shares = [size * total // whole for size in sizes]
    remainders = [size * total % whole for size in sizes]
    largest = sorted(range(len(sizes)), key=lambda index: (-remainders[index], index))
    for index in largest[: total - sum(shares)]:
        shares[index] += 1
    return shares
