"""Discrete VAEs: what a token stands for, how it is painted, and what is refused."""

from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from tests.models.test_accounting import kept_by
from tests.parity.twins import pictures, randomise
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.accounting import account
from vitreous.models.config import DVAEConfig, family_of, with_image_size
from vitreous.models.dvae import DVAE, ResidualBlock

SMALL: dict[str, Any] = {"width": 8, "codes": 20, "code_width": 12, "blocks": 1}


def build(**options: Any) -> DVAE:
    model = randomise(catalog.build(catalog.configure("dvae_tiny", options=SMALL | options)))
    assert isinstance(model, DVAE)
    return model


def gumbel(*shape: int) -> Tensor:
    return -torch.empty(shape).exponential_(generator=torch.Generator().manual_seed(3)).log()


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 2), (3, 4), (4, 8)])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_a_token_stands_for_a_square(groups: int, stride: int, size: tuple[int, int]) -> None:
    model, images = build(groups=groups), pictures(size).float()
    rows, cols = size[0] // stride, size[1] // stride
    assert (model.config.stride, model.config.grid_at(size)) == (stride, (rows, cols))
    with torch.no_grad():
        logits = model.encode(images)
        tokens = model.tokens(images)
        found = model(images)
    assert logits.shape == (3, 20, rows, cols)
    assert torch.equal(tokens, logits.argmax(1)) and tokens.dtype == torch.int64
    assert found.painted.shape == images.shape
    assert torch.equal(found.logits, logits)
    assert_close(model.decode(tokens), found.painted)


def test_what_is_left_of_a_square_at_the_edge_is_cut_off() -> None:
    model = build()
    with torch.no_grad():
        logits, painted = model(pictures((35, 50)).float())
    assert logits.shape[2:] == (8, 12) and painted.shape[2:] == (32, 48)


@pytest.mark.parametrize("paints", ["pixels", "logit_laplace"])
def test_a_code_and_the_share_of_all_that_is_one_are_painted_alike(paints: str) -> None:
    model = build(paints=paints)
    tokens = torch.randint(20, (2, 8, 6), generator=torch.Generator().manual_seed(0))
    shares = one_hot(tokens, 20).movedim(3, 1).float()
    with torch.no_grad():
        painted = model.decode(tokens)
        assert_close(model.decode(shares), painted, atol=1e-5, rtol=1e-5)
    assert painted.shape == (2, 3, 32, 24)
    if paints == "logit_laplace":
        assert painted.min() > 0 and painted.max() < 1
        assert model.decoder is not None and model.decoder(tokens).shape == (2, 6, 32, 24)


def test_a_cold_mixture_is_the_likeliest_code_with_its_noise_and_a_warm_one_is_none() -> None:
    model, images = build(), pictures((32, 32)).float()
    noise = gumbel(3, 20, 8, 8)
    with torch.no_grad():
        chosen = model.decode((model.encode(images) + noise).argmax(1))
        cold, warm = (model(images, noise, temperature).painted for temperature in (1e-3, 10.0))
        even = model.decode(torch.full((3, 20, 8, 8), 1 / 20))
    assert (cold - chosen).abs().mean() < 0.01 * chosen.abs().mean()
    assert (warm - even).abs().mean() < 0.5 * (cold - even).abs().mean()


def test_gradients_reach_the_encoder_through_the_mixture_alone() -> None:
    model, images = build().train(), pictures((32, 32)).float()
    model(images).painted.square().mean().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    model(images, gumbel(3, 20, 8, 8), 0.5).painted.square().mean().backward()
    for part in (model.encoder.input, model.encoder.output, model.decoder.input):
        assert part.weight.grad.abs().sum() > 0


def test_features_are_the_mean_of_what_the_last_convolution_is_given() -> None:
    model, images = build(), pictures((32, 24)).float()
    given: list[Tensor] = []
    model.encoder.output.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    with torch.no_grad():
        model.encode(images)
        features = model.features(images)
    assert features.shape == (3, 32) and features.min() >= 0
    assert_close(features, given[0].mean((2, 3)))


def test_an_encoder_alone_makes_tokens_and_paints_nothing() -> None:
    whole, alone = build(), build(decoder=False)
    alone.load_state_dict({key: value for key, value in whole.state_dict().items() if "encoder" in key})
    images = pictures((32, 32)).float()
    assert torch.equal(alone.tokens(images), whole.tokens(images))
    assert alone(images).painted is None
    with pytest.raises(ValueError, match="an encoder alone"):
        alone.decode(alone.tokens(images))


def test_a_block_adds_little_to_what_it_was_given_where_there_are_many() -> None:
    grid = pictures((16, 16), 8).float()
    shallow, deep = (ResidualBlock(8, 8, (3, 3, 3, 1), depth) for depth in (1, 10))
    deep.load_state_dict(shallow.state_dict())
    with torch.no_grad():
        assert_close((shallow(grid) - grid) / 100, deep(grid) - grid, atol=1e-6, rtol=1e-3)


def test_new_weights_keep_the_size_of_what_passes() -> None:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("dvae_tiny"))
    logits = model.encode(pictures((32, 32)).float())
    assert 0.2 < logits.std() < 2


@settings(deadline=None, max_examples=20)
@given(
    groups=st.integers(1, 4),
    blocks=st.integers(1, 3),
    width=st.integers(4, 19),
    channels=st.sampled_from([1, 3]),
    paints=st.sampled_from(["pixels", "logit_laplace"]),
    decoder=st.booleans(),
)
def test_any_sizes_are_counted_as_torch_counts_them(
    groups: int, blocks: int, width: int, channels: int, paints: str, decoder: bool
) -> None:
    config = DVAEConfig(
        codes=11,
        groups=groups,
        blocks=blocks,
        width=width,
        code_width=5,
        decoder=decoder,
        paints=paints,  # type: ignore[arg-type]
        image_size=(16, 24),
        channels=channels,
    )
    model = catalog.build(config).eval()
    counted = account(config)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, channels, 16, 24))
    assert counted.flops == counter.get_total_flops()
    assert counted.tokens == counted.patches == config.grid[0] * config.grid[1]


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, (32, 32)), ({"groups": 2, "blocks": 2}, (50, 33)), ({"paints": "logit_laplace"}, (64, 32))],
)
def test_training_memory_is_what_autograd_keeps(options: dict[str, Any], size: tuple[int, int]) -> None:
    model = build(**options)

    class Training(torch.nn.Module):
        """The forward pass of training: codes are mixed."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            rows, cols = model.config.grid_at(size)
            return model(images, torch.zeros(1, 20, rows, cols), 0.5).painted

    assert account(model.config, size).training_bytes == kept_by(Training(), size)


@pytest.mark.parametrize("options", [{}, {"decoder": False}, {"groups": 2, "blocks": 2, "codes": 400}])
def test_memory_without_gradients_is_what_the_allocator_hands_out_beside_kernels(
    options: dict[str, Any],
) -> None:
    model, images = build(**{"width": 32} | options), pictures((64, 48)).float()[:1]
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(images)
    recorded = profiler.profiler.kineto_results.events()
    changes = [event for event in recorded if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    measured = max(accumulate(event.nbytes() for event in changes))
    assert 0.6 * measured < account(model.config, (64, 48)).forward_bytes < 1.01 * measured


def test_dall_es_sizes_are_the_catalogs() -> None:
    dall_e = pytest.importorskip("dall_e")
    meta = torch.device("meta")
    theirs = [dall_e.Encoder(device=meta), dall_e.Decoder(device=meta)]
    count = sum(parameter.numel() for half in theirs for parameter in half.parameters())
    config = catalog.configure("dvae")
    assert account(config).parameters == count
    assert account(catalog.configure("dvae", options={"decoder": False})).parameters == sum(
        parameter.numel() for parameter in theirs[0].parameters()
    )
    assert (config.grid, config.stride, config.codes) == ((14, 14), 8, 8192)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"codes": 1}, "codes must be 2 or more, got 1"),
        ({"groups": 0}, "groups must be 1 or more, got 0"),
        ({"groups": 9}, "groups must be 8 or fewer, got 9"),
        ({"width": 3}, "width must be 4 or more, got 3"),
        ({"blocks": 0}, "blocks must be 1 or more"),
        ({"image_size": (32, 7)}, "32x7 pixels are smaller than a token's square of 8x8"),
        ({"channels": 0}, "channels must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DVAEConfig(**changes)


def test_a_picture_smaller_than_a_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="3x32 pixels are smaller"):
        build().tokens(torch.zeros(1, 3, 3, 32))


def test_it_is_a_family_of_its_own_for_any_picture_size() -> None:
    config = catalog.configure("dvae_tiny")
    assert family_of(config) == "dvae" and config.classes == 0
    assert with_image_size(config, (64, 48)).image_size == (64, 48)
    with pytest.raises(ConfigError, match="dvae_tiny has no option 'patch'"):
        catalog.configure("dvae_tiny", options={"patch": 4})
