"""Visual tokens: who sees what, at which size; the loss and its baseline by hand; and that it is learnt."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from vitreous.backbones.config import ViTConfig
from vitreous.data.draws import drawing
from vitreous.data.loader import Labelled
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.beit import MaskedTokens, VisualTokenLogits
from vitreous.models.config import MaskedTokensConfig
from vitreous.tasks.config import VisualTokensConfig, check_fits
from vitreous.tasks.visual_tokens import Answers, VisualTokens

OURS = Preprocess(size=(8, 12), shorter=None, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
PLAIN = Preprocess(size=(8, 8), shorter=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
TASK = VisualTokensConfig(tokenizer="somewhere", mask_ratio=0.5)


class Brightness:
    """A tokenizer of ``stride`` pixels whose token is how bright a square is, from 0 to 9; it keeps what it
    was shown."""

    def __init__(self, stride: int) -> None:
        self.config = SimpleNamespace(stride=stride)
        self.shown = torch.empty(0)

    def tokens(self, images: Tensor) -> Tensor:
        self.shown = images
        squares = nn.functional.avg_pool2d(images.mean(1, keepdim=True), self.config.stride)
        return (squares[:, 0] * 10).long().clamp(0, 9)


def configured(size: tuple[int, int] = (8, 12), **options: Any) -> MaskedTokensConfig:
    """A small masked model with patches of 4 pixels and 10 tokens."""
    options = {"width": 16, "depth": 2, "heads": 2, "visual_tokens": 10} | options
    channels = options.pop("channels", 3)
    config = catalog.configure("beit_tiny_masked", image_size=size, channels=channels, options=options)
    assert isinstance(config, MaskedTokensConfig)
    return config


def backbone(size: tuple[int, int] = (8, 12), **options: Any) -> ViTConfig:
    return configured(size, **options).backbone


def normalised(pixels: Tensor, preprocess: Preprocess = OURS) -> Tensor:
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    return (pixels - mean[:, None, None]) / std[:, None, None]


def batch(count: int = 6) -> Labelled:
    """Pictures of plain squares, and the masks that the task draws for them."""
    generator = torch.Generator().manual_seed(0)
    squares = torch.rand(count, 1, 2, 3, generator=generator).expand(-1, 3, -1, -1)
    pixels = squares.repeat_interleave(4, 2).repeat_interleave(4, 3)
    masks = TASK.masks((2, 3))
    drawn = []
    for number in range(count):
        with drawing("mask", number):
            drawn.append(masks())
    none = torch.full((count,), -1)
    return Labelled(normalised(pixels), none, torch.arange(count), torch.stack(drawn))


# What the tokenizer sees


def test_the_tokenizer_sees_the_pixels_of_the_view_in_its_own_normalisation() -> None:
    pixels = torch.rand(2, 3, 8, 12)
    tokenizer = Brightness(stride=4)
    theirs = replace(PLAIN, mean=(-0.125,) * 3, std=(1.25,) * 3)
    tokens = Answers(tokenizer, theirs, OURS, backbone())(normalised(pixels))
    assert_close(tokenizer.shown, 0.8 * pixels + 0.1, atol=1e-6, rtol=0)
    assert tokens.shape == (2, 6) and tokens.dtype == torch.int64


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_it_has_one_token_for_each_patch_where_the_patch_is(stride: int) -> None:
    shades = torch.tensor([[0.05, 0.25, 0.45], [0.65, 0.85, 0.15]])
    pixels = shades.repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 3, -1, -1)
    tokens = Answers(Brightness(stride), PLAIN, OURS, backbone())(normalised(pixels))
    assert tokens.tolist() == [[0, 2, 4, 6, 8, 1]]


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_views_are_resized_as_torchvision_resizes(stride: int) -> None:
    pixels = torch.rand(2, 3, 8, 12)
    tokenizer = Brightness(stride)
    Answers(tokenizer, PLAIN, OURS, backbone())(normalised(pixels))
    wanted = resize(pixels, [2 * stride, 3 * stride], InterpolationMode.BILINEAR, antialias=True)
    assert_close(tokenizer.shown, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cut", [False, True])
def test_a_part_of_a_patch_is_padded_or_cut_as_the_model_does(cut: bool) -> None:
    pixels = torch.rand(1, 3, 10, 14)
    tokenizer = Brightness(stride=4)
    Answers(tokenizer, PLAIN, OURS, backbone((10, 14), cut_edges=cut))(normalised(pixels))
    assert tokenizer.shown.shape[2:] == ((8, 12) if cut else (12, 16))
    seen = pixels[..., :8, :12] if cut else pixels
    height, width = seen.shape[2:]
    assert_close(tokenizer.shown[..., :height, :width], seen, atol=1e-6, rtol=0)
    if not cut:  # what is beyond the edge has the mean colour, as it has for the model
        assert_close(tokenizer.shown[0, :, -1, -1], torch.tensor(OURS.mean), atol=1e-6, rtol=0)


def test_grey_and_colour_are_made_of_one_another() -> None:
    grey = Preprocess(size=(8, 12), shorter=None, mean=(0.5,), std=(0.25,))
    plain = replace(PLAIN, mean=(0.0,), std=(1.0,))
    tokenizer = Brightness(stride=4)
    pixels = torch.rand(2, 1, 8, 12)
    Answers(tokenizer, PLAIN, grey, backbone(channels=1))(normalised(pixels, grey))
    assert_close(tokenizer.shown, pixels.expand(-1, 3, -1, -1), atol=1e-6, rtol=0)
    pixels = torch.rand(2, 3, 8, 12)
    Answers(tokenizer, plain, OURS, backbone())(normalised(pixels))
    luminance = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    assert_close(tokenizer.shown, luminance, atol=2e-4, rtol=0)


class Exact(Brightness):
    """Products that autocast would round."""

    def tokens(self, images: Tensor) -> Tensor:
        assert (images @ torch.ones(images.shape[-1], 1)).dtype == torch.float32
        return super().tokens(images)


def test_answers_are_no_rounder_where_the_model_is() -> None:
    pixels = torch.rand(2, 3, 8, 12)
    answers = Answers(Exact(4), PLAIN, OURS, backbone())
    exact = answers(normalised(pixels))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(answers(normalised(pixels)), exact)


# The loss


class Told(nn.Module):
    """Answers with the logits that it was given, whatever is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor, hidden: Tensor) -> VisualTokenLogits:
        return VisualTokenLogits(self.logits)


def task(answers: Callable[[Tensor], Tensor] | None = None) -> VisualTokens:
    tokens: Any = answers or Answers(Brightness(4), PLAIN, OURS, backbone())
    return VisualTokens(TASK, configured(), tokens)


def test_the_loss_is_the_mean_cross_entropy_of_hidden_patches_alone() -> None:
    hidden = torch.tensor([[1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0]], dtype=torch.bool)
    tokens = torch.tensor([[0, 1, 2, 0, 0, 0], [0, 0, 0, 0, 1, 2]])
    logits = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1))
    by_hand = 0.0
    for picture in range(2):
        for patch in range(6):
            if hidden[picture, patch]:
                row = logits[picture, patch].double()
                by_hand -= (row[tokens[picture, patch]] - row.exp().sum().log()).item() / 6
    model = Told(logits)
    fixed = batch(2)._replace(masks=hidden)
    loss = task(lambda images: tokens).loss(model, fixed)
    assert loss.total.item() == pytest.approx(by_hand, rel=1e-6)
    loss.total.backward()
    assert ((model.logits.grad != 0).any(2) == hidden).all()


def test_measures_are_what_they_say_and_pieces_add_up() -> None:
    hidden = torch.ones(2, 6, dtype=torch.bool)
    hidden[:, 4:] = False
    tokens = torch.tensor([[0, 0, 0, 2, 9, 9], [0, 1, 0, 2, 9, 9]])  # of hidden ones: 0 five times, 2 twice
    logits = torch.zeros(2, 6, 3)
    logits[:, :, 0] = 5.0
    objective, fixed = task(), batch(2)._replace(masks=hidden)
    sums: dict[str, float] = {}
    for row in range(2):
        objective = task(lambda images, row=row: tokens[row : row + 1])
        piece = Labelled(*(None if part is None else part[row : row + 1] for part in fixed))
        for name, value in objective.tally(Told(logits[row : row + 1]), piece).items():
            sums[name] = sums.get(name, 0.0) + value
    measures = objective.measures(sums)
    assert sums["pictures"] == 2 and sums["patches"] == 8
    assert measures["masked_accuracy"] == measures["guessing_accuracy"] == 5 / 8
    shares = [5 / 8, 1 / 8, 2 / 8]
    assert measures["guessing_loss"] == pytest.approx(-sum(share * log(share) for share in shares))
    near, far = log(2 + 2.718281828**5) - 5, log(2 + 2.718281828**5)
    assert measures["masked_loss"] == pytest.approx((5 * near + 3 * far) / 8, rel=1e-5)
    assert objective.rank(measures) > objective.rank({**measures, "masked_loss": 9.0})


def test_no_constant_guess_is_better_than_the_baseline() -> None:
    objective, fixed = task(), batch(40)
    sums = objective.tally(Told(torch.zeros(40, 6, 10)), fixed)
    shares = torch.tensor([sums.get(f"token {token}", 0.0) for token in range(10)]) / sums["patches"]
    frequent = objective.tally(Told((shares + 1e-12).log().expand(40, 6, 10)), fixed)
    best = objective.measures(frequent)
    assert best["masked_loss"] == pytest.approx(best["guessing_loss"], rel=1e-4)
    assert best["masked_accuracy"] == pytest.approx(best["guessing_accuracy"])
    assert objective.measures(sums)["masked_loss"] > best["guessing_loss"]


def model() -> MaskedTokens:
    torch.manual_seed(0)
    return catalog.build(configured())  # type: ignore[return-value]


def test_the_loss_falls_on_fixed_data_below_the_baseline() -> None:
    learner, objective, fixed = model(), task(), batch(12)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    losses = []
    for _ in range(80):
        loss = objective.loss(learner, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    measures = objective.measures(objective.tally(learner.eval(), fixed))
    assert losses[-1] < 0.3 * losses[0]
    assert measures["masked_loss"] < 0.5 * measures["guessing_loss"]
    assert measures["masked_accuracy"] > measures["guessing_accuracy"]


@pytest.mark.parametrize("piece", [1, 2, 3])
def test_cutting_a_batch_changes_the_gradient_by_rounding_alone(piece: int) -> None:
    learner, objective, fixed = model(), task(), batch(6)
    objective.loss(learner, fixed).total.backward()
    whole = [parameter.grad.clone() for parameter in learner.parameters()]
    learner.zero_grad()
    for start in range(0, 6, piece):
        rows = Labelled(*(None if part is None else part[start : start + piece] for part in fixed))
        (objective.loss(learner, rows).total * piece / 6).backward()
    for parameter, gradient in zip(learner.parameters(), whole, strict=True):
        assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-4)


def test_behind_a_convolutional_stem_hidden_pixels_are_told_to_nobody() -> None:
    torch.manual_seed(0)
    learner = catalog.build(configured(stem="conv")).eval()
    fixed = batch(3)
    assert fixed.masks is not None
    cells = fixed.masks.view(3, 1, 2, 3).repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = fixed.images + torch.randn(fixed.images.shape, generator=torch.Generator().manual_seed(2))
    other = torch.where(cells, torch.full_like(images, 7.0), images)
    with torch.no_grad():
        assert torch.equal(learner(images, fixed.masks).logits, learner(other, fixed.masks).logits)
        shown = torch.where(cells, images, images + 1)
        assert not torch.allclose(learner(images, fixed.masks).logits, learner(shown, fixed.masks).logits)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mask_ratio": 0.05}, "hides none of 6 patches"),
        ({"mask_ratio": 0.95}, "hides 6 of 6 patches"),
        ({"smallest_block": 5}, "5 patches, and 2 are hidden"),
    ],
)
def test_masks_that_do_not_fit_the_grid_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_fits(VisualTokensConfig(tokenizer="somewhere", **settings), configured())
