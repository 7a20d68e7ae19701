"""How good the features of frozen weights are for a data set, before anything is learnt: by neighbours.

The train part is the bank; the test part, else the validation part, is judged. How many neighbours vote is
chosen on the bank alone, so the judged pictures decide nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data.collection import Collection, Splits
from vitreous.data.folder import check_trainable
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError, DataError, PictureError
from vitreous.evaluation.classification import scores
from vitreous.evaluation.features import extract_once
from vitreous.evaluation.neighbours import NEIGHBOURS, TEMPERATURE, check_neighbours, choose_neighbours, votes
from vitreous.models.model import Model

SEARCHED = 20_000  # pictures of a bank; of more, whose pairs take long, the usual k votes
FLOOR = 1e-12  # share of the votes of a class that got none, where a logarithm is taken

Progress = Callable[[int, int], None]


class Seeing(Protocol):
    """What is judged: weights, how they want their pictures, and where they are."""

    model: torch.nn.Module
    preprocess: Preprocess
    device: torch.device
    lineage: dict[str, Any]


class Parts(NamedTuple):
    """Where neighbours are looked for, what is judged and which part of the data that is, and a sentence that
    a reader of the score should know, or None."""

    bank: Collection
    judged: Collection
    name: str
    note: str | None


def evaluate_neighbours(
    predictor: Seeing,
    splits: Splits,
    *,
    split: str = "auto",
    neighbours: int | None = None,
    batch_size: int = 64,
    allow_unreadable: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often the nearest labelled pictures name the right class, as plain values.

    The figures are those of ``classification.scores`` that need no calibrated answers: accuracy with its 95%
    interval, precision and recall of every class, ``macro`` over classes, ``confusion``. ``neighbours`` is
    how many vote; None chooses them. The result says how many they are and how they were chosen.
    ``progress`` is told (done, total) pictures.

    Raises:
        DataError: data without labels or of one class, a part that is not there, or files that cannot be
            read, all of them named (unless ``allow_unreadable``).
        ConfigError: a model that is none of ours, or a part that cannot be judged.
    """
    if not isinstance(predictor.model, Model):
        raise ConfigError(
            f"a {type(predictor.model).__name__} has no features; wanted a model of the catalog"
        )
    if neighbours is not None:
        check_neighbours(neighbours)
    parts = choose_parts(splits, predictor.lineage, split)
    parts.bank.refuse_tags("a vote of neighbours")
    samples = (*parts.bank.samples, *parts.judged.samples)
    found = extract_once(
        predictor.model,
        predictor.preprocess,
        samples,
        device=predictor.device,
        batch_size=batch_size,
        progress=progress,
    )
    _refuse(found.unreadable, len(samples), allow_unreadable)
    labels = np.asarray([samples[place].number for place in found.kept], dtype=np.int64)
    known = int((found.kept < len(parts.bank)).sum())
    if not 0 < known < len(labels):
        empty = "judged" if known else "train"
        raise DataError(f"{parts.bank.name}: none of its {empty} pictures can be read")
    bank, queries = found.features[:known], found.features[known:]
    chosen, how = _chosen(bank, labels[:known], neighbours, predictor.device)
    classes = parts.bank.classes
    shares = votes(
        bank, labels[:known], queries, classes=len(classes), neighbours=chosen, device=predictor.device
    )
    result = _figures(shares, labels[known:], classes)
    return result | {
        "neighbours": {
            "k": chosen,
            "how": how,
            "temperature": TEMPERATURE,
            "bank": known,
            "width": bank.shape[1],
        },
        "data": {
            "name": parts.judged.name,
            "part": parts.name,
            "how": splits.how,
            "note": parts.note,
            "fingerprint": parts.judged.fingerprint(),
        },
        "unreadable": [{"name": error.name, "reason": error.reason} for error in found.unreadable],
        "note": found.note or None,
    }


def choose_parts(splits: Splits, lineage: Mapping[str, Any], split: str = "auto") -> Parts:
    """Bank and judged part; ``lineage`` is the model's. DataError or ConfigError where there are none."""
    if split not in ("auto", "validation", "test"):
        raise ConfigError(
            f"split {split!r}: neighbours come from the train part, and are judged on another: wanted auto,"
            " validation or test"
        )
    check_trainable(splits if splits.validation is not None else splits._replace(validation=splits.test))
    bank = splits.train
    there = {"test": splits.test, "validation": splits.validation}
    name = next((name for name, part in there.items() if part is not None and split in ("auto", name)), None)
    judged = there.get(name or "")
    if bank is None or name is None or judged is None:
        raise DataError(f"the data has no {split} part to judge neighbours on")
    return Parts(bank, judged, name, _note(bank, lineage))


def _note(bank: Collection, lineage: Mapping[str, Any]) -> str | None:
    """What to know where the weights have seen data of this name, in another split than this."""
    told = lineage.get("data", {})
    same = told.get("source") == PurePath(bank.name).name
    if not same or told.get("fingerprint") == bank.fingerprint():
        return None
    return (
        "data of this name trained the model in another split, or has changed since: it may have seen judged"
        " pictures, so the figures may flatter"
    )


def _chosen(
    bank: NDArray[np.float32], labels: NDArray[np.int64], asked: int | None, device: torch.device
) -> tuple[int, str]:
    """How many neighbours vote, and how that came about."""
    if asked is not None:
        return min(asked, len(bank)), "asked for"
    if len(bank) > SEARCHED:
        return NEIGHBOURS, f"the usual number, for a bank of more than {SEARCHED} pictures"
    return choose_neighbours(bank, labels, device=device).neighbours, "chosen by leave-one-out on the bank"


def _figures(
    shares: NDArray[np.float64], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> dict[str, Any]:
    full = scores(np.log(np.maximum(shares, FLOOR)), labels, classes, temperature=1.0)
    kept = ("n", "classes", "accuracy", "macro", "per_class", "confusion")
    intervals = {"accuracy": full["intervals"]["accuracy"]}
    return {key: full[key] for key in kept} | {"intervals": intervals}


def _refuse(unreadable: tuple[PictureError, ...], total: int, allowed: bool) -> None:
    if unreadable and not allowed:
        listed = "; ".join(map(str, unreadable))
        raise DataError(
            f"{len(unreadable)} of {total} pictures cannot be read: {listed}; mend or remove them,"
            " or allow unreadable ones (--allow-unreadable), which are then counted"
        )
