"""Configurations of tasks: told apart in a file, held against models, and refused where they cannot be."""

import json
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from vitreous.config import from_plain, to_plain
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.tasks.config import (
    TAUGHT,
    ClassificationConfig,
    DetectionConfig,
    DistillationConfig,
    MaskedAutoencodingConfig,
    MaskedPixelsConfig,
    SegmentationConfig,
    TaskConfig,
    TokenizerConfig,
    VisualTokensConfig,
    check_complete,
    check_fits,
    needs_labels,
    sources_of,
    truth_of,
)
from vitreous.training.config import TrainConfig, with_settings
from vitreous.training.recipes import RECIPES, recipe

KINDS: tuple[type[TaskConfig], ...] = get_args(TaskConfig)

SOME: tuple[TaskConfig, ...] = (
    ClassificationConfig(smoothing=0.0, balance="loss"),
    DistillationConfig(teacher="runs/teacher", targets="soft", share=0.7, temperature=1.0),
    MaskedAutoencodingConfig(),
    MaskedPixelsConfig(mask_ratio=0.5, unit=16),
    VisualTokensConfig(tokenizer="runs/tokenizer", mask_ratio=0.383, smallest_block=16),
    TokenizerConfig(temperature=(1.0, 0.5)),
    DetectionConfig(no_object=0.2, box_cost=0.0),
    SegmentationConfig(balance="loss", dice=0.5, auxiliary=0.0),
)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Something that has a task, as a run has."""

    task: TaskConfig


# In a file


def test_these_are_all_kinds() -> None:
    assert {type(task) for task in SOME} == set(KINDS)
    assert {task.kind for task in SOME} == set(TAUGHT)


@pytest.mark.parametrize("task", SOME, ids=lambda task: task.kind)
def test_a_task_survives_json_as_what_it_is(task: TaskConfig) -> None:
    again = from_plain(Holder, json.loads(json.dumps(to_plain(Holder(task=task)))))
    assert again.task == task and type(again.task) is type(task)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_alone_decides_which_class_is_meant(kind: type[TaskConfig]) -> None:
    name = kind().kind
    assert from_plain(Holder, {"task": {"kind": name}}).task == kind()
    # Also where a key is said that it does not know and others do.
    stranger = "temperature" if "temperature" not in to_plain(kind()) else "mask_ratio"
    with pytest.raises(ConfigError, match=f"unknown key 'task.{stranger}'"):
        from_plain(Holder, {"task": {"kind": name, stranger: 1.0}})


def test_an_unknown_kind_is_refused_with_what_is_known() -> None:
    with pytest.raises(ConfigError, match=r"task.kind: wanted .*; got 'clasification'") as caught:
        from_plain(Holder, {"task": {"kind": "clasification"}})
    assert "\n" not in str(caught.value)


def test_settings_reach_the_task_of_a_recipe() -> None:
    config = with_settings(recipe("beit")("data", "run"), ["task.tokenizer=there", "task.mask_ratio=0.383"])
    assert config.task == VisualTokensConfig(tokenizer="there", mask_ratio=0.383)
    with pytest.raises(ConfigError, match=r"'task.tokeniser'; did you mean 'tokenizer'"):
        with_settings(recipe("beit")("data", "run"), ["task.tokeniser=there"])


# What each needs


@pytest.mark.parametrize("task", SOME, ids=lambda task: task.kind)
def test_labels_are_needed_where_classes_are_told(task: TaskConfig) -> None:
    assert needs_labels(task) == (task.kind in ("classification", "distillation"))
    check_complete(task)


def test_what_has_no_default_must_be_said() -> None:
    with pytest.raises(ConfigError, match=r"needs a teacher; give --set task.teacher=SOURCE"):
        check_complete(DistillationConfig())
    with pytest.raises(ConfigError, match=r"needs a tokenizer; give --set task.tokenizer=SOURCE"):
        check_complete(VisualTokensConfig())


def test_other_weights_that_a_task_needs_are_listed() -> None:
    sources = {task.kind: sources_of(task) for task in SOME}
    assert sources.pop("distillation") == ("runs/teacher",)
    assert sources.pop("visual_tokens") == ("runs/tokenizer",)
    assert set(sources.values()) == {()}


# Which models it teaches


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (ClassificationConfig(), "vit_tiny"),
        (ClassificationConfig(), "swin_tiny"),
        (ClassificationConfig(), "resnet_18"),
        (DistillationConfig(), "deit_tiny"),
        (MaskedAutoencodingConfig(), "mae_tiny"),
        (MaskedPixelsConfig(), "simmim_swin_tiny"),
        (MaskedPixelsConfig(), "simmim_swin_b"),
        (VisualTokensConfig(), "beit_tiny_masked"),
        (VisualTokensConfig(), "beit_b_16_masked"),
        (SegmentationConfig(), "beit_tiny_upernet"),
    ],
)
def test_what_fits_is_let_through(task: TaskConfig, name: str) -> None:
    check_fits(task, catalog.configure(name))


@pytest.mark.parametrize(
    ("task", "name", "words"),
    [
        (MaskedAutoencodingConfig(), "vit_tiny", "of the family mae, got one of vit, which learns by class"),
        (ClassificationConfig(), "mae_tiny", "got one of mae, which learns by masked_autoencoding"),
        (VisualTokensConfig(), "beit_tiny", "of the family beit_masked, got one of beit"),
        (MaskedPixelsConfig(), "mae_tiny", "of the family simmim, got one of mae"),
        (MaskedPixelsConfig(), "beit_tiny_upernet", "got one of upernet, which learns by segmentation"),
        (SegmentationConfig(), "vit_tiny", "of the family segformer or upernet, got one of vit"),
    ],
)
def test_what_does_not_fit_says_what_would(task: TaskConfig, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check_fits(task, catalog.configure(name))
    assert "\n" not in str(caught.value)


def test_what_must_be_told_of_pictures() -> None:
    told = {task.kind: truth_of(task) for task in SOME}
    assert told["classification"] == told["distillation"] == "labels"
    assert (told["detection"], told["segmentation"]) == ("objects", "regions")
    assert told["masked_autoencoding"] == told["tokenizer"] == "nothing"


# Values that cannot be


@pytest.mark.parametrize("kind", [MaskedPixelsConfig, VisualTokensConfig])
@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_masks_hide_some_and_leave_some(kind: type[Any], ratio: float) -> None:
    with pytest.raises(ConfigError, match="must hide some patches and leave some"):
        kind(mask_ratio=ratio)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MaskedPixelsConfig(unit=0), "unit must be 1 pixel"),
        (lambda: VisualTokensConfig(smallest_block=0), "smallest_block must be 1"),
        (lambda: VisualTokensConfig(aspect=0.0), "aspect must be above 0"),
        (lambda: VisualTokensConfig(aspect=2.0), "aspect must be above 0 and at most 1"),
        (lambda: ClassificationConfig(smoothing=1.0), "smoothing is a share"),
        (lambda: DistillationConfig(share=1.1), "share is a share from 0 to 1"),
        (lambda: DistillationConfig(temperature=0.0), "temperature must be above 0"),
        (lambda: DistillationConfig(features=-1.0), "features must be 0 or more"),
        (lambda: DistillationConfig(cached_views=-1), "cached_views must be from 0"),
        (lambda: TokenizerConfig(temperature=(1.0, 0.0)), "temperature must be above 0"),
        (lambda: TokenizerConfig(divergence=-1.0), "divergence must be 0 or more"),
        (lambda: SegmentationConfig(dice=-0.1), "dice must be 0 or more"),
        (lambda: SegmentationConfig(auxiliary=float("nan")), "auxiliary must be 0 or more"),
    ],
)
def test_a_value_that_cannot_be_is_refused(build: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()


@pytest.mark.parametrize("name", ["mae", "beit", "simmim"])
@pytest.mark.parametrize("ratio", [0, 1])
def test_runs_that_would_hide_nothing_or_everything_are_refused_as_they_are_configured(
    name: str, ratio: int
) -> None:
    place = "model.options" if name == "mae" else "task"
    with pytest.raises(ConfigError) as caught:
        with_settings(recipe(name)("data", "run"), [f"{place}.mask_ratio={ratio}"])
    assert "mask_ratio" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_teaches_a_model_that_fits(name: str) -> None:
    config: TrainConfig = recipe(name)("data", "run")
    check_fits(config.task, config.model.configure(classes=2))
