"""Masked autoencoders: what is hidden, who sees it, and that it can be learnt."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.parity.twins import pictures, randomise
from vitreous.errors import ConfigError
from vitreous.layers.patches import patchify, unpatchify
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.mae import MaskedAutoencoder, Reconstruction


def build(**options: object) -> MaskedAutoencoder:
    model = randomise(catalog.build(catalog.configure("mae_tiny", options=options)))
    assert isinstance(model, MaskedAutoencoder)
    return model


def noise(count: int, patches: int, seed: int = 3) -> Tensor:
    return torch.rand(count, patches, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 16), (0.6, 25), (0.0, 64), (0.99, 0), (0.98, 1)])
def test_how_many_patches_are_seen(ratio: float, visible: int) -> None:
    if visible == 0:
        with pytest.raises(ConfigError, match="hides all 64 patches"):
            build(mask_ratio=ratio)
        return
    model = build(mask_ratio=ratio)
    with torch.no_grad():
        rebuilt = model(pictures((32, 32)).float(), noise(3, 64))
    assert rebuilt.hidden.shape == (3, 64)
    assert (~rebuilt.hidden).sum(1).tolist() == [visible] * 3


def test_the_smallest_numbers_stay_visible() -> None:
    drawn = noise(3, 64)
    with torch.no_grad():
        hidden = build()(pictures((32, 32)).float(), drawn).hidden
    for row, numbers in zip(hidden, drawn, strict=True):
        assert numbers[~row].max() < numbers[row].min()


def test_hidden_pixels_change_nothing_and_visible_ones_do() -> None:
    model, images, drawn = build(), pictures((32, 32)).float(), noise(3, 64)
    with torch.no_grad():
        before = model(images, drawn)
        cut = patchify(images, 4)
        other = torch.where(before.hidden[..., None], torch.full_like(cut, 1e3), cut)
        assert torch.equal(model(unpatchify(other, 4, 8, 8), drawn).patches, before.patches)
        shown = torch.where(before.hidden[..., None], cut, cut + 1)
        assert not torch.allclose(model(unpatchify(shown, 4, 8, 8), drawn).patches, before.patches)


def test_the_encoder_works_on_visible_tokens_alone() -> None:
    model = build()
    lengths = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        lengths.append(inputs[0].shape[1])

    for block in (*model.backbone.encoder.blocks, *model.decoder.encoder.blocks):
        block.register_forward_pre_hook(record)
    images = pictures((32, 32)).float()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(images[:1])
    assert lengths == [17] * 4 + [65] * 2
    assert counter.get_total_flops() == account(model.config).flops
    blocks = counter.get_flop_counts()["MaskedAutoencoder.backbone.encoder"]
    assert sum(blocks.values()) == 2 * 4 * (17 * (4 * 64**2 + 2 * 64 * 256) + 2 * 17**2 * 64)


def test_without_numbers_they_are_drawn_from_torchs_generator() -> None:
    model, images = build(), pictures((32, 32)).float()
    with torch.no_grad():
        torch.manual_seed(5)
        one = model(images)
        torch.manual_seed(5)
        again, other = model(images), model(images)
    assert torch.equal(one.hidden, again.hidden) and torch.equal(one.patches, again.patches)
    assert not torch.equal(one.hidden, other.hidden)


def test_a_picture_too_small_for_its_ratio_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="hides all 3 patches") as caught:
        build()(torch.zeros(1, 3, 4, 12))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mask_ratio": 1.0}, "from 0 to below 1"),
        ({"mask_ratio": -0.1}, "from 0 to below 1"),
        ({"class_token": False}, "needs a class token"),
        ({"attention": "rotary"}, "needs plain attention, got rotary"),
        ({"attention": "relative"}, "needs plain attention, got relative"),
        ({"decoder_heads": 5}, "cannot be shared by 5 heads"),
        ({"decoder_width": 30, "decoder_heads": 3}, "width divisible by 4"),
        ({"decoder_depth": 0}, "decoder_depth must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(**options)


@pytest.mark.parametrize(
    "options",
    [{}, {"registers": 2}, {"decoder_positions": "learned", "positions": "learned"}, {"stem": "conv"}],
)
def test_any_size_is_rebuilt(options: dict[str, object]) -> None:
    model = build(**options)
    for height, width in ((32, 32), (64, 48), (30, 41)):
        with torch.no_grad():
            rebuilt = model(pictures((height, width)).float())
        assert rebuilt.patches.shape == (3, -(-height // 4) * -(-width // 4), 48)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_few_steps_of_the_papers_loss_lower_it(normalised: bool) -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("mae_tiny"))
    assert isinstance(model, MaskedAutoencoder)
    across = torch.linspace(-1, 1, 32)
    slopes = torch.tensor([[1.0, 0.3], [-0.5, 1.0], [0.8, -0.8], [0.2, 0.9]])
    waves = slopes[:, :1, None] * across[:, None] + slopes[:, 1:, None] * across  # (4, 32, 32)
    images = torch.stack([waves, (3 * waves).sin(), -waves], dim=1)  # (4, 3, 32, 32)
    drawn = noise(4, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        value = loss(model(images, drawn), images, normalised)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.5 * losses[0], losses


def loss(rebuilt: Reconstruction, images: Tensor, normalised: bool) -> Tensor:
    """arXiv:2111.06377, section 3: squared error, the mean over the pixels of hidden patches."""
    target = patchify(images, 4)
    if normalised:
        target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    return (rebuilt.patches - target).square().mean(2)[rebuilt.hidden].mean()
