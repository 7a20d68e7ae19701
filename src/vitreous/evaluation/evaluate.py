"""Run a predictor over labelled pictures and say how good it is, on which pictures, and why on those."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitreous.data.collection import Collection, Sample, Splits
from vitreous.data.folder import read_data
from vitreous.data.layouts import Wanted
from vitreous.errors import ConfigError, DataError, PictureError, nearest
from vitreous.evaluation import tagging
from vitreous.evaluation.classification import scores, softmax
from vitreous.evaluation.judged import WANTED, Answered, Judged, Progress, check_told
from vitreous.evaluation.matching import match
from vitreous.evaluation.objects import judge_objects
from vitreous.evaluation.regions import judge_regions
from vitreous.models.config import Says

PARTS = ("auto", "train", "validation", "test", "all")
MISTAKES = 50  # how many of the surest wrong answers a result names
AT_ONCE = {"classes": 64, "objects": 8, "regions": 8}  # pictures, where nothing is asked


class Part(NamedTuple):
    """The pictures to judge, what part of the data they are, and one sentence that says why these."""

    collection: Collection
    name: str
    why: str


def evaluate(
    predictor: Judged,
    data: Collection | Splits | str | PathLike[str],
    *,
    split: str = "auto",
    batch_size: int | None = None,
    allow_unreadable: bool = False,
    progress: Progress | None = None,
    window: int | None = None,
) -> dict[str, Any]:
    """Every figure of ``classification.scores``, as plain values, and what was judged; those of
    ``tagging.scores`` where pictures may show several classes; of a model that finds objects those of
    ``objects.judge_objects``, of one that tells the class of each pixel those of ``regions.judge_regions``.

    ``split`` is train, validation, test, all, or auto: the test part of the data, else its validation
    part; of data that was split by a seed, the held-out test part if the model was trained on the rest,
    else all of it. The result adds ``data`` (name, part, why, fingerprint, how many classes it has, and a
    note where they are not called as the model's), ``unreadable`` files and the ``mistakes`` that the model
    was surest of. ``progress`` is told (done, total) pictures. ``matching`` says which classes are the same.
    ``batch_size`` pictures are looked at at a time; None takes ``AT_ONCE``. What tells the class of each
    pixel looks at the whole picture, or with ``window`` at windows of so many of its pixels.

    Raises:
        DataError: classes that differ from the model's, data that tells something else of its pictures than
            the model, or nothing, a part that is not there, or files that cannot be read, all of them named
            (unless ``allow_unreadable``).
        ConfigError: an unknown split, a model without classes, or a window that it has no use for.
        MissingPackage: what computes COCO's figures is not installed.
    """
    part, collection, note = to_judge(predictor, data, split)
    judge = _judge_of(predictor.says, window)
    result, unreadable = judge(
        predictor,
        collection,
        batch_size=AT_ONCE[predictor.says] if batch_size is None else batch_size,
        allow_unreadable=allow_unreadable,
        progress=progress,
    )
    return result | {
        "data": {
            "name": collection.name,
            "part": part.name,
            "why": part.why,
            "fingerprint": part.collection.fingerprint(),
            "classes": len(part.collection.classes),
            "note": note,
        },
        "unreadable": [{"name": error.name, "reason": error.reason} for error in unreadable],
    }


def _judge_of(says: Says, window: int | None) -> Callable[..., tuple[dict[str, Any], list[PictureError]]]:
    if says == "regions":
        return partial(judge_regions, window=window)
    if window is not None:
        raise ConfigError("a window is for models that tell the class of each pixel; leave it out")
    return judge_objects if says == "objects" else _judge_classes


def to_judge(
    predictor: Judged, data: Collection | Splits | str | PathLike[str], split: str = "auto"
) -> tuple[Part, Collection, str | None]:
    """The pictures that ``evaluate`` judges: the part of the data, the same with the model's classes, and
    what is to be known of those; all before the model is asked anything.

    Raises:
        DataError, ConfigError: as ``evaluate``, but for pictures that cannot be read.
    """
    if split not in PARTS:
        raise ConfigError(f"unknown split {split!r}; wanted one of {', '.join(PARTS)}{nearest(split, PARTS)}")
    if not predictor.classes:
        raise ConfigError(
            "the model tells no classes apart, so there is nothing to judge; wanted a classifier: tune one"
            " from these weights with vitreous train --from"
        )
    lineage = predictor.lineage.get("data", {})
    part = choose(_splits(data, lineage, WANTED[predictor.says]), lineage, split)
    check_told(predictor.says, part.collection)
    _check_answers(predictor, part.collection)
    return part, *match(part.collection, predictor.classes)


def _judge_classes(
    predictor: Judged,
    collection: Collection,
    *,
    batch_size: int,
    allow_unreadable: bool,
    progress: Progress | None,
) -> tuple[dict[str, Any], list[PictureError]]:
    """The figures of a classifier with its ``mistakes``, and the pictures that cannot be read."""
    kept: list[int] = []
    rows: list[NDArray[np.float32]] = []
    judged: list[Sample] = []
    truths: NDArray[Any] = collection.tags() if collection.tagged else np.asarray(collection.labels)
    answered = Answered(
        predictor.logits(collection.samples, batch_size),
        collection,
        allow_unreadable=allow_unreadable,
        progress=progress,
    )
    for place, sample, row in answered:
        judged.append(sample)
        kept.append(place)
        rows.append(row)
    logits, truth = np.stack(rows), truths[kept]
    if collection.tagged:
        result = tagging.scores(logits, truth, predictor.classes)
        mistakes = tagging.mistakes([sample.name for sample in judged], logits, truth, predictor.classes)
    else:
        fitted = None if predictor.temperature == 1.0 else predictor.temperature
        result = scores(logits, truth, predictor.classes, temperature=fitted)
        mistakes = _mistakes(judged, logits, truth, predictor)
    return result | {"mistakes": mistakes}, answered.unreadable


def _check_answers(predictor: Judged, collection: Collection) -> None:
    """DataError unless both speak of one label a picture, or both of several."""
    if collection.tagged and predictor.answers == "one":
        raise DataError(
            f"{collection.name}: its pictures may have several labels, and the model tells one class of each;"
            " give data with one label a picture, or a model that was trained on several"
        )
    if not collection.tagged and predictor.answers == "several":
        raise DataError(
            f"{collection.name}: its pictures have one label each, and the model tells any number of classes;"
            " give a table with the columns path,labels"
        )


def trained_on(splits: Splits, source: str, seed: int) -> dict[str, Any]:
    """What a model's lineage keeps of its data, for ``choose`` to find the held-out pictures again."""
    if splits.train is None:
        raise DataError(f"{source}: no pictures to train on")
    return {
        "source": PurePath(source).name,  # the last part: the rest would tell of somebody's disk
        "fingerprint": splits.train.fingerprint(),
        "seed": seed,
        "how": splits.how,
    }


def choose(splits: Splits, lineage: Mapping[str, Any], split: str = "auto") -> Part:
    """Which pictures are to be judged; ``lineage`` is what ``trained_on`` gave when the model was made."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    if split == "all":
        return Part(_joined(splits), "all", "asked for")
    if split != "auto":
        wanted = parts[split]
        if wanted is None:
            there = ", ".join(name for name, part in parts.items() if part is not None)
            raise DataError(f"the data has no {split} part; it has {there or 'no part'}")
        return Part(wanted, split, "asked for")
    if not splits.seeded:
        for name in ("test", "validation", "train"):
            if (part := parts[name]) is not None:
                return Part(part, name, f"the data comes with a {name} part")
    elif splits.train is not None and splits.train.fingerprint() == lineage.get("fingerprint"):
        for name in ("test", "validation"):
            if (part := parts[name]) is not None:
                return Part(part, name, "the model was trained on the rest of these pictures")
    whole = _joined(splits)
    if PurePath(whole.name).name == lineage.get("source"):
        why = (
            "data of this name trained the model, but its pictures have changed since: held-out and"
            " training pictures cannot be told apart, so the figures may flatter"
        )
        return Part(whole, "all", why)
    return Part(whole, "all", "nothing recorded says that the model was trained on these pictures")


def align(collection: Collection, classes: Sequence[str]) -> Collection:
    """The collection with its labels as indices into ``classes``. DataError if the classes differ."""
    return match(collection, classes).collection


def _splits(
    data: Collection | Splits | str | PathLike[str], lineage: Mapping[str, Any], wanted: Wanted | None
) -> Splits:
    if isinstance(data, Splits):
        return data
    if isinstance(data, Collection):
        return Splits(None, None, data, "one collection")
    return read_data(fspath(data), seed=int(lineage.get("seed", 0)), wanted=wanted)


def _joined(splits: Splits) -> Collection:
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    if not parts:
        raise DataError("the data has no pictures")
    samples = tuple(sample for part in parts for sample in part.samples)
    return Collection(parts[0].name, parts[0].classes, samples)


def _mistakes(
    samples: Sequence[Sample], logits: NDArray[np.float32], truth: NDArray[np.int64], predictor: Judged
) -> list[dict[str, Any]]:
    scaled = np.asarray(logits, dtype=np.float64) / predictor.temperature
    probabilities = softmax(scaled)
    guess, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(guess != truth)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    return [
        {
            "name": samples[index].name,
            "truth": predictor.classes[truth[index]],
            "answer": predictor.classes[guess[index]],
            "score": float(sure[index]),
        }
        for index in worst
    ]
