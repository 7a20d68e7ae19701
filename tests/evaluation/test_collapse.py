"""Effective rank and the signs of collapse, on features that have really collapsed and on sound ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ortho_group

from vitreous.data.digits import digits
from vitreous.data.preprocess import Preprocess
from vitreous.evaluation.collapse import collapse, variety
from vitreous.models import catalog


def spread_out(directions: int, pictures: int = 200, width: int = 32, seed: int = 0) -> NDArray[np.float64]:
    """Features that differ in so many directions, in each alike, about a mean that is not zero."""
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(pictures, directions + 1)))
    basis -= basis.mean(0)
    basis, _ = np.linalg.qr(basis)  # orthonormal, each with a mean of zero
    return basis[:, :directions] @ ortho_group.rvs(width, random_state=seed)[:directions] + 0.3


@given(st.integers(1, 31), st.integers(0, 20))
def test_the_rank_counts_directions_that_are_used_alike(directions: int, seed: int) -> None:
    found = variety(spread_out(directions, seed=seed))
    assert found is not None
    assert found.rank == pytest.approx(directions, rel=1e-6)
    assert found.most == 32


def test_the_rank_is_that_of_the_definition() -> None:
    # Singular values 3 and 1: shares 3/4 and 1/4, whose entropy is H.
    features = spread_out(2)
    left, _, right = np.linalg.svd(features - features.mean(0), full_matrices=False)
    found = variety(left[:, :2] * [3.0, 1.0] @ right[:2])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found is not None
    assert found.rank == pytest.approx(np.exp(entropy))


@given(st.floats(0.01, 100), st.integers(0, 20))
def test_scale_and_turning_change_nothing(scale: float, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(60, 12)) * np.arange(1, 13) + 2
    turned = scale * features @ ortho_group.rvs(12, random_state=seed)
    one, other = variety(features), variety(turned)
    assert one is not None and other is not None
    assert other.rank == pytest.approx(one.rank, rel=1e-6)
    assert other.spread == pytest.approx(one.spread, rel=1e-6)


def test_one_point_has_a_rank_of_one_and_not_that_of_rounding() -> None:
    generator = np.random.default_rng(0)
    point = generator.normal(size=(1, 64)).astype(np.float32)
    rounded = np.repeat(point, 100, 0) * (1 + 1e-7 * generator.normal(size=(100, 64)))
    for features in (np.repeat(point, 100, 0), rounded.astype(np.float32)):
        found = variety(features)
        assert found is not None
        assert (found.rank, found.spread) == (1.0, 0.0)
        assert "features of all pictures are the same" in str(collapse(found))


def test_what_cannot_be_told_is_not_told() -> None:
    assert variety(np.zeros((1, 8))) is None
    assert variety(np.zeros((0, 0))) is None
    assert variety(np.array([[1.0, np.nan], [0.0, 1.0]])) is None


@pytest.mark.parametrize(
    ("directions", "before", "wanted"),
    [
        (1, None, "lie on a line: effective rank 1.00 of 32"),
        (2, 20.0, "fell from 20.0 to 2.0"),
        (2, None, None),
        (2, 7.0, None),
        (4, 100.0, None),  # much of what random weights tell apart is noise
    ],
)
def test_signs_of_collapse(directions: int, before: float | None, wanted: str | None) -> None:
    found = variety(spread_out(directions))
    assert found is not None
    said = collapse(found, before)
    assert said is None if wanted is None else wanted in str(said)


def test_few_pictures_are_no_collapse() -> None:
    found = variety(np.random.default_rng(0).normal(size=(3, 64)))
    assert found is not None
    assert found.rank < 2 + 1e-9 and collapse(found, 40.0) is None


@pytest.mark.parametrize("options", [{}, {"stem": "conv"}, {"positions": "learned"}])
def test_random_weights_are_sound(options: dict[str, object]) -> None:
    validation = digits().validation
    assert validation is not None
    prepare = Preprocess(size=(8, 8), shorter=None, mean=(0.3,), std=(0.38,))
    images = torch.stack([prepare(sample.open()).image for sample in validation.samples])
    torch.manual_seed(0)
    model = catalog.build(
        catalog.configure("mae_tiny", image_size=8, channels=1, options={"patch": 2, **options})
    ).eval()
    with torch.no_grad():
        sound = variety(model.features(images))
        for parameter in model.backbone.embed.patches.parameters():
            parameter.zero_()  # now it is blind
        blind = variety(model.features(images))
    assert sound is not None and sound.rank > 10 and collapse(sound) is None
    assert blind is not None and "are the same" in str(collapse(blind))
