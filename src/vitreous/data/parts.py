"""The parts of a data set that a run learns from: with labels, or from pictures alone."""

from vitreous.data.collection import Collection, Splits
from vitreous.data.folder import check_trainable
from vitreous.data.layouts import Wanted
from vitreous.data.splitting import held_out, many
from vitreous.errors import DataError

FEWEST = 20  # pictures; with fewer there is nothing to learn that memory could not hold
MOST_HELD_OUT = 512
_TOLD = {"detection": "objects", "segmentation": "a class for each pixel"}


def learning_parts(
    splits: Splits, *, seed: int = 0, labelled: bool = True, wanted: Wanted | None = None
) -> Splits:
    """Train and validation parts of a data set as ``read_data`` gives it, and what else it has.

    Without labels any pictures do: the train part of a data set that has labels (its test part stays
    unseen), or what there is beside a test part, or a folder without classes, of which a tenth, at most
    ``MOST_HELD_OUT``, is held out. For what is ``wanted`` boxes, or a class for each pixel, must be there.

    Raises:
        DataError: with ``labelled`` or ``wanted``, what ``check_trainable`` refuses, or pictures of which
            something else is told; without, fewer than ``FEWEST`` pictures.
    """
    if labelled or wanted in _TOLD:
        check_trainable(splits)
        _check_told(splits, wanted)
        return splits
    pictures = splits.train or splits.validation or splits.test
    if pictures is None:
        raise DataError("the data has no pictures")
    if splits.train is None or splits.validation is None:
        splits = _split(pictures, splits, seed)
    count = sum(len(part) for part in (splits.train, splits.validation) if part is not None)
    if count < FEWEST:
        raise DataError(
            f"{pictures.name}: {many(count, 'picture')} to learn from without labels; wanted {FEWEST} or more"
        )
    return splits


def _check_told(splits: Splits, wanted: Wanted | None) -> None:
    """DataError where something else is told of the pictures than is to be learnt."""
    train = splits.train
    if train is None:
        return
    told = "objects" if train.detects else "a class for each pixel" if train.segments else "a label"
    needed = _TOLD.get(wanted or "", "a label")
    if told != needed:
        raise DataError(
            f"{train.name}: its pictures have {told} each, and {wanted or 'classification'} wants {needed};"
            " give other data, or --model of another kind"
        )


def _split(pictures: Collection, splits: Splits, seed: int) -> Splits:
    """The pictures as train and validation; a test part beside a train part stays what it is."""
    out = held_out([sample.name for sample in pictures.samples], seed, MOST_HELD_OUT)
    train = pictures.select(index for index in range(len(pictures)) if index not in out)
    validation = pictures.select(sorted(out))
    test = splits.test if splits.test is not pictures else None
    how = f"{splits.how}; {len(validation)} of {len(pictures)} held out by seed {seed}"
    return Splits(train, validation, test, how, seeded=True)
