"""Costs of less deep versions add up to those of the whole model."""

import pytest
import torch

from vitreous.backbones.config import SwinConfig
from vitreous.models import catalog
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ModelConfig, UPerNetConfig, family_of
from vitreous.training.rungs import depths_of, least_options, rungs, with_depths

TRAINED = [name for name, config in CATALOG.items() if not isinstance(config, UPerNetConfig)]


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in catalog.build(config).parameters())


@pytest.mark.parametrize(
    "name",
    [
        "vit_ti_16",
        "vit_l_16",
        "deit_ti_16",
        "beit_b_16",
        "mae_b_16",
        "swin_t",
        "swin_l",
        "dinov2_s_14",
        "resnet_18",
    ],
)
def test_parameters_add_up_exactly(name: str) -> None:
    config = CATALOG[name]
    assert sum(rung.share * parameters(rung.config) for rung in rungs(config)) == parameters(config)


@pytest.mark.parametrize("name", TRAINED)
def test_no_version_is_deep_and_none_is_left_out(name: str) -> None:
    config = CATALOG[name]
    found = rungs(config)
    assert sum(rung.share for rung in found) == pytest.approx(1)
    for rung in found:
        assert family_of(rung.config) == family_of(config)
        assert sum(depths_of(rung.config)) <= max(5, 2 * len(depths_of(config)) + 2)
    assert with_depths(config, depths_of(config)) == config


@pytest.mark.parametrize(
    "name", ["vit_tiny", "swin_tiny", "swin_t", "mae_b_16", "beit_tiny_masked", "resnet_18"]
)
def test_the_least_deep_version_has_a_name_and_options(name: str) -> None:
    least = catalog.configure(name, options=least_options(CATALOG[name]))
    assert depths_of(least) == depths_of(rungs(CATALOG[name])[0].config)


def test_swin_keeps_its_pairs() -> None:
    config = catalog.configure("swin_tiny", options={"depths": [2, 6, 4]})
    assert [depths_of(rung.config) for rung in rungs(config)] == [(2, 2, 2), (2, 4, 2), (2, 2, 4)]
    assert isinstance(getattr(config, "backbone", None), SwinConfig)
