"""What a run must remember to go on with the same bits, saved so that a kill loses nothing.

``RUN/state/step-00000120`` holds the weights, their average, the best weights so far, the optimizer's
moments and every counter, with a manifest. The two newest good ones are kept. No random state is
needed: every draw is a function of (seed, step) or (seed, epoch, sample).
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from vitreous.checkpoints.file import verify_directory, write_directory
from vitreous.config import from_plain
from vitreous.errors import CheckpointError, DataError
from vitreous.training.optimizer import Average

KEPT = 2
TENSORS, COUNTERS = "tensors.safetensors", "counters.json"


@dataclass(kw_only=True)
class Counters:
    """The plain values of a run in progress."""

    step: int = 0  # steps done
    loss_sum: float = 0.0  # of the epoch in progress, over the steps that changed the weights
    loss_steps: int = 0  # so many
    skipped: int = 0  # steps without a finite gradient
    skipped_in_row: int = 0
    best: tuple[float, ...] | None = None  # the task's rank of the best weights
    best_step: int = 0
    best_measures: dict[str, float] = field(default_factory=dict)
    stale: int = 0  # evaluations since the best
    finished: bool = False
    metrics_bytes: int = 0  # how much of metrics.jsonl belongs to the steps done
    data: str = ""  # fingerprint of the pictures, which a resumed run must find unchanged
    troubles: dict[str, str] = field(default_factory=dict)  # pictures that could not be read, and why
    threads: int = 0
    micro_batch: int | None = None  # pictures at a time since memory ran out; None: it has not
    judged_at_once: int = 64  # held-out pictures at a time; fewer since memory ran out
    before: dict[str, float] = field(default_factory=dict)  # measures of the features before the first step
    alarm: str = ""  # which kind of it the last look at the features raised


@dataclass
class Learner:
    """What a step changes."""

    model: nn.Module
    optimizer: AdamW
    average: Average | None
    best: dict[str, Tensor]  # weights; empty before the first evaluation
    counters: Counters


def save_state(run: Path, learner: Learner) -> None:
    """Write the state of a run, then drop all but the newest two.

    Raises:
        StorageError: the disk is full or cannot be written; earlier states are intact.
    """
    tensors = _tensors(learner)
    place = run / "state" / f"step-{learner.counters.step:08d}"
    counters = json.dumps(asdict(learner.counters), indent=2).encode()
    write_directory(place, {COUNTERS: counters, TENSORS: partial(save_file, tensors)})
    for unfinished in place.parent.glob(".step-*.writing-*"):  # of saves that a kill cut short
        shutil.rmtree(unfinished, ignore_errors=True)
    for old in _states(run)[KEPT:]:
        for name in (old.name, f"{old.name}.previous"):
            shutil.rmtree(old.with_name(name), ignore_errors=True)


def load_state(run: Path, learner: Learner) -> bool:
    """Put the newest good state of a run into ``learner``; False where the run has none yet.

    A damaged state is passed over for the one before it.

    Raises:
        CheckpointError: there are states, and none of them is whole.
        DataError: the pictures are not those that the run was begun with.
    """
    states = _states(run)
    for place in states:
        try:
            found = verify_directory(place)
            counters = from_plain(Counters, json.loads((found / COUNTERS).read_bytes()))
        except CheckpointError:
            continue
        if counters.data != learner.counters.data:
            raise DataError(
                f"{run}: the pictures have changed since the run was begun, or the weights that it needs"
                " beside them, so it cannot go on; bring them back, or start a new run with another --output"
            )
        _restore(load_file(found / TENSORS), learner)
        learner.counters = counters
        return True
    if states:
        names = ", ".join(place.name for place in states)
        raise CheckpointError(f"{run}: no saved state is whole (tried {names}); start the run anew")
    return False


def _states(run: Path) -> list[Path]:
    """The saved states, newest first, those among them of which a kill left only the previous one."""
    found = (run / "state").glob("step-*")
    names = {path.name.removesuffix(".previous") for path in found}
    return [run / "state" / name for name in sorted(names, reverse=True)]


def _tensors(learner: Learner) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in learner.model.state_dict().items()}
    if learner.average is not None:
        tensors |= {f"average.{name}": value for name, value in learner.average.weights.items()}
        tensors["updates"] = torch.tensor(learner.average.updates)
    tensors |= {f"best.{name}": value for name, value in learner.best.items()}
    for name, parameter in learner.model.named_parameters():
        for key, value in learner.optimizer.state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = value
    return _apart(tensors)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same on the CPU, no two of them in the same memory, which a safetensors file does not allow. What
    has its own is not copied: on a large model that would take as much memory as all the rest."""
    taken: set[int] = set()
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        result[name] = plain.clone() if place in taken else plain
        taken.add(place)
    return result


@torch.no_grad()
def _restore(tensors: dict[str, Tensor], learner: Learner) -> None:
    def below(prefix: str) -> dict[str, Tensor]:
        size = len(prefix) + 1
        return {name[size:]: value for name, value in tensors.items() if name.startswith(prefix + ".")}

    learner.model.load_state_dict(below("model"))
    device = next(learner.model.parameters()).device
    if learner.average is not None:
        learner.average.weights = {name: value.to(device) for name, value in below("average").items()}
        learner.average.updates = int(tensors["updates"])
    learner.best = below("best")
    state: dict[Tensor, dict[str, Any]] = {}
    for key, values in ((key, below(f"optimizer.{key}")) for key in ("step", "exp_avg", "exp_avg_sq")):
        for name, parameter in learner.model.named_parameters():
            if name in values:
                state.setdefault(parameter, {})[key] = values[name].to(device)
    learner.optimizer.state.update(state)
