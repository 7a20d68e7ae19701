"""SimMIM: the loss and its baseline by hand, also at the edge; and that it is learnt."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from vitreous.data.draws import drawing
from vitreous.data.loader import Labelled
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.config import SimMIMConfig
from vitreous.models.simmim import Rebuilt
from vitreous.tasks.config import MaskedPixelsConfig, check_fits
from vitreous.tasks.masked_pixels import MaskedPixels

TASK = MaskedPixelsConfig()


def configured(size: tuple[int, int] = (16, 16), **options: Any) -> SimMIMConfig:
    """Two stages, patches of 2 pixels: a cell of the last map is 4 x 4 pixels."""
    options = {"width": 8, "depths": [2, 2], "heads": [2, 4], "window": 2, "patch": 2} | options
    config = catalog.configure("simmim_swin_tiny", image_size=size, options=options)
    assert isinstance(config, SimMIMConfig)
    return config


def batch(config: SimMIMConfig, count: int = 6) -> Labelled:
    """Slopes of three colours, and the masks that the task draws for them."""
    generator = torch.Generator().manual_seed(0)
    height, width = config.image_size
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    slopes = torch.randn(count, 3, 2, 1, 1, generator=generator)
    images = slopes[:, :, 0] * down + slopes[:, :, 1] * across
    masks = TASK.masks(config.backbone)
    drawn = []
    for number in range(count):
        with drawing("mask", number):
            drawn.append(masks())
    none = torch.full((count,), -1)
    return Labelled(images, none, torch.arange(count), torch.stack(drawn))


class Painted(nn.Module):
    """Answers with the pictures that it was given, whatever is shown."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = nn.Parameter(images)

    def forward(self, images: Tensor, hidden: Tensor) -> Rebuilt:
        return Rebuilt(self.images)


def test_squares_are_as_large_as_a_cell_of_the_last_map_unless_a_size_is_said() -> None:
    backbone = configured().backbone
    assert (TASK.masks(backbone).unit, TASK.masks(backbone).count) == (2, 10)  # 10 of 16 squares of 4 pixels
    assert MaskedPixelsConfig(unit=8).masks(backbone).unit == 4
    published = catalog.configure("simmim_swin_b").backbone  # type: ignore[union-attr]
    assert TASK.masks(published).unit * published.patch == 32


def test_the_loss_is_the_mean_absolute_error_of_hidden_pixels_alone() -> None:
    config = configured((8, 12))
    hidden = torch.zeros(2, 4, 6, dtype=torch.bool)
    hidden[0, :2, :2] = True  # 4 x 4 pixels at the top left
    hidden[1, 2:, 4:] = True  # as many at the bottom right
    fixed = batch(config, 2)._replace(masks=hidden.flatten(1))
    answer = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    error = (answer - fixed.images).abs()
    by_hand = (error[0, :, :4, :4].sum() + error[1, :, 4:, 8:].sum()) / (2 * 16 * 3)
    model = Painted(answer)
    loss = MaskedPixels(TASK, config).loss(model, fixed)
    assert loss.total.item() == pytest.approx(by_hand.item(), rel=1e-6)
    loss.total.backward()
    told = (model.images.grad != 0).any(1)
    assert told[0, :4, :4].all() and told[1, 4:, 8:].all() and told.sum() == 32


def test_the_baseline_is_the_mean_colour_of_what_is_visible() -> None:
    config = configured((4, 8))
    hidden = torch.zeros(1, 2, 4, dtype=torch.bool)
    hidden[:, :, :2] = True  # the left half
    images = torch.zeros(1, 3, 4, 8)
    images[:, :, :, :4] = 3.0
    images[:, :, :2, 4:] = 1.0  # half of the right half, so its mean is 0.5
    fixed = Labelled(images, torch.tensor([-1]), torch.tensor([0]), hidden.flatten(1))
    objective = MaskedPixels(TASK, config)
    measures = objective.measures(objective.tally(Painted(images - 0.25), fixed))
    assert measures == {"masked_error": pytest.approx(0.25), "guessing_error": pytest.approx(2.5)}
    assert objective.rank(measures) > objective.rank({**measures, "masked_error": 1.0})


@pytest.mark.parametrize("cut", [False, True])
def test_parts_of_patches_at_the_edge_count_where_the_model_sees_them(cut: bool) -> None:
    config = configured((11, 15), cut_edges=cut)
    fixed = batch(config, 3)
    objective = MaskedPixels(TASK, config)
    torch.manual_seed(0)
    model = catalog.build(config)
    rebuilt = model(fixed.images, fixed.masks).images
    rows, cols = config.backbone.grid
    assert (rows, cols) == ((5, 7) if cut else (6, 8))
    by_hand = []
    for picture in range(3):
        total, count = 0.0, 0
        for y in range(min(11, 2 * rows)):
            for x in range(min(15, 2 * cols)):
                if fixed.masks[picture, y // 2 * cols + x // 2]:  # type: ignore[index]
                    total += (rebuilt - fixed.images)[picture, :, y, x].abs().sum().item()
                    count += 3
        by_hand.append(total / count)
    assert objective.loss(model, fixed).total.item() == pytest.approx(sum(by_hand) / 3, rel=1e-5)
    assert objective.tally(model, fixed)["masked_error"] == pytest.approx(sum(by_hand), rel=1e-5)


def test_the_loss_falls_on_fixed_data_below_the_baseline() -> None:
    torch.manual_seed(0)
    config = configured()
    model, objective, fixed = catalog.build(config), MaskedPixels(TASK, config), batch(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = objective.loss(model, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    measures = objective.measures(objective.tally(model.eval(), fixed))
    assert losses[-1] < 0.5 * losses[0]
    assert measures["masked_error"] < 0.5 * measures["guessing_error"]


@pytest.mark.parametrize("size", [(16, 16), (11, 15)])
def test_cutting_a_batch_changes_the_gradient_by_rounding_alone(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    config = configured(size)
    model, objective, fixed = catalog.build(config), MaskedPixels(TASK, config), batch(config)
    objective.loss(model, fixed).total.backward()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for start in range(0, 6, 2):
        rows = Labelled(*(None if part is None else part[start : start + 2] for part in fixed))
        (objective.loss(model, rows).total / 3).backward()
    for parameter, gradient in zip(model.parameters(), whole, strict=True):
        assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unit": 16}, "hides 1 of 1 squares of 8x8 patches"),
        ({"unit": 3}, "multiple of the patch of 2 pixels, got 3"),
        ({"mask_ratio": 0.01}, "hides none of 16 squares"),
        ({"mask_ratio": 0.99}, "hides 16 of 16 squares"),
    ],
)
def test_masks_that_do_not_fit_the_picture_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_fits(MaskedPixelsConfig(**settings), configured())
