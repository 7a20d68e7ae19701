"""The run that nobody described: chosen from the pictures and the machine, and told with its reasons."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vitreous.cli.output import duration
from vitreous.errors import VitreousError

if TYPE_CHECKING:
    from vitreous.training.config import TrainConfig

# Settings that describe a run of their own; beside them nothing is left to choose.
DESCRIBING = ("model", "model.name", "model.source", "task", "task.kind")
SPARE = 0.9  # of the free memory that a run is planned to take


class Chosen(NamedTuple):
    """A run, and where it was chosen the sentences that say why."""

    config: "TrainConfig"
    notes: tuple[str, ...] = ()


def leaves_open(data: str, settings: Sequence[str]) -> bool:
    """Whether it is left open what is learnt from the data, and by which model."""
    return data != "digits" and all(_key(setting) not in DESCRIBING for setting in settings)


def choose_run(data: str, output: Path, settings: Sequence[str]) -> Chosen:
    """The run for these pictures on this machine, with the settings that were said.

    Raises:
        ConfigError: a setting that cannot be, or another run in ``output``.
        DataError: nothing can be learnt from this data.
    """
    from vitreous.data.folder import read_data
    from vitreous.training.choice import choose, reasons
    from vitreous.training.choice_of_places import choose_places, reasons_of_places
    from vitreous.training.config import with_settings
    from vitreous.training.facts import facts_of
    from vitreous.training.output import check_free
    from vitreous.training.recipes import scratch

    # What does not depend on the choice is looked at before any picture is.
    free = [setting for setting in settings if _key(setting).partition(".")[0] not in ("model", "task")]
    said = with_settings(scratch(data, str(output)), free)
    if os.environ.get("RANK", "0") == "0":
        check_free(output, said, resume=False)
    splits = read_data(data, seed=said.seed)
    from vitreous.predictor import pick_device

    facts = facts_of(splits, seed=said.seed, device=pick_device(said.device).type)
    if facts.places is None:
        choice = choose(facts, data, str(output))
        config = with_settings(choice.config, settings)
        return Chosen(config, tuple(reasons(config, facts, choice.dearest)))
    choice = choose_places(facts, data, str(output))
    config = with_settings(choice.config, settings)
    return Chosen(config, tuple(reasons_of_places(config, facts, choice.dearest)))


def tell(config: "TrainConfig", notes: Sequence[str], say: Callable[[str], None]) -> "TrainConfig":
    """Say what was chosen, and what it will take. The run comes back, with as many pictures at a time as
    memory will hold."""
    for note in notes:
        say(note)
    # Of several processes each would measure something else.
    return _foreseen(config, say) if notes and int(os.environ.get("WORLD_SIZE", "1")) == 1 else config


def _foreseen(config: "TrainConfig", say: Callable[[str], None]) -> "TrainConfig":
    from vitreous.evaluation.throughput import free_memory
    from vitreous.predictor import pick_device
    from vitreous.training.forecast import forecast
    from vitreous.training.memory import is_out_of_memory, resident

    device = pick_device(config.device)
    free = free_memory(device)
    if device.type == "cpu":
        free = None if free is None else free + (resident() or 0)  # what is held now is in the peak
    try:
        found = forecast(config)
    except Exception as error:
        if isinstance(error, VitreousError) or is_out_of_memory(error):
            return config  # the run itself says what is wrong, or takes fewer pictures at a time
        raise
    say(
        f"expected: {duration(found.run_seconds)} ({found.epoch_seconds:.1f} s an epoch) and"
        f" {found.peak_bytes / 2**30:.1f} GiB of memory; --recipe, --model and --set decide otherwise"
    )
    most = found.micro_batch if free is None else found.most_at_once(int(SPARE * free))
    if most == found.micro_batch:
        return config
    say(f"{found.micro_batch} pictures at a time do not fit into memory: {most} are taken, a batch stays")
    return replace(config, micro_batch=most)


def _key(setting: str) -> str:
    return setting.partition("=")[0].strip()
