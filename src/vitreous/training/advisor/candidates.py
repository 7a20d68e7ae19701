"""What is tried: ways of learning, each as the commands that a user would type.

A ladder goes from the cheap to the dear: weights at hand are first asked as they are, then tuned a little,
then altogether; without weights, labels alone come before pretraining on the same pictures and a teacher. A
convolutional network always stands beside them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from vitreous.config import to_plain
from vitreous.training.config import ModelChoice, TrainConfig, with_model
from vitreous.training.recipes import recipe as find_recipe

Ladder = Literal["weights", "scratch", "control"]
Takes = Literal["nothing", "weights", "teacher"]

LEAVES = ("model.options", "task")  # settings that are given whole: what is not in them is not there


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One ``vitreous train``.

    plan      what it does; where it takes what the stage before has left, a stand-in that costs as much
    recipe    what its command begins from; None: what ``vitreous train`` chooses by itself
    share     of the candidate's time
    takes     what the run of the stage before is to this one
    solved    at once, in no epochs
    """

    plan: TrainConfig
    recipe: str | None = None
    share: float = 1.0
    takes: Takes = "nothing"
    solved: bool = False

    def config(self, data: str, output: str, before: str | None) -> TrainConfig:
        """The configuration of this stage; ``before`` is the run of the stage before it."""
        config = replace(self.plan, data=data, output=output)
        if self.takes == "weights":
            return replace(config, model=ModelChoice(source=before), mean=None, std=None)
        if self.takes == "teacher":
            task: Any = config.task
            return replace(config, task=replace(task, teacher=before))
        return config

    def command(self, data: str, output: str, before: str | None) -> str:
        """The same as a line for a shell."""
        parts = ["vitreous train", quote(data)]
        if self.recipe is not None:
            parts += ["--recipe", self.recipe, *_flags(self.config(data, output, before), self.recipe)]
        return " ".join([*parts, "--output", quote(output)])


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way of learning. ``key`` names it on one word, ``title`` for people; a ladder's candidates stand
    from the cheapest up. One without stages learns nothing: it asks the nearest neighbours."""

    key: str
    title: str
    ladder: Ladder
    stages: tuple[Stage, ...] = ()
    source: str | None = None  # the weights at hand that it begins from
    after: str | None = None  # the step below; where that one brought nothing, this is not tried
    beside: str | None = None  # like this one, but dearer; where weights at hand beat that, this is not tried

    def command(self, data: str, runs: Path) -> str:
        """What to type to go on with it."""
        if not self.stages:
            return f"vitreous evaluate {quote(str(self.source))} {quote(data)} --neighbours"
        commands, before = [], None
        for number, stage in enumerate(self.stages, start=1):
            last = number == len(self.stages)
            output = str(runs / (self.key if last else f"{self.key}-{number}"))
            commands.append(stage.command(data, output, before))
            before = output
        return " && ".join(commands)


def _flags(config: TrainConfig, recipe: str) -> list[str]:
    """What must be said beside a recipe to have this configuration."""
    base = find_recipe(recipe)(config.data, config.output)
    flags = []
    if config.model.source is not None:
        flags = ["--from", quote(config.model.source)]
        base = replace(base, model=ModelChoice(source=config.model.source))
    elif config.model.name != base.model.name:
        flags = ["--model", config.model.name]
        base = with_model(base, config.model.name)
    before, after = _flat(to_plain(base)), _flat(to_plain(config))
    for key, value in after.items():
        if value != before.get(key, ...):
            flags += ["--set", quote(f"{key}={json.dumps(value)}")]
    return flags


def _flat(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = where + key
        if isinstance(value, Mapping) and path not in LEAVES:
            found |= _flat(value, f"{path}.")
        else:
            found[path] = value
    return found
