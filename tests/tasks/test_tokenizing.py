"""The tokenizer's objective: it falls, it draws the same noise however a batch is cut, and its measures are
what they say."""

from math import exp, log
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitreous.data.loader import Labelled
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError
from vitreous.models import catalog
from vitreous.models.dvae import DVAE
from vitreous.tasks.config import TokenizerConfig, check_fits
from vitreous.tasks.task import Progress
from vitreous.tasks.tokenizing import Tokenizing, from_even, logit_laplace, unused_codes

OPTIONS: dict[str, Any] = {"width": 8, "codes": 12, "code_width": 8, "groups": 2, "blocks": 1}
PLAIN = Preprocess(size=(8, 8), shorter=None)
DALL_E = Preprocess(size=(8, 8), shorter=None, mean=(-0.125,) * 3, std=(1.25,) * 3)


def small(**options: Any) -> DVAE:
    torch.manual_seed(0)
    model = catalog.build(catalog.configure("dvae_tiny", image_size=8, options=OPTIONS | options))
    assert isinstance(model, DVAE)
    return model


def task_for(model: DVAE, preprocess: Preprocess = PLAIN, seed: int = 0, **values: Any) -> Tokenizing:
    progress = values.pop("progress", None)
    return Tokenizing(TokenizerConfig(**values), model.config, preprocess, seed=seed, progress=progress)


def batch(count: int = 6) -> Labelled:
    """Squares of one of three colours."""
    generator = torch.Generator().manual_seed(1)
    colours = torch.randn(3, 3, generator=generator)
    chosen = torch.randint(3, (count, 4, 4), generator=generator)
    images = colours[chosen].movedim(3, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    numbers = torch.arange(count)
    return Labelled(images, torch.full((count,), -1), numbers, views=numbers + 100)


def cut(whole: Labelled, places: slice) -> Labelled:
    return Labelled(*(None if part is None else part[places] for part in whole))  # type: ignore[arg-type]


@pytest.mark.parametrize("paints", ["pixels", "logit_laplace"])
def test_the_loss_falls_on_a_fixed_batch(paints: str) -> None:
    model, fixed = small(paints=paints), batch(8)
    if paints == "logit_laplace":
        fixed = fixed._replace(images=0.1 + 0.8 * torch.sigmoid(fixed.images))
    task = task_for(model, DALL_E, temperature=(0.5, 0.5), divergence=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before, losses = task.measures(task.tally(model, fixed)), []
    for _ in range(60):
        loss = task.loss(model, fixed)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < (0.4 * losses[0] if paints == "pixels" else losses[0] - 0.3)
    if paints == "pixels":
        after = task.measures(task.tally(model, fixed))
        assert after["painted_error"] < 0.4 * before["painted_error"] and after["codes_used"] >= 2


def test_noise_belongs_to_a_view_and_not_to_its_batch() -> None:
    model, whole = small(), batch(6)
    task = task_for(model)
    together = task.loss(model, whole).total
    apart = torch.stack([task.loss(model, cut(whole, slice(at, at + 2))).total for at in (0, 2, 4)]).mean()
    torch.testing.assert_close(apart, together)
    other_views = task.loss(model, whole._replace(views=whole.views + 6)).total
    other_seed = task_for(model, seed=1).loss(model, whole).total
    assert len({together.item(), other_views.item(), other_seed.item()}) == 3
    torch.manual_seed(99)  # the global state plays no part
    assert task.loss(model, whole).total.item() == together.item()


def test_noise_is_gumbels() -> None:
    model = small()
    drawn = torch.cat(
        [task_for(model)._noise(batch(6)._replace(views=torch.arange(6) + 6 * turn)) for turn in range(20)]
    )
    assert drawn.isfinite().all()
    assert drawn.mean().item() == pytest.approx(0.5772, abs=0.03)  # Euler's constant
    assert drawn.std().item() == pytest.approx(1.2825, abs=0.03)  # pi / sqrt(6)


def test_the_temperature_falls_over_the_run() -> None:
    progress = Progress()
    task = task_for(small(), temperature=(2.0, 0.5), progress=progress)
    seen = []
    for step in range(11):
        progress.done = step / 10
        seen.append(task.temperature)
    assert (seen[0], seen[5], seen[10]) == pytest.approx((2.0, 1.25, 0.5))
    assert seen == sorted(seen, reverse=True)


def test_tallies_of_pieces_add_up_to_the_whole() -> None:
    model, fixed = small().eval(), batch(6)
    task = task_for(model)
    pieces = [task.tally(model, cut(fixed, places)) for places in (slice(4), slice(4, None))]
    sums: dict[str, float] = {}
    for piece in pieces:
        for name, value in piece.items():
            sums[name] = sums.get(name, 0.0) + value
    measures = task.measures(sums)
    whole = task.measures(task.tally(model, fixed))
    assert measures == pytest.approx(whole)
    painted = model(fixed.images).painted
    assert measures["painted_error"] == pytest.approx(
        (painted - fixed.images).square().mean().item(), rel=1e-5
    )
    assert measures["codes_used"] == len(model.tokens(fixed.images).unique())
    assert task.rank(measures) > task.rank({**measures, "painted_error": 9.0})


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_perplexity_is_how_many_codes_would_be_used_if_all_were_alike(counts: list[int]) -> None:
    sums = {f"code {number}": float(count) for number, count in enumerate(counts)}
    measures = task_for(small()).measures(sums | {"pictures": 2.0, "error": 1.0})
    assert measures["codes_used"] == len(counts) and measures["painted_error"] == 0.5
    assert 1 - 1e-9 <= measures["code_perplexity"] <= len(counts) * (1 + 1e-9)
    if len(set(counts)) == 1:
        assert measures["code_perplexity"] == pytest.approx(len(counts))
    shares = [count / sum(counts) for count in counts]
    assert measures["code_perplexity"] == pytest.approx(exp(-sum(share * log(share) for share in shares)))


def test_divergence_is_from_the_even_choice_and_is_weighed() -> None:
    assert from_even(torch.zeros(1, 8, 2, 3)).abs().max() < 1e-6
    sure = torch.zeros(1, 8, 1, 1)
    sure[0, 3] = 100.0
    assert from_even(sure).item() == pytest.approx(log(8))
    model, fixed = small(), batch()
    plain, weighed = (task_for(model, divergence=weight).loss(model, fixed) for weight in (0.0, 0.5))
    assert set(weighed.parts) == {"error", "divergence"}
    expected = plain.total + 0.5 * from_even(model.encode(fixed.images)).mean()
    torch.testing.assert_close(weighed.total, expected)


@pytest.mark.parametrize(("location", "log_scale"), [(0.0, 0.0), (1.5, -1.0), (-0.7, 0.4)])
def test_logit_laplace_is_a_density(location: float, log_scale: float) -> None:
    pixels = torch.linspace(0.001, 0.999, 200_001, dtype=torch.float64)[None, None, :, None]
    painted = torch.cat([torch.full_like(pixels, location), torch.full_like(pixels, log_scale)], dim=1)
    density = torch.exp(-logit_laplace(painted, pixels)).flatten()
    assert torch.trapezoid(density, pixels.flatten()).item() == pytest.approx(1.0, abs=0.02)


def test_pixels_must_lie_in_the_open_interval_where_their_distribution_is_painted() -> None:
    model = small(paints="logit_laplace")
    task_for(model, DALL_E)
    with pytest.raises(ConfigError, match=r"between 0 and 1, got from -1 to 1; leave out mean"):
        task_for(model, PLAIN)


def test_hardly_used_codes_are_told() -> None:
    assert unused_codes({"code_perplexity": 40.0, "codes_used": 60.0}, 512) is None
    said = unused_codes({"code_perplexity": 1.2, "codes_used": 3.0}, 512)
    assert said is not None and "3 of 512 codes are used, as if 1.2 were" in said
    assert unused_codes({"code_perplexity": 1.9, "codes_used": 2.0}, 4) is not None


def test_an_encoder_alone_cannot_learn() -> None:
    config = catalog.configure("dvae_tiny", options={"decoder": False})
    with pytest.raises(ConfigError, match="this one has no decoder"):
        check_fits(TokenizerConfig(), config)
    check_fits(TokenizerConfig(), catalog.configure("dvae_tiny"))
