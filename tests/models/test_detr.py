"""DETR: pictures of several sizes in one batch, what trains, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from vitreous.data.batch import padded
from vitreous.errors import ConfigError
from vitreous.layers.placed_attention import PlacedAttention, key_mask, sine_places
from vitreous.models import catalog
from vitreous.models.config import DetrConfig
from vitreous.models.detr import Detections, best_of

TINY = ("detr_vit_tiny", "detr_swin_tiny", "detr_resnet_tiny")


def built(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return catalog.build(catalog.configure(name, classes=5, options=options)).eval()


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_pictures_of_many_sizes_are_answered_as_alone(name: str) -> None:
    model = built(name)
    views = pictures((64, 64), (50, 70), (96, 33), (50, 70), (17, 120))
    together = model(*padded(views))
    for number, view in enumerate(views):
        alone = model(view[None])
        assert_close(together.logits[number], alone.logits[0], atol=1e-4, rtol=0)
        assert_close(together.boxes[number], alone.boxes[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_what_padding_holds_does_not_matter_and_the_mask_does() -> None:
    model = built("detr_vit_tiny")
    images, valid = padded(pictures((64, 64), (40, 48)))
    loud = images.masked_fill(~valid[:, None], 7.0)
    assert_close(model(images, valid).logits, model(loud, valid).logits, atol=1e-6, rtol=0)
    assert (model(images, valid).logits - model(images).logits)[1].abs().max() > 1e-2


@torch.no_grad()
def test_a_full_batch_needs_no_mask() -> None:
    model = built("detr_resnet_tiny")
    images, valid = padded(pictures((64, 48), (64, 48)))
    assert_close(model(images, valid).boxes, model(images).boxes, atol=1e-5, rtol=0)


def test_layers_before_the_last_answer_in_training_alone() -> None:
    model = built("detr_vit_tiny")
    images = torch.stack(pictures((64, 64), (64, 64)))
    assert model(images).auxiliary == ()
    told = model.train()(images)
    assert len(told.auxiliary) == model.config.decoder_depth - 1
    for logits, boxes in told.auxiliary:
        assert logits.shape == (2, 16, 6) and boxes.shape == (2, 16, 4)
    assert told.boxes.min() >= 0 and told.boxes.max() <= 1


def test_dropout_is_drawn_alike_however_a_batch_is_cut() -> None:
    model = built("detr_vit_tiny", dropout=0.3).train()
    images = torch.stack(pictures(*[(32, 32)] * 4))

    def part(start: int, stop: int) -> Tensor:
        for module in model.modules():
            if hasattr(module, "rows"):
                module.rows = (start, stop, 4)
        torch.manual_seed(3)
        return model(images[start:stop]).logits

    whole, halves = part(0, 4), torch.cat([part(0, 2), part(2, 4)])
    assert_close(whole, halves, atol=1e-5, rtol=0)
    assert (whole - model.eval()(images).logits).abs().max() > 1e-2


def test_statistics_of_a_frozen_norm_do_not_learn() -> None:
    config = catalog.configure("detr_resnet_tiny", classes=5)
    frozen = catalog.build(replace(config, backbone=replace(config.backbone, norm="frozen"))).train()
    assert not [name for name, _ in frozen.named_parameters() if ".bn" in name or "stem_norm" in name]
    before = {name: value.clone() for name, value in frozen.named_buffers()}
    frozen(torch.stack(pictures((64, 64), (64, 64))))
    assert all(torch.equal(value, before[name]) for name, value in frozen.named_buffers())


def test_a_dilated_stage_keeps_its_grid() -> None:
    config = catalog.configure("detr_resnet_tiny", classes=5)
    backbone = replace(config.backbone, widths=(16, 32, 64), depths=(1, 1, 2), bottleneck=True)
    wide = replace(backbone, dilated=True)
    assert (backbone.strides, wide.strides) == ((4, 8, 16), (4, 8, 8))
    model = catalog.build(replace(config, backbone=wide)).eval()
    assert model.backbone(torch.zeros(1, 3, 64, 48)).maps[-1].shape == (1, 64, 8, 6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 5), st.integers(0, 5))
def test_places_know_nothing_of_padding(rows: int, cols: int, below: int, right: int) -> None:
    alone = sine_places(torch.ones(1, rows, cols, dtype=torch.bool), 16, torch.float32)
    valid = torch.zeros(1, rows + below, cols + right, dtype=torch.bool)
    valid[:, :rows, :cols] = True
    places = sine_places(valid, 16, torch.float32).unflatten(1, valid.shape[1:])
    assert_close(places[:, :rows, :cols].flatten(1, 2), alone)
    assert places.isfinite().all()


def test_nobody_asks_padding_and_values_know_no_place() -> None:
    torch.manual_seed(0)
    attention = PlacedAttention(8, 2)
    tokens, places = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    mask = key_mask(torch.tensor([[True, True, True, False, False]]), torch.float32)
    other = tokens.clone()
    other[:, 3:] += 1
    first = attention(tokens, places, tokens, places, mask)[:, :3]
    assert_close(attention(other, places, other, places, mask)[:, :3], first)
    alike = tokens[:, :1].expand(-1, 5, -1)
    told = attention(tokens, places, alike, places)  # whoever is asked, the value is the same
    assert_close(told, told[:, :1].expand(-1, 5, -1))


def test_what_each_query_says_is_its_likeliest_class_but_none() -> None:
    logits = torch.tensor([[[0.0, 2.0, 5.0], [3.0, 1.0, 0.0]]])
    best = best_of(Detections(logits, torch.zeros(1, 2, 4)))
    assert best.labels.tolist() == [[1, 0]]
    assert best.scores[0, 0] < 0.1 < 0.8 < best.scores[0, 1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"queries": 0}, "queries must be 1 or more, got 0"),
        ({"width": 66, "heads": 2}, "divisible by 4, got 66"),
        ({"width": 64, "heads": 5}, "width 64 cannot be shared by 5 heads"),
        ({"encoder_depth": -1}, "encoder_depth must be 0 or more"),
        ({"decoder_depth": 501}, "501 layers"),
        ({"dropout": 1.0}, "dropout is a probability"),
    ],
)
def test_what_no_detr_can_be_is_refused(change: dict[str, object], reason: str) -> None:
    config = catalog.CATALOG["detr_vit_tiny"]
    assert isinstance(config, DetrConfig)
    with pytest.raises(ConfigError, match=reason):
        replace(config, **change)
