"""Whose features are most alike? Classes told by the k nearest labelled pictures, with nothing learnt.

Each neighbour votes for its class with weight exp(s / T), s its cosine similarity: "Unsupervised Feature
Learning via Non-Parametric Instance Discrimination" (arXiv:1805.01978, section 3.4), with the temperature and
the k of DINO (arXiv:2104.14294, appendix). Every pair is compared, a few rows at a time.

Shapes: n pictures of a bank, m queries; D the width of their features; K classes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vitreous.errors import ConfigError, DataError, VitreousError

NEIGHBOURS = 20
TEMPERATURE = 0.07
# What k is chosen from. The first is the usual one; another has to be better to be taken.
CANDIDATES = (20, 10, 5, 3, 1, 50, 100, 200)
PAIRS = 2**24  # similarities that are held at a time, 64 MB


class Chosen(NamedTuple):
    """The k that told the pictures of a bank apart best, each judged by all the others, and how well every
    candidate did: {k: accuracy}."""

    neighbours: int
    accuracies: dict[int, float]


def votes(
    bank: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    *,
    classes: int,
    neighbours: int = NEIGHBOURS,
    temperature: float | None = TEMPERATURE,
    device: torch.device | None = None,
) -> NDArray[np.float64]:
    """Bank (n, D), its labels (n,), queries (m, D) -> the share of the votes that each class has, (m, K).

    A bank of fewer than ``neighbours`` pictures votes as a whole. ``temperature`` None: all votes weigh
    the same.

    Raises:
        DataError: an empty bank. VitreousError: features that are not finite.
    """
    check_neighbours(neighbours)
    if temperature is not None and not temperature > 0:
        raise ConfigError(f"temperature must be above 0, or None for equal votes, got {temperature}")
    known, truth = _prepared(bank, labels, device)
    asked = _normalised(queries, device)
    most = min(neighbours, len(known))
    pieces = [
        _shares(*_nearest(asked[few], known, most), truth, classes, temperature)
        for few in _slices(len(asked), len(known))
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, classes))


def check_neighbours(neighbours: int) -> None:
    """ConfigError where nobody would vote."""
    if neighbours < 1:
        raise ConfigError(f"neighbours must be 1 or more, got {neighbours}")


def neighbour_accuracy(
    bank: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    truth: ArrayLike,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float | None = TEMPERATURE,
    device: torch.device | None = None,
) -> float:
    """Bank (n, D) with labels (n,), queries (m, D) with labels (m,) -> the share of queries, from 0 to 1,
    whose class has most of the votes; of equal classes the first counts."""
    true = np.asarray(truth, dtype=np.int64)
    if not len(true):
        raise DataError("nothing to judge: wanted at least one labelled picture, got none")
    classes = int(max(np.asarray(labels, dtype=np.int64).max(initial=0), true.max())) + 1
    found = votes(
        bank,
        labels,
        queries,
        classes=classes,
        neighbours=neighbours,
        temperature=temperature,
        device=device,
    )
    return float((found.argmax(1) == true).mean())


def choose_neighbours(
    bank: ArrayLike,
    labels: ArrayLike,
    *,
    candidates: Sequence[int] = CANDIDATES,
    temperature: float | None = TEMPERATURE,
    device: torch.device | None = None,
) -> Chosen:
    """Bank (n, D), its labels (n,) -> the best k of the candidates that the bank allows, by leave-one-out.

    All candidates are judged from one search of the n^2 pairs; of equally good ones the first is taken. A
    bank of one or two pictures has 1.
    """
    known, truth = _prepared(bank, labels, device)
    allowed = [k for k in candidates if k < len(known)] or [1]
    if len(known) < 3:
        return Chosen(1, {})
    classes = int(truth.max()) + 1
    right = dict.fromkeys(allowed, 0)
    for few in _slices(len(known), len(known)):
        own = torch.arange(few.start, few.stop, device=known.device)
        similar, places = _nearest(known[few], known, max(allowed), without=own)
        true = truth[few].cpu().numpy()
        for k in allowed:
            found = _shares(similar[:, :k], places[:, :k], truth, classes, temperature)
            right[k] += int((found.argmax(1) == true).sum())
    accuracies = {k: count / len(known) for k, count in right.items()}
    return Chosen(max(allowed, key=lambda k: accuracies[k]), accuracies)


def _slices(rows: int, others: int) -> Iterator[slice]:
    """So many rows in pieces, each of which is compared with so many others at a time."""
    size = max(1, PAIRS // others)
    return (slice(start, min(rows, start + size)) for start in range(0, rows, size))


def _prepared(bank: ArrayLike, labels: ArrayLike, device: torch.device | None) -> tuple[Tensor, Tensor]:
    known = _normalised(bank, device)
    truth = torch.as_tensor(np.asarray(labels, dtype=np.int64), device=device)
    if not len(known):
        raise DataError("no pictures to look for neighbours among")
    if len(truth) != len(known):
        raise DataError(f"{len(known)} pictures and {len(truth)} labels do not belong together")
    return known, truth


def _normalised(features: ArrayLike, device: torch.device | None) -> Tensor:
    """(n, D) -> (n, D) float32 of length 1; a vector of zeros stays one, and is like nothing."""
    values = torch.as_tensor(np.asarray(features, dtype=np.float32), device=device)
    if not bool(torch.isfinite(values).all()):
        raise VitreousError(
            "the model's features are not finite for some pictures; its weights are damaged, or training"
            " diverged"
        )
    return torch.nn.functional.normalize(values, dim=1) if len(values) else values


def _nearest(rows: Tensor, known: Tensor, most: int, without: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(m, D), (n, D) -> similarities and places of the ``most`` nearest, (m, k) each, the nearest first;
    ``without`` (m,) are places that may not answer."""
    similar = rows @ known.T  # (m, n)
    if without is not None:
        similar[torch.arange(len(rows), device=rows.device), without] = -torch.inf
    values, places = similar.topk(most, dim=1)
    return values, places


def _shares(
    similar: Tensor, places: Tensor, truth: Tensor, classes: int, temperature: float | None
) -> NDArray[np.float64]:
    """Similarities and places of neighbours (m, k), labels (n,) -> shares of the votes (m, K)."""
    # Divided by the greatest weight of each row, so that nothing overflows; the shares are the same.
    weights = (similar.double() - similar[:, :1].double()) / (
        torch.inf if temperature is None else temperature
    )  # (m, k)
    counted = torch.zeros(len(similar), classes, dtype=torch.float64, device=similar.device)
    counted.scatter_add_(1, truth[places], weights.exp())
    shares: NDArray[np.float64] = (counted / counted.sum(1, keepdim=True)).cpu().numpy()
    return shares
