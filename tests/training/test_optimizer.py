"""Who is decayed, how the rate goes, and what an average is."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from vitreous.models import catalog
from vitreous.training.config import OptimizerConfig
from vitreous.training.optimizer import Average, build_optimizer, learning_rate


def test_only_matrices_and_kernels_are_decayed() -> None:
    model = catalog.build(
        catalog.configure("vit_tiny", classes=3, options={"registers": 2, "layer_scale": 0.1, "stem": "conv"})
    )
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, spared = (
        {names[parameter] for parameter in group["params"]}
        for group in build_optimizer(model, OptimizerConfig()).param_groups
    )
    assert decayed | spared == set(names.values())
    assert all(name.endswith(".weight") and "norm" not in name for name in decayed)
    for part in ("positions.table", "class_token", "registers", "scale.scale", "norm.weight", ".bias"):
        assert any(part in name for name in spared)
        assert not any(part in name for name in decayed)


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup=0.1, final=0.05)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(2 * (0.05 + 0.95 / 2))
    assert rates[-1] == pytest.approx(2 * 0.05, rel=0.02)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))


def test_the_average_forgets_its_start_and_follows() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 5.0)
    average = Average(model, 0.9)
    nn.init.constant_(model.weight, 1.0)
    wanted = 5.0
    for update in range(200):
        average.update(model)
        decay = min(0.9, (1 + update) / (10 + update))
        wanted = decay * wanted + (1 - decay)
    assert average.weights["weight"].item() == pytest.approx(wanted, abs=1e-5)
    assert average.weights["weight"].item() == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(model.weight, torch.ones(1, 1))
