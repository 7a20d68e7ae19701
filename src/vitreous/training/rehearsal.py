"""A few real training steps of one model, timed, and counted in memory.

What is done is what the loop does: forward, backward, clipping, AdamW, the averaged weights; and a forward
pass without gradients, as the validation part has it.
"""

from collections.abc import Callable, Iterator
from time import perf_counter

import torch
from torch import Tensor, nn

from vitreous.data.loader import Labelled
from vitreous.layers.mlp import DropPath
from vitreous.models.model import Model
from vitreous.tasks.task import Task
from vitreous.training.config import TrainConfig
from vitreous.training.ledger import Ledger
from vitreous.training.optimizer import Average, build_optimizer
from vitreous.training.precision import autocast, moved
from vitreous.training.tuning import Tuning


class Rehearsal:
    """A model with all that its steps need."""

    def __init__(self, config: TrainConfig, model: Model, task: Task, device: torch.device) -> None:
        self.config, self.task, self.device = config, task, device
        self.model: nn.Module = model.to(device)
        self.tuning = Tuning(model, config.tuning, config.epochs)
        self.optimizer = build_optimizer(model, config.optimizer)
        self.average = Average(model, config.average) if config.average else None
        self.tuning.begin_epoch(config.epochs - 1)  # the last epoch teaches the most
        self.drop_paths = [module for module in model.modules() if isinstance(module, DropPath)]

    @property
    def weight_bytes(self) -> int:
        """Of parameters and buffers."""
        return sum(tensor.nbytes for tensor in self._tensors())

    @property
    def gradient_bytes(self) -> int:
        """Of the parameters that learn; each of the two moments has as many."""
        return sum(value.nbytes for value in self.model.parameters() if value.requires_grad)

    def gradient(self, batch: Labelled) -> None:
        """Forward and backward of a batch."""
        self.model.train()
        self.tuning.rest()
        for drop_path in self.drop_paths:
            drop_path.rows = None
        batch = moved(batch, self.device)
        with autocast(self.config.precision, self.device):
            self.task.loss(self.model, batch).total.backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """What follows on the gradient of a whole batch."""
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model)
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def judge(self, batch: Labelled) -> None:
        """The scores of a held-out batch."""
        self.model.eval()
        with autocast(self.config.precision, self.device):
            self.task.tally(self.model, moved(batch, self.device))

    def counted(self, work: Callable[[Labelled], None], batch: Labelled) -> Ledger:
        """The memory that work on a batch holds beside the model and the batch."""
        ledger = Ledger([*self._tensors(), *batch.tensors()])
        with ledger:
            work(batch)
        return ledger

    def seconds(self, work: Callable[[], None]) -> float:
        """How long a piece of work takes."""
        _finish(self.device)
        begun = perf_counter()
        work()
        _finish(self.device)
        return perf_counter() - begun

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.model.parameters()
        yield from self.model.buffers()


def tiled(batch: Labelled, size: int) -> Labelled:
    """As many pictures as wanted, the same ones over and over: they cost as much as others would."""
    return batch.rows(torch.arange(size) % len(batch.images))


def _finish(device: torch.device) -> None:
    """Wait for what was begun: a graphics card answers later than it is asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
