"""Why a class at a place: against the paper's matrices and autograd's own gradients, and a model built by
hand."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vitreous.explain.explained import checked_place
from vitreous.explain.looking import reading_of
from vitreous.explain.recording import recording
from vitreous.explain.regions import (
    at_place,
    logits_at,
    look_for_regions,
    over_region,
    region_gradient,
    region_relevance,
)
from vitreous.models.catalog import build, configure
from vitreous.models.upernet import UPerNet

from .dense_models import SEGMENTERS, dense, picture_of, predictor_of, shaken
from .matrices import explicit, normalised, spoke

PLACE = (0.4, 0.7)


def head_of(model: Any) -> nn.Module:
    return model.scales if isinstance(model, UPerNet) else model.head


def run(model: Any, images: Tensor, index: int) -> tuple[Any, Tensor, list[Tensor]]:
    """Explicit weights, the logit of a class at cell (5, 3), and what the head was given, which is nobody
    else's."""
    given: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        given.extend(grid * 1 for grid in inputs[0])
        return (given,)

    handle = head_of(model).register_forward_pre_hook(keep)
    with explicit() as every:
        score = model(images).logits[0, index, 5, 3]
    handle.remove()
    return every, score, given


def read_by_hand(score: Tensor, grid: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(score, grid, retain_graph=True)
    return (gradient * grid).sum(1).clamp(min=0).flatten().detach()


def spread(rows: int, cols: int, coarse: tuple[int, int], kernel: int, step: int, padding: int) -> Tensor:
    """(coarse cells, cells): even shares of the cells under a kernel."""
    found = torch.zeros(coarse[0] * coarse[1], rows * cols)
    for row in range(coarse[0]):
        for col in range(coarse[1]):
            for down in range(row * step - padding, row * step - padding + kernel):
                for across in range(col * step - padding, col * step - padding + kernel):
                    if 0 <= down < rows and 0 <= across < cols:
                        found[row * coarse[1] + col, down * cols + across] = 1
    return found / found.sum(dim=1, keepdim=True)


def of_a_mix_transformer(model: Any, images: Tensor, index: int) -> Tensor:
    every, score, given = run(model, images, index)
    total = torch.zeros(())
    matrix = kept = torch.eye(0)
    for number, (stage, grid) in enumerate(zip(model.backbone.stages, given, strict=True)):
        rows, cols = grid.shape[-2:]
        if number == 0:
            matrix = kept = torch.eye(rows * cols)
        else:
            before = given[number - 1].shape[-2:]
            merged = spread(*before, (rows, cols), model.config.backbone.kernels[number], 2, 1)
            matrix, kept = merged @ matrix, merged @ kept
        for block in stage.blocks:
            asked = spoke(every, block.attention, score)[0]
            side = getattr(block.attention, "reduction", 1)
            asked = asked @ spread(rows, cols, (rows // side, cols // side), side, side, 0)
            matrix = matrix + asked @ matrix
        total = total + read_by_hand(score, grid) @ normalised(matrix, kept)
    return total.reshape(given[0].shape[-2:])


def of_a_vit(model: Any, images: Tensor, index: int) -> Tensor:
    """Read after its last block, or after several."""
    every, score, given = run(model, images, index)
    prefix = model.backbone.embed.prefix
    rows, cols = given[0].shape[-2:]
    blocks = model.backbone.encoder.blocks
    taps = model.config.taps if isinstance(model, UPerNet) else (len(blocks),)
    kept = torch.eye(prefix + rows * cols)
    matrix, total = kept, torch.zeros(len(kept))
    for number, block in enumerate(blocks, start=1):
        matrix = matrix + spoke(every, block, score)[0] @ matrix
        if number in taps:
            read = read_by_hand(score, given[taps.index(number)])
            total = total + torch.cat([torch.zeros(prefix), read]) @ normalised(matrix, kept)
    return total[prefix:].reshape(rows, cols)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("segformer_tiny", of_a_mix_transformer),
        ("segformer_vit_tiny", of_a_vit),
        ("beit_tiny_upernet", of_a_vit),
    ],
)
def test_relevance_is_that_of_whole_matrices(name: str, by_hand: Any) -> None:
    model = dense(name)
    images = picture_of(model)
    looked = look_for_regions(model, images)
    spoke_for = 0
    for index in (1, 2, 4):
        wanted = by_hand(model, images, index)
        found = region_relevance(model, looked, looked.answer.logits[0, index, 5, 3]).grid
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.max()))
        spoke_for += int(wanted.max() > 0)
    assert spoke_for


@pytest.mark.parametrize("size", [(64, 64), (40, 56)])
@pytest.mark.parametrize("name", ["segformer_tiny", "segformer_vit_tiny", "segformer_swin_tiny"])
def test_what_was_read_comes_out_twice(name: str, size: tuple[int, int]) -> None:
    model = dense(name)
    looked = look_for_regions(model, torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)))
    read, logit = 0.0, looked.answer.logits.sum()
    for index in range(5):
        asked = at_place(looked, PLACE, index).logit
        gradients = looked.gradients(asked)
        spoke_for = sum(
            float(reading_of(grid, gradient).sum())
            for grid, gradient in zip(looked.maps, gradients.maps, strict=True)
        )
        if spoke_for > read:
            read, logit = spoke_for, asked
    assert read > 0
    found = region_relevance(model, looked, logit)
    if name == "segformer_vit_tiny":  # what arrives at its class token is not on the map
        assert read < float(found.grid.sum()) < 2 * read
    else:
        assert float(found.grid.sum()) == pytest.approx(2 * read, rel=1e-3)
    assert found.grid.shape == (size[0] // found.stride, size[1] // found.stride)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_gradient_times_activation_is_how_fast_the_logit_grows_with_the_maps(name: str) -> None:
    model = dense(name).double()
    looked = look_for_regions(model, picture_of(model).double())
    asked = at_place(looked, PLACE, 2)
    gradients = looked.gradients(asked.logit)
    counted = sum(
        float((grid * part).sum().detach()) for grid, part in zip(looked.maps, gradients.maps, strict=True)
    )

    def logit(scale: float) -> float:
        grown = [grid.detach() * scale for grid in looked.maps]
        logits = model.head(model.scales(grown) if isinstance(model, UPerNet) else grown)
        return float(
            logits_at(looked._replace(answer=type(looked.answer)(logits, *looked.answer[1:])), PLACE)[2]
        )

    step = 1e-5
    assert counted == pytest.approx((logit(1 + step) - logit(1 - step)) / (2 * step), rel=1e-4, abs=1e-7)
    told = region_gradient(looked, asked.logit)
    assert told.grid.shape == looked.maps[0].shape[-2:] and float(told.grid.min()) >= 0


@pytest.mark.parametrize("name", SEGMENTERS)
def test_logits_at_a_place_are_those_of_the_enlarged_map(name: str) -> None:
    model = dense(name)
    looked = look_for_regions(model, picture_of(model))
    height, width = looked.size
    enlarged = interpolate(looked.answer.logits, size=(height, width), mode="bilinear", align_corners=False)
    for x, y in ((0, 0), (5, 9), (width - 1, height - 1), (13, 2)):
        found = logits_at(looked, ((x + 0.5) / width, (y + 0.5) / height))
        assert torch.allclose(found, enlarged[0, :, y, x], atol=1e-5)
        asked = at_place(looked, ((x + 0.5) / width, (y + 0.5) / height))
        assert asked.index == int(enlarged[0, :, y, x].argmax())
        assert asked.score == pytest.approx(float(enlarged[0, :, y, x].softmax(0).max()), abs=1e-5)


def test_a_region_is_the_mean_over_the_cells_of_its_class() -> None:
    model = dense("segformer_vit_tiny")
    looked = look_for_regions(model, picture_of(model))
    logits = looked.answer.logits[0].detach()
    there = logits.argmax(0)
    for index in range(5):
        asked = over_region(looked, index)
        if not (there == index).any():
            assert asked is None
            continue
        assert asked is not None and asked.index == index
        assert float(asked.logit) == pytest.approx(float(logits[index][there == index].mean()), abs=1e-5)
        assert asked.score == pytest.approx(float(logits.softmax(0)[index][there == index].mean()), abs=1e-5)


def looking_at(token: int) -> Any:
    """A SegFormer on a ViT of one block and one head, all of whose tokens look at one patch of a picture."""
    torch.manual_seed(0)
    config = configure(
        "segformer_vit_tiny",
        classes=5,
        image_size=16,
        options={"depth": 1, "heads": 1, "patch": 4, "width": 64},
    )
    model: Any = shaken(build(config))
    block, prefix = model.backbone.encoder.blocks[0], model.backbone.embed.prefix
    given: list[Tensor] = []
    handle = block.attention.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    with torch.no_grad():
        model(picture_of(model))
        handle.remove()
        wanted = torch.zeros(prefix + 16, 1)
        wanted[prefix + token] = 1
        queries, keys, _ = block.attention.qkv.weight.chunk(3)
        queries.zero_()
        keys.zero_()
        keys[0] = torch.linalg.lstsq(given[0][0], wanted).solution[:, 0]
        block.attention.qkv.bias[:128] = 0
        block.attention.qkv.bias[0] = 30 * 8.0
    return model


@pytest.mark.parametrize("token", [0, 6, 15])
def test_the_heat_of_tokens_that_look_at_one_patch_peaks_there_and_at_their_own(token: int) -> None:
    model = looking_at(token)
    images = picture_of(model)
    with torch.no_grad(), recording(model) as record:
        model(images)
    assert (record.weights(0)[0, 0].argmax(dim=1) == model.backbone.embed.prefix + token).all()
    looked = look_for_regions(model, images)
    for own in (token, 9):
        place = ((own % 4 + 0.5) / 4, (own // 4 + 0.5) / 4)
        logits = [at_place(looked, place, kind).logit for kind in range(5)]
        # What speaks against every class speaks for its opposite.
        grids = [region_relevance(model, looked, sign * logit).grid for logit in logits for sign in (1, -1)]
        spoke_for = [grid.flatten() for grid in grids if grid.flatten()[token] > 1e-6]
        assert spoke_for
        for grid in spoke_for:
            assert set(grid.topk(len({own, token})).indices.tolist()) == {own, token}
            there = grid[own] + grid[token] * (own != token)
            assert float(there) == pytest.approx(float(grid.sum()), rel=1e-3)


def test_a_segmenter_whose_tokens_consult_nobody_reads_the_place_itself() -> None:
    model = dense("segformer_vit_tiny")
    with torch.no_grad():
        for block in model.backbone.encoder.blocks:
            block.attention.projection.weight.zero_()
    looked = look_for_regions(model, picture_of(model))
    place = (10.5 / 16, 3.5 / 16)  # the middle of a cell
    grids = [region_relevance(model, looked, at_place(looked, place, kind).logit).grid for kind in range(5)]
    assert max(float(grid.sum()) for grid in grids) > 0
    for grid in grids:
        if float(grid.sum()) > 0:
            assert np.unravel_index(int(grid.argmax()), grid.shape) == (3, 10)
            assert int((grid > 1e-6 * grid.max()).sum()) == 1


@pytest.mark.parametrize("name", SEGMENTERS)
def test_recorded_weights_times_values_are_the_fused_output(name: str) -> None:
    model = dense(name)
    with torch.inference_mode(), recording(model) as record:
        model(picture_of(model))
    assert record.layers
    for recorded in record.layers:
        assert torch.allclose(recorded.weights() @ recorded.values, recorded.output, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_model_is_left_as_it_was_and_may_be_frozen(name: str, frozen: bool) -> None:
    model, other = dense(name).requires_grad_(not frozen), dense(name)
    images = picture_of(model)
    before = model(images).logits.detach()
    with torch.inference_mode():
        looked = look_for_regions(model, images)
        found = region_relevance(model, looked, at_place(looked, PLACE, 1).logit).grid
        assert region_gradient(looked, at_place(looked, PLACE, 1).logit).grid.isfinite().all()
    plain = look_for_regions(other, images)
    assert torch.allclose(found, region_relevance(other, plain, at_place(plain, PLACE, 1).logit).grid)
    assert torch.equal(model(images).logits.detach(), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_place_is_the_middle_of_its_pixel_in_the_view() -> None:
    guide = predictor_of(dense("segformer_tiny"), shorter=64)
    view = guide.prepare(Image.new("RGB", (320, 160)))  # of which the middle half is seen
    assert checked_place((80, 0), view) == pytest.approx((0.5 * 64 / 160 / 64, 0.5 * 64 / 160 / 64))
    assert checked_place((159, 79), view) == pytest.approx((79.5 / 160, 79.5 / 160))
