"""The files of a run, written by one process: its configuration, and what was measured.

``metrics.jsonl`` holds only what follows from the configuration, so that a resumed run leaves the
same bytes; how fast the machine was goes into ``speed.jsonl`` and, where TensorBoard is installed,
all of it into ``tensorboard/`` too.
"""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitreous.config import from_plain, to_plain
from vitreous.errors import CheckpointError, ConfigError, MissingPackage, StorageError
from vitreous.training.config import TrainConfig

if TYPE_CHECKING:
    from vitreous.training.distributed import World

CONFIG, METRICS, SPEED = "config.json", "metrics.jsonl", "speed.jsonl"
UNFINISHED = f".{CONFIG}.writing"  # of a run that was killed before it began
# These may differ between a run and its resumption: they do not change what is learnt, or, as micro_batch,
# only by what is lost in rounding.
FREE = ("output", "workers", "device", "save_seconds", "track", "micro_batch")


class RunFiles:
    """The directory of one run."""

    def __init__(self, path: Path, config: TrainConfig, world: "World") -> None:
        self.path = path
        self.config = config
        self.world = world
        self.board: Any = None

    def check(self, resume: bool) -> None:
        """Whether this run may have the directory; see ``check_free``. Nothing is written yet."""
        if self.world.writes:
            check_free(self.path, self.config, resume=resume)

    def claim(self) -> None:
        """Take the directory for this run. StorageError where it cannot be written."""
        if not self.world.writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _write_whole(self.path / CONFIG, json.dumps(to_plain(self.config), indent=2) + "\n")
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}; give another --output") from error

    def open_metrics(self, size: int) -> None:
        """Cut the log back to the ``size`` bytes that belong to the steps done."""
        if not self.world.writes:
            return
        with (self.path / METRICS).open("ab") as file:
            file.truncate(size)
        if self.config.track != "none" and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path / "tensorboard"))

    def log(self, row: Mapping[str, Any], pictures_per_second: float | None) -> int:
        """Append a row of measures; returns the log's size in bytes."""
        try:
            with (self.path / SPEED).open("a") as file:
                speed = {"step": row["step"], "pictures_per_second": pictures_per_second}
                file.write(json.dumps(speed) + "\n")
            with (self.path / METRICS).open("a") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        except OSError as error:
            raise StorageError(
                f"{self.path / METRICS}: {error.strerror}; the last good checkpoint is {self.last_good()}"
            ) from error
        if self.board is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, row["step"])
            self.board.flush()
        return size

    def last_good(self) -> str:
        """The newest saved state, for a message."""
        states = sorted((self.path / "state").glob("step-[0-9]*[0-9]"))
        return str(states[-1]) if states else "none"


def check_free(path: Path, config: TrainConfig, *, resume: bool) -> None:
    """Whether a run of this configuration may write there; changes nothing, and needs no torch.

    Raises:
        ConfigError: something is there and ``resume`` was not said, or it is another run's.
        MissingPackage: TensorBoard was asked for and is not installed.
    """
    if config.track == "tensorboard" and find_spec("tensorboard") is None:
        raise MissingPackage("tensorboard", "track")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; give another --output")
    if resume and (path / CONFIG).exists():
        _compare(path, read_config(path), config)
    elif path.exists() and any(item.name != UNFINISHED for item in path.iterdir()):
        raise ConfigError(f"{path} is not empty; give another --output, or --resume to go on with its run")


def read_config(run: Path) -> TrainConfig:
    """The configuration that a run was begun with.

    Raises:
        ConfigError: the directory holds no run.
        CheckpointError: its configuration is damaged.
    """
    try:
        values = json.loads((run / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{run}: no run to resume is there (it has no {CONFIG})") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run / CONFIG}: damaged, not JSON") from error
    try:
        return from_plain(TrainConfig, values)
    except ConfigError as error:
        raise ConfigError(
            f"{run / CONFIG}: not the configuration of a run ({error}); give the run's own directory"
        ) from error


def _compare(path: Path, before: TrainConfig, config: TrainConfig) -> None:
    old, new = flat(to_plain(before)), flat(to_plain(config))
    changed = [
        f"{key}={old.get(key)!r} (now {new.get(key)!r})"
        for key in sorted(old | new)
        if old.get(key) != new.get(key) and key.split(".")[0] not in FREE
    ]
    if changed:
        raise ConfigError(
            f"{path} was begun with {', '.join(changed)}; resume without changes, or give another --output"
        )


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(UNFINISHED)
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def flat(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Plain values by the path of their keys: {"a": {"b": 1}} -> {"a.b": 1}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{where}{key}.")
        else:
            result[where + key] = value
    return result
