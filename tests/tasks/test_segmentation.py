"""The loss of pixels falls, adds up in parts, leaves out what takes no part; sums give torchmetrics' mIoU."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics.functional.classification import multiclass_jaccard_index

from vitreous.data.annotation import IGNORED
from vitreous.data.batch import Labelled, Target
from vitreous.errors import DataError
from vitreous.tasks.config import SegmentationConfig
from vitreous.tasks.segmentation import Segmentation, pixel_weights, soft_dice, truths

K = 4


class Cells(NamedTuple):
    """Logits (B, K, h, w), and those of an auxiliary head."""

    logits: Tensor
    auxiliary: Tensor | None = None


class Fixed(nn.Module):
    """A model that has its answer ready."""

    def __init__(self, logits: Tensor, auxiliary: Tensor | None = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.auxiliary = auxiliary

    def forward(self, images: Tensor) -> Cells:
        return Cells(self.logits, self.auxiliary)


class Pointwise(nn.Module):
    """A model of one layer, whose cells are pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, K, 1)

    def forward(self, images: Tensor) -> Cells:
        return Cells(self.layer(images))


def batch_of(regions: list[Tensor], images: Tensor | None = None) -> Labelled:
    """Regions of the views' own sizes."""
    height, width = (max(region.shape[axis] for region in regions) for axis in (0, 1))
    count = len(regions)
    seen = torch.zeros(count, 3, height, width) if images is None else images
    empty = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    targets = tuple(Target(*empty, None, region, torch.tensor(region.shape)) for region in regions)
    return Labelled(seen, torch.full((count,), -1), torch.arange(count), targets=targets)


def drawn(count: int = 3, side: int = 8, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    """Logits at half the size, and truths of which a part is ignored, of each picture another one."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, K, side // 2, side // 2, generator=generator)
    regions = torch.randint(0, K, (count, side, side), generator=generator)
    for picture, region in enumerate(regions):
        region[: picture + 1] = IGNORED
    return logits, list(regions)


@pytest.mark.parametrize(
    "task",
    [Segmentation(), Segmentation(SegmentationConfig(balance="loss", dice=1.0), counts=(500, 5, 50, 0))],
    ids=["plain", "balanced"],
)
def test_the_loss_falls_on_a_fixed_batch(task: Segmentation) -> None:
    torch.manual_seed(0)
    model = Pointwise()
    images = torch.randn(2, 3, 8, 8)
    batch = batch_of(list(images[:, :3].argmax(1)), images)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(30):
        loss = task.loss(model, batch)
        assert loss.total.isfinite()
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.5 * losses[0]


def test_logits_are_enlarged_to_the_truth_and_ignored_pixels_take_no_part() -> None:
    logits, (region,) = drawn(1)
    loss = Segmentation().loss(Fixed(logits), batch_of([region])).total
    large = interpolate(logits, size=(8, 8), mode="bilinear", align_corners=False)
    assert loss.item() == pytest.approx(
        cross_entropy(large, region[None], ignore_index=IGNORED).item(), rel=1e-6
    )
    answer = Fixed(large)
    Segmentation(SegmentationConfig(dice=1.0)).loss(answer, batch_of([region])).total.backward()
    gradient = answer.logits.grad
    assert gradient is not None
    assert (gradient[:, :, region == IGNORED] == 0).all()
    assert (gradient[:, :, region != IGNORED].abs().sum(1) > 0).all()


@pytest.mark.parametrize("balance", ["none", "loss"])
def test_parts_of_a_batch_add_up_to_the_whole(balance: str) -> None:
    logits, regions = drawn(4)
    regions[3][:] = IGNORED  # nothing to learn there, and nothing that is not a number
    config = SegmentationConfig(balance=balance, dice=0.7)  # type: ignore[arg-type]
    task = Segmentation(config, counts=(40, 30, 20, 10))
    whole = task.loss(Fixed(logits, 2 * logits), batch_of(regions))
    assert set(whole.parts) == {"cross_entropy", "dice", "auxiliary"}
    mix = whole.parts["cross_entropy"] + 0.7 * whole.parts["dice"] + 0.4 * whole.parts["auxiliary"]
    assert whole.total.item() == pytest.approx(mix.item())
    for cut in (1, 2, 3):
        parts = [
            task.loss(Fixed(logits[rows], 2 * logits[rows]), batch_of(regions[rows])).total.item() * count / 4
            for rows, count in ((slice(cut), cut), (slice(cut, None), 4 - cut))
        ]
        assert sum(parts) == pytest.approx(whole.total.item(), rel=1e-5)


def test_views_of_other_sizes_are_padded_with_what_takes_no_part() -> None:
    _, regions = drawn(2)
    small = regions[1][:5, :6]
    found = truths(batch_of([regions[0], small]), K)
    assert found.shape == (2, 8, 8)
    assert (found[1, :5, :6] == small).all()
    assert (found[1, 5:] == IGNORED).all() and (found[1, :, 6:] == IGNORED).all()


def test_a_pixel_weighs_one_in_the_mean_and_more_where_its_class_is_rare() -> None:
    counts = torch.tensor([9000, 900, 100, 0])
    weights = pixel_weights(counts.tolist()).double()
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-6)
    assert (weights.diff() > 0).all()
    own = 1 / np.log(1.02 + counts.numpy() / counts.sum().item())
    torch.testing.assert_close(weights / weights[0], torch.from_numpy(own / own[0]), rtol=1e-5, atol=0)
    region = torch.cat([torch.full((int(count),), number) for number, count in enumerate(counts)]).view(
        100, 100
    )
    level = Fixed(torch.zeros(1, K, 100, 100))
    task = Segmentation(SegmentationConfig(balance="loss"), counts=counts.tolist())
    assert task.loss(level, batch_of([region])).total.item() == pytest.approx(np.log(4), rel=1e-5)


def test_dice_is_nought_for_the_truth_and_one_for_its_opposite() -> None:
    region = torch.tensor([[0, 0, 1, IGNORED], [0, 2, 2, IGNORED]])[None]
    right = torch.nn.functional.one_hot(region.clamp(max=3), K).permute(0, 3, 1, 2) * 50.0
    assert soft_dice(right, region).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice(right.roll(1, dims=1), region).item() == pytest.approx(1, abs=1e-6)
    rare = right.clone()
    rare[0, :, 0, 2] = torch.tensor([50.0, 0, 0, 0])  # the one pixel of class 1 is said to be class 0
    assert soft_dice(rare, region).item() == pytest.approx((1 / 7 + 1 + 0) / 3, abs=1e-6)
    assert soft_dice(right, torch.full_like(region, IGNORED)).item() == 0


maps = arrays(np.int64, (3, 4, 4), elements=st.sampled_from([0, 1, 2, IGNORED]))
answers = arrays(np.float32, (3, K, 4, 4), elements=st.integers(-3, 3).map(float))


@settings(max_examples=30, deadline=None)
@given(answers, maps, st.integers(1, 2))
def test_sums_of_pieces_give_what_torchmetrics_says(logits: np.ndarray, truth: np.ndarray, cut: int) -> None:
    truth[0, 0, 0] = 1
    task = Segmentation()
    sums: dict[str, float] = {}
    for rows in (slice(cut), slice(cut, None)):
        piece = batch_of(list(torch.from_numpy(truth[rows])))
        for name, value in task.tally(Fixed(torch.from_numpy(logits[rows])), piece).items():
            sums[name] = sums.get(name, 0.0) + value
    found = task.measures(sums)
    said, true = torch.from_numpy(logits), torch.from_numpy(truth)
    for average, name in (("macro", "mean_iou"), ("weighted", "frequency_weighted_iou")):
        wanted = multiclass_jaccard_index(said.argmax(1), true, K, average=average, ignore_index=IGNORED)
        assert found[name] == pytest.approx(wanted.item(), abs=1e-6)
    assert found["pixel_accuracy"] == pytest.approx(
        (said.argmax(1) == true)[true != IGNORED].float().mean().item()
    )
    assert found["validation_loss"] == pytest.approx(
        cross_entropy(said, true, ignore_index=IGNORED).item(), rel=1e-5
    )
    assert sums["pictures"] == 3


def test_where_no_pixel_takes_part_the_measures_are_nought() -> None:
    logits, regions = drawn(2)
    blank = batch_of([torch.full_like(region, IGNORED) for region in regions])
    assert set(Segmentation().measures(Segmentation().tally(Fixed(logits), blank)).values()) == {0.0}


def test_the_larger_iou_is_better_and_among_equals_the_lower_loss() -> None:
    ranked = [
        Segmentation().rank({"mean_iou": share, "validation_loss": loss})
        for share, loss in ((0.5, 0.1), (0.6, 0.9), (0.6, 0.8))
    ]
    assert ranked == sorted(ranked)


def test_pictures_without_a_map_are_refused() -> None:
    plain = Labelled(torch.zeros(2, 3, 8, 8), torch.zeros(2), torch.arange(2))
    with pytest.raises(DataError, match="must have a map of classes"):
        Segmentation().loss(Fixed(torch.zeros(2, K, 2, 2)), plain)
