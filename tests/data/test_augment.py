"""What each part of an augmentation does, and the mixing against torchvision's."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import one_hot
from torch.testing import assert_close

from vitreous.data.augment import AugmentConfig, TrainingView, mix
from vitreous.data.draws import drawing, seed_of, seed_torch
from vitreous.data.preprocess import Preprocess
from vitreous.errors import ConfigError

OFF = AugmentConfig(crop=None, flip=0.0, rand_augment=None)
PREPARE = Preprocess(size=(10, 12), shorter=14, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("shorter", [14, None])
def test_with_everything_off_training_sees_what_evaluation_sees(shorter: int | None) -> None:
    prepare = Preprocess(size=(10, 12), shorter=shorter, mean=PREPARE.mean, std=PREPARE.std)
    assert_close(TrainingView(OFF, prepare)(picture()), prepare(picture()).image)


def test_with_everything_off_a_squashed_picture_is_cut_as_in_evaluation() -> None:
    prepare = Preprocess(size=(10, 12), shorter=None, squashed=(14, 16), mean=PREPARE.mean, std=PREPARE.std)
    assert_close(TrainingView(OFF, prepare)(picture()), prepare(picture()).image)


def test_a_picture_that_is_made_small_by_lanczos_is_turned_all_the_same() -> None:
    prepare = Preprocess(size=(24, 24), shorter=None, interpolation="lanczos")
    view = TrainingView(AugmentConfig(crop=(0.5, 1.0), rand_augment=(14, 9)), prepare)
    assert all(view(picture()).shape == (3, 24, 24) for _ in range(8))


def test_flip_mirrors() -> None:
    flipped = TrainingView(AugmentConfig(crop=None, flip=1.0, rand_augment=None), PREPARE)(picture())
    assert_close(flipped.flip(-1), TrainingView(OFF, PREPARE)(picture()))


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(crop=(0.2, 0.4), flip=0.0, rand_augment=None),
        AugmentConfig(crop=None, flip=0.0, rand_augment=(2, 15)),
        AugmentConfig(crop=None, flip=0.0, rand_augment=None, rotate=30.0),
        AugmentConfig(crop=None, flip=0.0, rand_augment=None, shift=0.4),
        AugmentConfig(crop=None, flip=0.0, rand_augment=None, zoom=0.5),
        AugmentConfig(crop=None, flip=0.0, rand_augment=None, erase=1.0),
    ],
)
def test_each_part_changes_the_view_and_draws_it_from_the_seed(config: AugmentConfig) -> None:
    view = TrainingView(config, PREPARE)
    seen = []
    for seed in (1, 1, 2, 3):
        with drawing("view", seed):
            seen.append(view(picture()))
    assert seen[0].shape == (3, 10, 12)
    assert torch.equal(seen[0], seen[1])
    assert any(not torch.equal(seen[0], other) for other in seen[2:])


def test_grey_stays_one_channel() -> None:
    prepare = Preprocess(size=(8, 8), shorter=None, mean=(0.5,), std=(0.5,))
    assert TrainingView(AugmentConfig(), prepare)(picture()).shape == (1, 8, 8)


def test_mixup_is_torchvisions_with_the_same_share() -> None:
    images, labels = torch.randn(5, 3, 6, 6), torch.tensor([0, 2, 1, 1, 0])
    # The whole batch as one slice: its last picture stands ahead of its first.
    ahead, names = torch.cat([images[-1:], images]), torch.cat([labels[-1:], labels])
    mixed, shares = mix(ahead, names, 3, AugmentConfig(mixup=0.5), seed=4)
    share = ((mixed[0] - images[-1]) / (images[0] - images[-1])).mean()
    assert_close(mixed, images.roll(1, 0) * (1 - share) + images * share, atol=1e-4, rtol=1e-4)
    onehot = one_hot(labels, 3).float()
    assert_close(shares, onehot.roll(1, 0) * (1 - share) + onehot * share, atol=1e-4, rtol=1e-4)


def test_cutmix_pastes_one_rectangle_and_counts_its_area() -> None:
    images = torch.stack([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)])
    for seed in range(30):
        mixed, shares = mix(images, torch.tensor([0, 1]), 2, AugmentConfig(cutmix=1.0), seed)
        pasted = (mixed[0, 0] == 0).float()
        assert shares[0, 0].item() == pytest.approx(pasted.mean().item(), abs=1e-6)
        assert shares.sum().item() == pytest.approx(1.0)
        rows, cols = pasted.amax(1), pasted.amax(0)
        assert torch.equal(pasted, rows[:, None] * cols[None])  # a full rectangle


def test_shares_follow_the_beta_distribution() -> None:
    images = torch.stack([torch.zeros(1, 1, 1), torch.ones(1, 1, 1)])
    draws = torch.stack(
        [
            mix(images, torch.tensor([0, 1]), 2, AugmentConfig(mixup=2.0), seed)[0].mean()
            for seed in range(800)
        ]
    )
    assert draws.mean().item() == pytest.approx(0.5, abs=0.03)
    assert draws.var().item() == pytest.approx(1 / 20, abs=0.01)  # of Beta(2, 2)


def test_a_draw_follows_from_its_name_alone() -> None:
    assert seed_of("view", 0, 1, 2) == seed_of("view", 0, 1, 2)
    assert len({seed_of("view", 0, 1, 2), seed_of("view", 0, 12), seed_of("mix", 0, 1, 2)}) == 3
    seed_torch("step", 1)
    first = torch.rand(2)
    torch.rand(5)
    seed_torch("step", 1)
    assert torch.equal(torch.rand(2), first)


@pytest.mark.parametrize(
    "values", [{"flip": 1.5}, {"crop": (0.0, 1.0)}, {"crop": (0.9, 0.2)}, {"zoom": 1.0}, {"mixup": -1.0}]
)
def test_impossible_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="augment"):
        AugmentConfig(**values)  # type: ignore[arg-type]
