"""Judging weights on the validation part while a run goes on, and calibrating them at its end."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from torch import nn

from vitreous.data.collection import Collection, Sample
from vitreous.data.loader import Trouble, batches
from vitreous.data.preprocess import Preprocess
from vitreous.errors import DataError, PictureError
from vitreous.evaluation.classification import fit_temperature
from vitreous.predictor import Predictor
from vitreous.tasks.task import Task
from vitreous.training import distributed
from vitreous.training.config import Precision
from vitreous.training.distributed import World
from vitreous.training.memory import is_out_of_memory, release
from vitreous.training.precision import autocast, moved
from vitreous.training.state import Counters

T = TypeVar("T")


class HeldOut:
    """The validation part, shared among the processes of a run."""

    def __init__(
        self,
        collection: Collection,
        preprocess: Preprocess,
        task: Task,
        world: World,
        precision: Precision,
        say: Callable[..., None],
    ) -> None:
        self.collection = collection
        self.own = collection.select(range(world.rank, len(collection), world.size))
        self.preprocess = preprocess
        self.task = task
        self.world = world
        self.precision = precision
        self.say = say

    def measure(self, model: nn.Module, counters: Counters) -> tuple[dict[str, float], list[Trouble]]:
        """The measures of a model over all processes, and what this one could not read and left out. Where
        memory runs out, fewer pictures are judged at a time, here and from then on.

        Raises:
            DataError: not one picture can be read.
        """
        model.eval()
        sums, read = self._fitting(counters, partial(self._tally, model))
        troubles = [_trouble(self.own.samples[index]) for index in range(len(self.own)) if index not in read]
        totals = distributed.total(sums, self.world)
        if not totals:
            name, count = self.collection.name, len(self.collection)
            raise DataError(f"{name}: none of the {count} validation pictures can be read")
        return self.task.measures(totals), troubles

    def temperature(self, model: nn.Module, counters: Counters) -> float:
        """What the logits of a classifier are to be divided by; for one process, over the whole part."""
        predictor = Predictor(model, self.preprocess, self.collection.classes, device=self.world.device)
        rows = self._fitting(counters, lambda size: list(predictor.logits(self.collection.samples, size)))
        pairs = [
            (row, label)
            for (_, row), label in zip(rows, self.collection.labels, strict=True)
            if not isinstance(row, PictureError)
        ]
        logits, labels = zip(*pairs, strict=True)
        return fit_temperature(np.stack(logits), labels)

    def _tally(self, model: nn.Module, size: int) -> tuple[dict[str, float], set[int]]:
        """The sums over this process's pictures, and which of them could be read."""
        sums: dict[str, float] = {}
        read: set[int] = set()
        for batch in batches(
            self.own, self.preprocess, batch_size=size, masks=self.task.masks, tolerant=True
        ):
            read.update(batch.indices.tolist())
            with autocast(self.precision, self.world.device):
                for name, value in self.task.tally(model, moved(batch, self.world.device)).items():
                    sums[name] = sums.get(name, 0.0) + value
        return sums, read

    def _fitting(self, counters: Counters, work: Callable[[int], T]) -> T:
        """What ``work`` makes of so many pictures at a time as fit into memory."""
        while True:
            size = counters.judged_at_once
            try:
                return work(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            release(self.world.device)
            counters.judged_at_once = size // 2
            self.say(
                text=f"memory ran out while judging {size} pictures at a time: going on with {size // 2}"
            )


def _trouble(sample: Sample) -> Trouble:
    try:
        sample.open()
    except PictureError as error:
        return Trouble(error.name, error.reason)
    return Trouble(sample.name, "cannot be made ready for the model")
