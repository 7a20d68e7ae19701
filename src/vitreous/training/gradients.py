"""The gradient of one global batch after another, from as many pictures at a time as memory holds.

Where memory runs out in the middle of a step, half as many are forwarded at a time from then on, beginning
with that same step. The global batch stays, and so do its views, masks, mixtures and drops: each is a
function of the seed and of the step or the picture. What the step had done until then is undone first.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vitreous.data.dense_view import training_view
from vitreous.data.draws import seed_of, seed_torch
from vitreous.data.loader import Order, TrainingPart, Trouble, training_parts
from vitreous.errors import TrainingError
from vitreous.layers.mlp import DropPath
from vitreous.tasks.task import Task
from vitreous.training import distributed
from vitreous.training.config import TrainConfig
from vitreous.training.distributed import World
from vitreous.training.memory import first_line, is_out_of_memory, release
from vitreous.training.precision import autocast, moved
from vitreous.training.setup import Setup
from vitreous.training.state import Learner


class Gradients:
    """A call leaves the gradient of the next step in the learner's parameters.

    ``heard`` is told of pictures that could not be used, ``say`` (text=...) of what a person should know.
    """

    def __init__(
        self,
        config: TrainConfig,
        setup: Setup,
        task: Task,
        learner: Learner,
        order: Order,
        world: World,
        *,
        heard: Callable[[Iterable[Trouble]], None],
        say: Callable[..., None],
    ) -> None:
        self.config, self.setup, self.task = config, setup, task
        self.learner, self.order, self.world = learner, order, world
        self.heard, self.say = heard, say
        self.parts = self._parts()
        self.stream: Generator[TrainingPart, None, None] | None = None
        self.drop_paths = [module for module in learner.model.modules() if isinstance(module, DropPath)]
        self.statistics = _Statistics(learner.model)

    def __call__(self, model: nn.Module) -> Tensor:
        """Forward and backward of the step that the counters name; returns the mean loss () of this process's
        parts. ``model`` is the learner's, shared among processes where there are several.

        Raises:
            TrainingError: memory runs out even with one picture at a time, or in one of several processes.
        """
        while True:
            self.statistics.keep()
            try:
                return self._accumulate(model)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            # Not among the lines above: there the error would still hold what the step had put into memory.
            self._halve(reason)

    def close(self) -> None:
        """End the loading processes."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def _accumulate(self, model: nn.Module) -> Tensor:
        step = self.learner.counters.step
        if self.stream is None:
            self.stream = self._open(step)
        loss = torch.zeros((), device=self.world.device)
        for number in range(len(self.parts)):
            part = next(self.stream)
            self.heard(part.troubles)
            for drop_path in self.drop_paths:
                drop_path.rows = part.rows
            # Seeded for each part alike: the draw is made for the global batch and cut to its rows.
            seed_torch("step", self.config.seed, step)
            if self.world.device.type == "cuda":  # convolutional networks draw their drops there
                torch.cuda.manual_seed(seed_of("step", self.config.seed, step))
            last = number == len(self.parts) - 1
            with self._unsynchronised(model, last), autocast(self.config.precision, self.world.device):
                total = self.task.loss(model, moved(part.batch, self.world.device)).total
                torch.autograd.backward(total / len(self.parts))
            loss += total.detach() / len(self.parts)
        return loss

    def _open(self, step: int) -> Generator[TrainingPart, None, None]:
        self.parts = self._parts()
        return training_parts(
            self.setup.train,
            training_view(self.config.augment, self.setup.preprocess, self.setup.train),
            self.config.augment,
            self.order,
            steps=range(step, self.config.epochs * self.order.steps_per_epoch),
            parts=self.parts,
            masks=self.task.masks,
            workers=self.config.workers,
        )

    def _parts(self) -> list[tuple[int, int]]:
        found, wanted = self.learner.counters.micro_batch, self.config.micro_batch
        most = min((size for size in (found, wanted) if size is not None), default=None)
        return distributed.parts_of(self.order.batch, most, self.world)

    def _halve(self, reason: str) -> None:
        """Undo the step so far, and take half as many pictures at a time."""
        self.close()
        self.learner.optimizer.zero_grad(set_to_none=True)
        self.statistics.restore()
        release(self.world.device)
        start, stop = self.parts[0]
        size, counters, batch = stop - start, self.learner.counters, self.order.batch
        if size == 1:
            raise TrainingError(
                f"memory ran out at step {counters.step + 1} with one picture at a time ({reason}); wanted a"
                " smaller model.image_size or --model, or a machine with more memory"
            )
        if self.world.size > 1:
            # The others wait for this one's gradients in the middle of their step: it cannot be done anew.
            raise TrainingError(
                f"memory ran out at step {counters.step + 1} with {size} pictures at a time in process"
                f" {self.world.rank} of {self.world.size}; go on with --resume --set"
                f" micro_batch={size // 2}: a batch stays {batch} pictures ({reason})"
            )
        counters.micro_batch = size // 2
        start, stop = self._parts()[0]
        counters.micro_batch = stop - start
        self.say(
            text=f"memory ran out at step {counters.step + 1} with {size} pictures at a time: going on with"
            f" {counters.micro_batch} at a time, a batch stays {batch}"
        )

    def _unsynchronised(self, model: nn.Module, last: bool) -> Any:
        """Gradients travel between processes only once for each global batch."""
        return nullcontext() if last or self.world.size == 1 else model.no_sync()  # type: ignore[operator]


class _Statistics:
    """The running statistics of batch norms: all that a forward pass changes of a model."""

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.buffers = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self.kept = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember how they are now."""
        if self.buffers:
            torch._foreach_copy_(self.kept, self.buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Make them what they were."""
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.kept)
