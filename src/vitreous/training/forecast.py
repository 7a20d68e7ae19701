"""What a run will take, before it begins: the most memory, and the seconds of an epoch.

Nothing of it is looked up in a table. Less deep versions of the model do a few of the run's own steps on the
run's own pictures (``training/foreseen.py``); costs are linear in the depth and, at each moment of a step, in
the pictures. So a forecast takes seconds even where the model is large.

Memory is what the training process holds at its peak, as the system counts it (resident): the libraries, the
weights and what stands beside them, and the hungriest moment of a step or of an evaluation. Loading
processes have memory of their own, beside it; ``loaders`` is what they hold ready.
"""

from dataclasses import dataclass, replace
from time import perf_counter

import torch

from vitreous.data.collection import Splits
from vitreous.data.draws import drawing
from vitreous.data.folder import read_data
from vitreous.data.layouts import wanted_of
from vitreous.predictor import pick_device
from vitreous.training.config import TrainConfig
from vitreous.training.facts import usable_cores
from vitreous.training.foreseen import Foreseen

AHEAD = 4  # parts that each loading process makes ready
MARGIN = 1.15  # what the system hands out, to what is asked of it: gaps between tensors


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Bytes and seconds of a run; ``str`` of it is a table.

    base         the process with all libraries at work, before there is a model
    weights      parameters and buffers
    optimizer    the two moments of every parameter that learns
    copies       averaged weights, those that are judged, the best ones
    gradients    of every parameter that learns
    activations  the most that one forward and backward pass holds beside the weights: its pictures, and the
                 gradients that have come until then, among it
    evaluation   the same of a held-out batch
    loaders      pictures that loading processes hold ready; not in the peak
    """

    device: str
    micro_batch: int  # pictures that are forwarded at a time
    parts: int  # of a batch
    steps: int  # of an epoch
    epochs: int
    base: int
    weights: int
    optimizer: int
    copies: int
    gradients: int
    activations: int
    evaluation: int
    loaders: int
    step_seconds: float  # of computing
    loading_seconds: float  # of one process, for a batch
    judging_seconds: float  # of the validation part
    before_seconds: float  # in which a teacher is asked whose lessons are learnt by heart
    epoch_seconds: float  # with its share of judging
    taken: float  # seconds that the forecast took

    @property
    def step_bytes(self) -> int:
        """The hungriest moment of a step. Gradients of earlier parts of a batch wait for those to come."""
        return max(self.gradients, self.activations + (self.gradients if self.parts > 1 else 0))

    @property
    def peak_bytes(self) -> int:
        """The most memory that the training process will hold."""
        standing = self.base + self.weights + self.optimizer + self.copies
        return standing + max(self.step_bytes, self.evaluation)

    @property
    def run_seconds(self) -> float:
        """Of all epochs, and of what comes before them."""
        return self.before_seconds + self.epochs * self.epoch_seconds

    def most_at_once(self, free: int) -> int:
        """As many pictures at a time as keep the peak below ``free`` bytes, at most those of this forecast,
        at least one; a batch can be cut into parts of so many."""
        if self.peak_bytes <= free:
            return self.micro_batch
        standing = self.peak_bytes - max(self.step_bytes, self.evaluation)
        left = free - standing - self.gradients
        most = max(1, min(self.micro_batch, int(self.micro_batch * left / max(1, self.activations))))
        return max(size for size in range(1, most + 1) if self.micro_batch * self.parts % size == 0)

    def __str__(self) -> str:
        rows = [
            ("the process itself", self.base),
            ("weights", self.weights),
            ("two moments of AdamW", self.optimizer),
            ("averaged, judged and best weights", self.copies),
            (f"a step, {self.micro_batch} pictures at a time", self.step_bytes),
            ("or an evaluation", self.evaluation),
            ("peak of memory, the larger of the two", self.peak_bytes),
        ]
        lines = [f"{name:<40} {size / 2**20:8.0f} MiB" for name, size in rows]
        return "\n".join([*lines, f"{'an epoch':<40} {self.epoch_seconds:8.1f} s"])


def forecast(config: TrainConfig, splits: Splits | None = None, *, base: int | None = None) -> Forecast:
    """What a run of this configuration will take on this machine, in one process.

    ``splits`` are its pictures, read from ``config.data`` where they are not given. ``base`` is said where
    several runs are forecast in one process: what it held before the first.

    Raises:
        DataError, ConfigError, CheckpointError: whatever would stop the run itself before its first step.
    """
    begun = perf_counter()
    device = pick_device(config.device)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(config.threads or threads)
        with drawing("forecast"):
            if splits is None:
                splits = read_data(config.data, seed=config.seed, wanted=wanted_of(config.task.kind))
            foreseen = Foreseen(config, splits, device)
            found = _added_up(config, foreseen, foreseen.base() if base is None else base, begun)
            return _solved(found, config, foreseen) if config.tuning.train == "probe" else found
    finally:
        torch.set_num_threads(threads)


def _added_up(config: TrainConfig, foreseen: Foreseen, base: int, begun: float) -> Forecast:
    whole, picture, size = foreseen.whole(), foreseen.picture_bytes, foreseen.micro_batch
    step = len(foreseen.parts) * size * whole.gradient + whole.update
    load = foreseen.loading * foreseen.order.batch
    judging = len(foreseen.setup.validation) * (foreseen.reading + whole.judging)
    steps = foreseen.order.steps_per_epoch
    seconds = _together(step, load, config.workers, foreseen.device)
    # A batch, and what it is put together from.
    inputs, held_out = 3 * picture * size, 3 * picture * foreseen.judged_at_once
    return Forecast(
        device=str(foreseen.device),
        micro_batch=size,
        parts=len(foreseen.parts),
        steps=steps,
        epochs=config.epochs,
        base=base,
        weights=round(whole.weights),
        optimizer=round(2 * whole.gradients),
        copies=round(whole.weights * (3 if config.average else 1)),
        gradients=round(whole.gradients),
        activations=round(MARGIN * whole.activations + inputs),
        # The best weights are copied while the best ones until then are still there.
        evaluation=round(max(MARGIN * whole.evaluation + held_out, whole.weights)),
        loaders=AHEAD * config.workers * picture * size,
        step_seconds=step,
        loading_seconds=load,
        judging_seconds=judging,
        before_seconds=foreseen.asking,
        epoch_seconds=steps * seconds + judging / config.evaluate_every,
        taken=perf_counter() - begun,
    )


def _solved(found: Forecast, config: TrainConfig, foreseen: Foreseen) -> Forecast:
    """The same for a probe, which looks at every picture once and learns nothing step by step."""
    pictures = len(foreseen.setup.train) + len(foreseen.setup.validation)
    judging = found.judging_seconds / len(foreseen.setup.validation) - foreseen.reading
    seconds = pictures * _together(judging, foreseen.reading, usable_cores(), foreseen.device)
    return replace(found, optimizer=0, copies=0, gradients=0, activations=0, loaders=0, epoch_seconds=seconds)


def _together(step: float, load: float, workers: int, device: torch.device) -> float:
    """Seconds of a step whose pictures are loaded meanwhile. On a CPU both want the same cores."""
    if not workers:
        return step + load
    cores = usable_cores()
    seconds = max(step, load / min(workers, cores))
    if device.type == "cpu":
        seconds = max(seconds, (step * min(torch.get_num_threads(), cores) + load) / cores)
    return seconds
