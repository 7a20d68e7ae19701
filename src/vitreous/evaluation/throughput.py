"""How many pictures a model answers in a second, here: measured, where ``models.accounting`` counts."""

import gc
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from torch import nn

from vitreous.errors import VitreousError
from vitreous.models.accounting import Account, account
from vitreous.models.catalog import build
from vitreous.models.config import ModelConfig

ROUNDS = 7
FEWEST = 3  # rounds, however long they take
PATIENCE = 20.0  # seconds after which a model has had enough rounds
ROUND = 0.15  # seconds that a round takes at the least: shorter ones are mostly noise
SPARE = 1.3  # times what is counted: workspaces, and the second copy while weights are drawn


class Throughput(NamedTuple):
    """``pictures_per_second`` is that of the median round of ``rounds``; in float32."""

    pictures_per_second: float
    batch_size: int
    threads: int
    device: str
    rounds: int


def measure(config: ModelConfig, device: torch.device, *, batch_size: int = 8) -> Throughput:
    """Build the model with random weights, answer batches of random pictures of its native size, free it.

    Raises:
        VitreousError: the model and a batch do not fit into the memory that is free.
    """
    _refuse_oversize(account(config), device, batch_size)
    try:
        seconds = _timed(config, device, batch_size)
    except RuntimeError as error:
        # The allocator of the processor raises no kind of its own.
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise VitreousError(f"it does not fit into the memory of {device}") from error
        raise
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return Throughput(
        batch_size / median(seconds), batch_size, torch.get_num_threads(), _called(device), len(seconds)
    )


def memory_needed(counted: Account, batch_size: int) -> int:
    """Bytes of a model's weights and of a batch that passes through it."""
    return 4 * counted.parameters + batch_size * counted.forward_bytes


def _timed(config: ModelConfig, device: torch.device, batch_size: int) -> list[float]:
    # What is made here is let go with this function, before the next model is built.
    model = build(config).eval().to(device)
    images = torch.randn(batch_size, config.channels, *config.image_size, device=device)
    return _rounds(model, images)


def _rounds(model: nn.Module, images: torch.Tensor) -> list[float]:
    """Seconds that a batch takes in each round; a round is as many batches as make it long enough."""
    _seconds(model, images, 1)  # the first one allocates and chooses kernels
    repeats = max(1, round(ROUND / max(1e-6, _seconds(model, images, 1))))
    found: list[float] = []
    started = perf_counter()
    while len(found) < ROUNDS and (len(found) < FEWEST or perf_counter() - started < PATIENCE):
        found.append(_seconds(model, images, repeats))
    return found


def _seconds(model: nn.Module, images: torch.Tensor, repeats: int) -> float:
    _finish(images.device)
    started = perf_counter()
    with torch.inference_mode():
        for _ in range(repeats):
            model(images)
    _finish(images.device)
    return (perf_counter() - started) / repeats


def _finish(device: torch.device) -> None:
    """Wait for what was begun: a graphics card answers later than it is asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _refuse_oversize(counted: Account, device: torch.device, batch_size: int) -> None:
    needed = int(SPARE * memory_needed(counted, batch_size))
    free = free_memory(device)
    if free is not None and needed > free:
        raise VitreousError(f"it takes about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free")


def free_memory(device: torch.device) -> int | None:
    """Bytes of memory that can be had; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    free = [1024 * int(kibibytes[0])] if kibibytes else []
    return min([*free, *_left_to_container()], default=None)


def _left_to_container() -> list[int]:
    """Bytes that a container (cgroup 2) may still take, as a list of one; empty where none limits it."""
    files = [Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current")]
    try:
        limit, used = (file.read_text(encoding="ascii") for file in files)
        return [int(limit) - int(used)]
    except (OSError, ValueError):  # no such files, or "max": no limit
        return []


def _called(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
