"""The whole contract between the training loop and what is learnt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from vitreous.data.masks import Masks


class Loss(NamedTuple):
    """What is minimised: ``total`` (), the mean over the pictures of the batch, and its named parts."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass
class Progress:
    """``done`` is the share of a run's steps that are done, from 0 to 1. The loop sets it ahead of each step,
    for a task that was given this."""

    done: float = 0.0


class Task(Protocol):
    """The loop knows no more of a task than this.

    ``masks`` draws which patches of a picture are hidden; None where nothing is. ``calibrated`` says whether
    the logits tell one class of several, so that a temperature can be fitted to them.
    """

    masks: Masks | None
    calibrated: bool

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """A training batch -> the loss, with gradients."""
        ...

    def tally(self, model: nn.Module, batch: Any) -> dict[str, float]:
        """A held-out batch -> sums over its pictures, ``pictures`` among them. Sums of several batches
        and processes are added before ``measures`` sees them."""
        ...

    def measures(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The sums over all held-out pictures -> measures by name."""
        ...

    def rank(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """Measures -> what the best weights are chosen by: the larger tuple is better."""
        ...
