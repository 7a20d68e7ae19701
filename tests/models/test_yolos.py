"""YOLOS: queries stand among the patches, and a picture is answered as it would be alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from tests.parity.twins import randomise
from vitreous.errors import ConfigError
from vitreous.models.accounting import account
from vitreous.models.catalog import build, configure
from vitreous.models.config import YolosConfig
from vitreous.models.yolos import Yolos


def tiny(**options: object) -> Yolos:
    """The smallest one with a random value in every parameter."""
    model = randomise(build(configure("yolos_tiny", classes=3, options=options)))
    assert isinstance(model, Yolos)
    return model


@pytest.mark.parametrize("between", [False, True])
def test_pictures_of_several_sizes_are_answered_as_they_are_alone(between: bool) -> None:
    model = tiny(positions_between=between)
    images = torch.randn(3, 3, 64, 96)
    valid = torch.zeros(3, 64, 96, dtype=torch.bool)
    sizes = ((64, 96), (40, 50), (64, 96))
    for rows, (height, width) in zip(valid, sizes, strict=True):
        rows[:height, :width] = True
    with torch.no_grad():
        together = model(images, valid)
        for index, (height, width) in enumerate(sizes):
            alone = model(images[index : index + 1, :, :height, :width])
            assert_close(together.logits[index : index + 1], alone.logits, atol=1e-5, rtol=1e-5)
            assert_close(together.boxes[index : index + 1], alone.boxes, atol=1e-5, rtol=1e-5)


def test_the_order_of_queries_is_nothing_but_a_name() -> None:
    model = tiny(positions_between=True)
    images = torch.randn(1, 3, 64, 64)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(images)
        for part in (model.queries, model.query_places):
            part.copy_(part[:, order].clone())
        for positions in model.positions_between:
            table = positions.get_parameter("table")
            table[:, 1:17] = table[:, 1:17][:, order].clone()
        after = model(images)
    assert_close(after.boxes, before.boxes[:, order], atol=1e-5, rtol=1e-5)


def test_positions_between_blocks_count() -> None:
    model = tiny(positions_between=True)
    images = torch.randn(1, 3, 64, 64)
    assert len(model.positions_between) == model.config.backbone.depth - 1
    with torch.no_grad():
        before = model(images).logits
        model.positions_between[-1].get_parameter("table").zero_()
        assert not torch.allclose(model(images).logits, before)


def test_features_are_of_patches_that_saw_the_queries() -> None:
    model = tiny()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        queries, grid = model.encode(images)
        assert queries.shape == (2, 16, 128) and grid.shape == (2, 128, 8, 8)
        assert_close(model.features(images), grid.mean((2, 3)))
        alone = model.backbone(images).maps[-1]
    assert not torch.allclose(grid, alone)


@pytest.mark.parametrize("between", [False, True])
def test_products_are_those_that_torch_counts(between: bool) -> None:
    model = build(configure("yolos_tiny", classes=3, options={"positions_between": between})).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.randn(1, 3, 64, 80))
    counted = account(model.config, (64, 80))
    assert counted.flops == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert counted.tokens == 1 + 16 + 80 and counted.patches == 80


def test_what_cannot_be_is_refused() -> None:
    config = configure("yolos_tiny")
    assert isinstance(config, YolosConfig) and isinstance(build(config).classify, nn.Module)
    for change, reason in (
        ({"queries": 0}, "queries must be 1 or more, got 0"),
        ({"queries": 100_001}, "more than 100000 are refused"),
        ({"classes": 0}, "classes must be 1 or more"),
        ({"backbone": replace(config.backbone, attention="rotary")}, "needs plain attention, got rotary"),
    ):
        with pytest.raises(ConfigError, match=reason):
            replace(config, **change)
