"""How long an epoch takes, from a short trial: so that different models can be given the same time."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from time import perf_counter
from typing import NamedTuple

from torch import nn

from vitreous.data.collection import Splits
from vitreous.training.config import TrainConfig
from vitreous.training.fit import Moment, fit

TRIED_EPOCHS = 2  # the first warms up: pictures are drawn, files come into memory

Clock = Callable[[], float]  # seconds; ``time.process_time`` where other work disturbs this machine


class Pace(NamedTuple):
    """Seconds of one epoch without its judging, and of the whole trial that told them."""

    epoch: float
    trial: float

    def epochs(self, seconds: float, *, generous: bool = False) -> int:
        """How many whole epochs fit, at least one; the one that is begun counts where ``generous``."""
        count = seconds / self.epoch
        return max(1, ceil(count) if generous else int(count))


def measure_pace(
    config: TrainConfig,
    *,
    model: nn.Module | None = None,
    splits: Splits | None = None,
    clock: Clock = perf_counter,
) -> Pace:
    """The pace of a run as ``config`` says, from two of its epochs, left in ``config.output``; ``model``
    (which learns for as long) and ``splits`` take the place of the configured ones, as in ``fit``."""
    ticks: list[float] = []

    def watch(moment: Moment) -> None:
        if moment.kind == "step":
            ticks.append(clock())

    begun = clock()
    tried = replace(config, epochs=TRIED_EPOCHS, evaluate_every=TRIED_EPOCHS)
    run = fit(tried, model=model, splits=splits, watch=watch)
    each = run.steps // TRIED_EPOCHS
    return Pace(ticks[-1] - ticks[-1 - each], clock() - begun)
