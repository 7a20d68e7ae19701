"""The run that is chosen for boxes and pixels fits the pictures and the machine."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from vitreous.tasks.config import check_fits
from vitreous.training.choice import PATIENCE, Facts, seconds_of
from vitreous.training.choice_of_places import choose_places, reasons_of_places


def facts(places: Literal["objects", "regions"], **values: object) -> Facts:
    usual: dict[str, object] = {"pictures": 2000, "classes": 10, "side": 64, "cores": 2, "device": "cpu"}
    return Facts(**(usual | values), places=places)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "model", "side"),
    [
        (facts("objects"), "detr_resnet_tiny", 64),
        (facts("objects", side=100), "detr_resnet_tiny", 96),
        (facts("objects", side=640, pictures=500, cores=64), "detr_resnet_tiny", 256),
        (facts("objects", side=640, pictures=20_000, device="cuda"), "detr_resnet_tiny", 256),
        (facts("regions"), "segformer_tiny", 64),
        (facts("regions", side=640, pictures=5000, device="cuda"), "segformer_b0", 512),
    ],
)
def test_what_is_chosen(known: Facts, model: str, side: int) -> None:
    config = choose_places(known, "pictures", "run").config
    assert (config.model.name, config.model.image_size) == (model, side)


def test_what_more_time_would_give_is_said() -> None:
    known = facts("objects", side=640, pictures=20_000, device="cuda")
    choice = choose_places(known, "pictures", "run")
    assert choice.dearest == "detr_resnet_50 at 640x640 pixels"
    assert "detr_resnet_50" in reasons_of_places(choice.config, known, choice.dearest)[0]


@given(
    some.sampled_from(["objects", "regions"]),
    some.integers(1, 300_000),
    some.integers(1, 6000),
    some.sampled_from(["cpu", "cuda"]),
    some.integers(1, 64),
)
@settings(max_examples=60, deadline=None)
def test_every_choice_can_be_built_and_says_why(
    places: Literal["objects", "regions"], pictures: int, side: int, device: str, cores: int
) -> None:
    known = facts(places, pictures=pictures, side=side, device=device, cores=cores)
    choice = choose_places(known, "pictures", "run")
    config = choice.config
    check_fits(config.task, config.model.configure(classes=10))
    assert config.batch_size <= max(8, pictures)
    if seconds_of(config.model, known, config.epochs) > PATIENCE:
        side = int(str(config.model.image_size))
        assert side == 64 or choice.dearest is None or side <= 256
    told = " ".join(reasons_of_places(config, known, choice.dearest))
    assert config.model.name in told and "chosen: " in told
    assert ("--from SOURCE" in told) == (pictures < 500)
