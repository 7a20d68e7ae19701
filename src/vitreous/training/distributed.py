"""One process or many under torchrun: the same global batch, the same loss, one writer."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vitreous.errors import ConfigError

T = TypeVar("T")


class World(NamedTuple):
    """This process among all of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process writes the files and speaks: exactly one does."""
        return self.rank == 0


def join(device: torch.device) -> World:
    """Meet the other processes that torchrun started; alone otherwise."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(0, 1, device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")  # gloo exchanges nothing with other devices
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(distributed.get_rank(), size, device)


def leave(world: World) -> None:
    """Part from the other processes."""
    if world.size > 1 and distributed.is_initialized():
        # A wrapped model is part of a cycle and holds on to the group: one that is only freed as the
        # interpreter ends finds its threads still running, and aborts the process.
        gc.collect()
        distributed.destroy_process_group()


def shared(model: nn.Module, world: World) -> nn.Module:
    """The model whose gradients are averaged over all processes."""
    if world.size == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)


def parts_of(batch: int, micro_batch: int | None, world: World) -> list[tuple[int, int]]:
    """The slices (start, stop) of the global batch that this process forwards, one after the other.

    All are of one size, so that the mean of their losses is the loss of the whole.
    """
    if batch < world.size:
        raise ConfigError(f"fewer training pictures than the {world.size} processes; start fewer of them")
    if batch % world.size:
        raise ConfigError(
            f"batch_size {batch} cannot be shared by {world.size} processes; wanted a multiple of them"
        )
    own = batch // world.size
    most = min(own, micro_batch or own)
    count = next(count for count in range(1, own + 1) if own % count == 0 and own // count <= most)
    size = own // count
    first = world.rank * own
    return [(first + number * size, first + (number + 1) * size) for number in range(count)]


def gather(value: T, world: World) -> list[T]:
    """Every process's value, in the order of ranks."""
    if world.size == 1:
        return [value]
    values: list[T | None] = [None] * world.size
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def total(sums: Mapping[str, float], world: World) -> dict[str, float]:
    """Sums of this process -> sums over all processes, added in the order of ranks."""
    result: dict[str, float] = {}
    for part in gather(dict(sums), world):
        for name, value in part.items():
            result[name] = result.get(name, 0.0) + value
    return result
