"""The pace of a run: from its second epoch, by any clock."""

from dataclasses import replace

import pytest

from vitreous.models import catalog
from vitreous.training.config import TrainConfig
from vitreous.training.pace import Pace, measure_pace


def test_the_second_epoch_is_what_counts(config: TrainConfig) -> None:
    times = iter(range(1000))
    pace = measure_pace(config, clock=lambda: float(next(times)) ** 2)
    # The clock is asked at the beginning, after each of 12 steps, and at the end: 0, 1, ... 13, squared.
    assert pace == Pace(12**2 - 6**2, 13**2)


def test_a_rival_learns_for_as_long(config: TrainConfig) -> None:
    rival = catalog.build(catalog.configure("vit_tiny", classes=2, image_size=12, options={"depth": 1}))
    before = {name: value.clone() for name, value in rival.state_dict().items()}
    measure_pace(replace(config, average=0.0), model=rival)
    assert any((value != before[name]).any() for name, value in rival.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "generous", "epochs"), [(10.0, False, 3), (10.0, True, 4), (9.0, True, 3), (0.1, False, 1)]
)
def test_whole_epochs_at_least_one(seconds: float, generous: bool, epochs: int) -> None:
    assert Pace(3.0, 1.0).epochs(seconds, generous=generous) == epochs
