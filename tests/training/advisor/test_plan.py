"""The commands that are printed make the runs that were measured."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from vitreous.data.folder import read_data
from vitreous.errors import ConfigError
from vitreous.tasks.config import balance_of
from vitreous.training.advisor.candidates import Candidate
from vitreous.training.advisor.plan import plan
from vitreous.training.config import TrainConfig
from vitreous.training.recipes import configured


def typed(command: str) -> TrainConfig:
    """The configuration that a command line makes."""
    words = shlex.split(command)
    assert words[:2] == ["vitreous", "train"]
    given: dict[str, str] = {}
    settings: list[str] = []
    for flag, value in zip(words[3::2], words[4::2], strict=True):
        if flag == "--set":
            settings.append(value)
        else:
            given[flag] = value
    return configured(
        words[2], given["--output"], given["--recipe"], given.get("--model"), given.get("--from"), settings
    )


def candidates(data: str) -> list[Candidate]:
    return plan(data, read_data(data), ["weights/model"])


@pytest.mark.parametrize("data", ["digits", "pictures"])
def test_every_command_makes_the_run_that_is_measured(data: str, pictures: Path) -> None:
    name = str(pictures) if data == "pictures" else data
    for candidate in candidates(name):
        before = None
        commands = candidate.command(name, Path("runs")).split(" && ")
        for stage, command in zip(candidate.stages, commands, strict=False):
            output = shlex.split(command)[-1]
            wanted = stage.config(name, output, before)
            if stage.recipe is None:
                assert command == f"vitreous train {name} --output {output}"
            else:
                assert typed(command) == replace(wanted, data=name), candidate.key
            before = output
        if not candidate.stages:
            assert commands == [f"vitreous evaluate weights/model {name} --neighbours"]


def test_each_source_has_a_name_of_its_own() -> None:
    def keys(*sources: str) -> list[str]:
        return [one.key for one in plan("digits", read_data("digits"), sources) if one.source is not None]

    found = keys("runs/a/best", "runs/b/best", "/c/best")
    assert len(set(found)) == len(found) == 12
    assert {"probe-a-best", "probe-b-best", "probe-c-best"} < set(found)
    with pytest.raises(ConfigError, match="the same weights twice"):
        keys("runs/a", "runs/a/")


def test_skewed_data_is_balanced_for_all_alike(pictures: Path) -> None:
    for path in sorted((pictures / "train" / "above").iterdir())[4:]:
        path.unlink()
    for candidate in candidates(str(pictures)):
        assert all(balance_of(stage.plan.task) == "loss" for stage in candidate.stages[-1:]), candidate.key


def test_those_from_scratch_differ_in_how_they_learn_and_in_nothing_else() -> None:
    found = {candidate.key: candidate for candidate in candidates("digits") if candidate.ladder != "weights"}
    assert list(found) == ["labels", "mae", "teacher", "control"]
    labels = found["labels"].stages[0].plan
    for key in ("mae", "teacher", "control"):
        last = found[key].stages[-1].plan
        assert last.augment == labels.augment and last.batch_size == labels.batch_size, key
    masked, tuned = (stage.plan for stage in found["mae"].stages)
    backbone = masked.model.configure(classes=10).vit
    for plan_of in (labels, tuned):
        other = plan_of.model.configure(classes=10).vit
        assert (backbone.depth, backbone.patch, backbone.stem) == (other.depth, other.patch, other.stem)
        assert backbone.encoder.width == other.encoder.width
    assert found["control"].stages[0].plan.model.name == "resnet_18"
