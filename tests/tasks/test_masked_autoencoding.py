"""MAE: its loss is that of transformers' class, its pictures come back whole, and it learns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tests.parity.cases_mae import channels_last, noise_for, transformers_mae
from tests.parity.twins import pictures, randomise
from vitreous.checkpoints.source import read_any
from vitreous.data.loader import Labelled
from vitreous.data.masks import RandomOrder
from vitreous.errors import ConfigError
from vitreous.layers.patches import patchify, unpatchify
from vitreous.models import catalog
from vitreous.models.config import MAEConfig
from vitreous.models.mae import MaskedAutoencoder, Reconstruction
from vitreous.tasks.config import MaskedAutoencodingConfig, check_fits
from vitreous.tasks.masked_autoencoding import MaskedAutoencoding, painted, targets


def configured(size: tuple[int, int] = (32, 32), **options: Any) -> MAEConfig:
    config = catalog.configure("mae_tiny", image_size=size, options=options)
    assert isinstance(config, MAEConfig)
    return config


def batch(config: MAEConfig, images: Tensor) -> Labelled:
    """The pictures, and the numbers that the task draws for their patches."""
    count, (rows, cols) = len(images), config.backbone.grid
    noise = torch.rand(count, rows * cols, generator=torch.Generator().manual_seed(7))
    return Labelled(images, torch.full((count,), -1), torch.arange(count), noise)


class Painter(nn.Module):
    """Answers with what it was given, and hides the first patches."""

    def __init__(self, patches: Tensor, hidden: int) -> None:
        super().__init__()
        self.patches, self.hidden = patches, hidden

    def forward(self, images: Tensor, noise: Tensor) -> Reconstruction:
        return Reconstruction(self.patches, (torch.arange(noise.shape[1]) < self.hidden).expand_as(noise))


# The loss and its targets


@pytest.mark.parametrize("normalised", [False, True])
def test_loss_and_targets_are_those_of_transformers(tmp_path: Path, normalised: bool) -> None:
    pytest.importorskip("transformers")
    twin = transformers_mae(tmp_path, norm_pix_loss=normalised)
    model = read_any(tmp_path).model
    images = pictures((32, 32)).float()
    fixed = batch(model.config, images)._replace(masks=noise_for(images))
    with torch.no_grad():
        theirs = twin.model(images, noise=fixed.masks)
        task = MaskedAutoencoding(model.config)
        assert task.loss(model, fixed).total.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
        sums = task.tally(model, fixed)
    assert task.measures(sums)["masked_error"] == pytest.approx(theirs.loss.item(), rel=1e-5)
    wanted = twin.model.patchify(images)
    if normalised:  # what ``forward_loss`` does with norm_pix_loss
        wanted = (wanted - wanted.mean(-1, keepdim=True)) / (wanted.var(-1, keepdim=True) + 1e-6) ** 0.5
    assert_close(channels_last(targets(images, model.config)), wanted, atol=1e-5, rtol=1e-5)


def test_the_loss_is_the_mean_over_hidden_patches_alone_by_hand() -> None:
    config = configured((8, 8))  # four patches of 48 numbers
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    answer = torch.randn(2, 4, 48, generator=torch.Generator().manual_seed(1))
    wanted = patchify(images, 4)
    by_hand = (answer[:, :3] - wanted[:, :3]).square().sum() / (2 * 3 * 48)
    task = MaskedAutoencoding(config)
    loss = task.loss(Painter(answer, 3), batch(config, images))
    assert loss.total.item() == pytest.approx(by_hand.item(), rel=1e-6)
    assert task.loss(Painter(wanted, 3), batch(config, images)).total.item() == 0.0


@pytest.mark.parametrize("normalised", [False, True])
def test_the_baseline_is_one_colour_in_the_place_of_each_patch(normalised: bool) -> None:
    config = configured((8, 8), normalised_targets=normalised)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    fixed, wanted = batch(config, images), targets(images, config)
    task = MaskedAutoencoding(config)
    measures = task.measures(task.tally(Painter(wanted + 0.5, 3), fixed))
    assert measures["masked_error"] == pytest.approx(0.25, rel=1e-5)
    if normalised:
        by_hand = wanted[:, :3].square().mean()
        assert by_hand.item() == pytest.approx(47 / 48, rel=1e-4)  # the variance of 48 numbers, over 48
    else:
        colour = images[:, :, 4:, 4:].mean((2, 3), keepdim=True)  # of the only patch that is visible
        by_hand = patchify((images - colour).square(), 4)[:, :3].mean()
    assert measures["guessing_error"] == pytest.approx(by_hand.item(), rel=1e-5)
    assert task.rank(measures) > task.rank({**measures, "masked_error": 0.5})


def test_tallies_of_pieces_add_up_to_the_whole() -> None:
    config = configured()
    model = randomise(catalog.build(config))
    fixed = batch(config, pictures((32, 32)).float())
    task = MaskedAutoencoding(config)
    pieces = [
        task.tally(model, Labelled(*(None if part is None else part[cut] for part in fixed)))
        for cut in (slice(2), slice(2, None))
    ]
    whole = task.tally(model, fixed)
    for name, value in whole.items():
        assert sum(piece[name] for piece in pieces) == pytest.approx(value, rel=1e-5)


# Pictures again


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_what_is_painted_from_targets_is_the_picture(normalised: bool, size: tuple[int, int]) -> None:
    config = configured(size, normalised_targets=normalised)
    images = pictures(size).float()
    again = painted(targets(images, config), images, config)
    assert_close(unpatchify(again, 4, *config.backbone.grid), images, atol=1e-5, rtol=1e-5)


def test_a_flat_patch_is_painted_flat() -> None:
    config = configured(normalised_targets=True)
    images = torch.full((1, 3, 32, 32), 0.7)
    assert_close(targets(images, config), torch.zeros(1, 64, 48), atol=1e-3, rtol=0)
    assert_close(painted(torch.zeros(1, 64, 48), images, config), torch.full((1, 64, 48), 0.7))


@pytest.mark.parametrize("cut", [False, True])
def test_targets_at_the_edge_lie_as_the_models_patches(cut: bool) -> None:
    config = configured((30, 34), cut_edges=cut)
    images = pictures((30, 34)).float()
    wanted = targets(images, config)
    rows, cols = config.backbone.grid
    assert wanted.shape[1] == rows * cols == (7 * 8 if cut else 8 * 9)
    again = unpatchify(wanted, 4, rows, cols)[..., :30, :34]
    assert_close(again, images[..., : again.shape[2], : again.shape[3]])


# Learning


@pytest.mark.parametrize("normalised", [False, True])
def test_the_loss_falls_on_fixed_data_below_the_baseline(normalised: bool) -> None:
    torch.manual_seed(0)
    config = configured((16, 16), normalised_targets=normalised)
    model, task = catalog.build(config), MaskedAutoencoding(config)
    across = torch.linspace(-1, 1, 16)
    slopes = torch.tensor([[1.0, 0.3], [-0.5, 1.0], [0.8, -0.8], [0.2, 0.9]])
    waves = slopes[:, :1, None] * across[:, None] + slopes[:, 1:, None] * across  # (4, 16, 16)
    fixed = batch(config, torch.stack([waves, (3 * waves).sin(), -waves], dim=1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = task.loss(model, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    measures = task.measures(task.tally(model.eval(), fixed))
    assert losses[-1] < 0.4 * losses[0]
    assert measures["masked_error"] < 0.6 * measures["guessing_error"]


def test_cutting_a_batch_changes_the_gradient_by_rounding_alone() -> None:
    torch.manual_seed(0)
    config = configured((16, 16), normalised_targets=True)
    model, task = catalog.build(config), MaskedAutoencoding(config)
    fixed = batch(config, torch.randn(6, 3, 16, 16))
    task.loss(model, fixed).total.backward()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for start in range(0, 6, 2):
        rows = Labelled(*(None if part is None else part[start : start + 2] for part in fixed))
        (task.loss(model, rows).total / 3).backward()
    for parameter, gradient in zip(model.parameters(), whole, strict=True):
        assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)


def test_the_task_draws_a_number_for_each_patch() -> None:
    assert MaskedAutoencoding(configured((24, 40))).masks == RandomOrder(6 * 10)


# What is hidden


@pytest.mark.parametrize("stem", ["linear", "conv"])
def test_visible_tokens_know_nothing_of_hidden_pixels(stem: str) -> None:
    model = randomise(catalog.build(configured(stem=stem)))
    assert isinstance(model, MaskedAutoencoder)
    seen: list[Tensor] = []
    model.backbone.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    fixed = batch(model.config, pictures((32, 32)).float())
    with torch.no_grad():
        hidden = model(fixed.images, fixed.masks).hidden
        cells = hidden.view(3, 1, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
        other = torch.where(cells, torch.full_like(fixed.images, 9.0), fixed.images)
        model(other, fixed.masks)
        model(torch.where(cells, fixed.images, fixed.images + 1), fixed.masks)
    assert seen[0].shape[1] == 1 + 16  # the class token and a quarter of the patches
    assert torch.equal(seen[0], seen[1])
    assert not torch.allclose(seen[0], seen[2], atol=1e-2)


def test_a_convolutional_stem_would_tell_if_hidden_pixels_were_not_blanked() -> None:
    # A negative control: shown whole, its tokens depend on their neighbours' pixels.
    embed = randomise(catalog.build(configured(stem="conv"))).backbone.embed.patches
    images = pictures((32, 32)).float()
    other = images.clone()
    other[..., :4, :4] = 9.0
    with torch.no_grad():
        assert not torch.allclose(embed(images)[:, 1], embed(other)[:, 1], atol=1e-2)


def test_a_model_that_hides_nothing_is_refused() -> None:
    config = configured(mask_ratio=0.0)
    with pytest.raises(ConfigError, match="hides none of 64 patches"):
        check_fits(MaskedAutoencodingConfig(), config)
    check_fits(MaskedAutoencodingConfig(), replace(config, mask_ratio=0.02))
