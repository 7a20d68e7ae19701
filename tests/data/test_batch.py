from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vitreous.data.annotation import Objects
from vitreous.data.augment import AugmentConfig
from vitreous.data.batch import Labelled, padded, padded_regions
from vitreous.data.collection import Collection, Sample
from vitreous.data.dense_view import DenseView
from vitreous.data.loader import Order, batches, training_parts
from vitreous.data.preprocess import Preprocess

FIXED = Preprocess(size=(24, 24), shorter=None)
MIXED = Preprocess(size=(24, 24), shorter=20, longest=40)
AUGMENT = AugmentConfig(crop=(0.5, 1), rand_augment=(1, 5))


def collection(count: int = 10) -> Collection:
    """Grey pictures of several sizes, each with one object and a region."""
    dice = np.random.default_rng(0)
    samples = []
    for number in range(count):
        height, width = 20 + number % 3 * 8, 24 + number % 4 * 9
        pixels = dice.integers(0, 256, (height, width), dtype=np.uint8)
        objects = Objects.of([[2, 3, 12, 15]], [number % 2])
        region = np.full((height, width), number % 2, np.uint8)
        samples.append(Sample(f"{number}", pixels, objects=objects, region=region))
    return Collection("some", ("cat", "dog"), tuple(samples))


def load(
    prepare: Preprocess, *, steps: range, parts: list[tuple[int, int]], workers: int = 0
) -> list[Labelled]:
    order = Order(pictures=10, batch=4, seed=3)
    view = DenseView(AUGMENT, prepare, classes=2)
    stream = training_parts(collection(), view, AUGMENT, order, steps=steps, parts=parts, workers=workers)
    return [part.batch for part in stream]


def same(one: Labelled, other: Labelled) -> bool:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("prepare", [FIXED, MIXED])
def test_workers_and_resumption_change_nothing(prepare: Preprocess) -> None:
    whole = load(prepare, steps=range(4), parts=[(0, 4)])
    assert all(map(same, whole, load(prepare, steps=range(4), parts=[(0, 4)], workers=2)))
    assert all(map(same, whole[2:], load(prepare, steps=range(2, 4), parts=[(0, 4)])))
    assert not same(whole[0], whole[1])
    cut = load(prepare, steps=range(1), parts=[(0, 1), (1, 4)])
    targets = [target for batch in cut for target in batch.targets or ()]
    for target, other in zip(targets, whole[0].targets or (), strict=True):
        assert torch.equal(target.boxes, other.boxes)
        assert target.region is not None and other.region is not None
        assert torch.equal(target.region, other.region)


def test_fixed_sizes_need_no_padding_and_mixed_ones_tell_it() -> None:
    (fixed, *_) = batches(collection(), FIXED, batch_size=5)
    assert fixed.images.shape == (5, 3, 24, 24) and fixed.valid is None
    assert fixed.targets is not None and len(fixed.targets) == 5
    (mixed, *_) = batches(collection(), MIXED, batch_size=5)
    assert mixed.valid is not None and mixed.valid.shape == mixed.images.shape[:1] + mixed.images.shape[2:]
    for place, sample in enumerate(collection().samples[:5]):
        alone, where = MIXED(sample.open())
        height, width = where.view
        assert torch.equal(mixed.images[place, :, :height, :width], alone)
        assert int(mixed.valid[place].sum()) == height * width and bool(
            mixed.valid[place, :height, :width].all()
        )
        assert float(mixed.images[place][:, ~mixed.valid[place]].abs().sum()) == 0
        target = (mixed.targets or ())[place]
        assert target.region is not None and target.region.shape == where.view
        assert target.size.tolist() == list(where.source)


def test_the_longer_side_is_bounded_as_in_detr() -> None:
    # transformers' DetrImageProcessor at shortest_edge 800, longest_edge 1333.
    sizes = {
        (480, 640): (800, 1066),
        (426, 640): (800, 1201),
        (640, 427): (1199, 800),
        (333, 1000): (444, 1333),
    }
    prepare = Preprocess(shorter=800, longest=1333)
    for source, view in sizes.items():
        assert prepare.placement(source).view == view


def test_padding_to_a_multiple() -> None:
    images, valid = padded([torch.ones(1, 5, 7), torch.ones(1, 9, 3)], multiple=4)
    assert images.shape == (2, 1, 12, 8)
    assert torch.equal(images[:, 0] > 0, valid)
    targets = [
        target for batch in load(MIXED, steps=range(1), parts=[(0, 4)]) for target in batch.targets or ()
    ]
    size = (64, 64)
    regions = padded_regions(targets, size, 255)
    assert regions.shape == (4, 64, 64)
    assert int((regions != 255).sum()) == sum(
        target.region.numel() for target in targets if target.region is not None
    )


def test_rows_and_devices_keep_what_belongs_together() -> None:
    (batch,) = load(MIXED, steps=range(1), parts=[(0, 4)])
    some = batch.rows(torch.tensor([2, 0, 2]))
    assert len(some.images) == 3 and some.targets is not None and batch.targets is not None
    assert torch.equal(some.targets[0].boxes, batch.targets[2].boxes)

    def double(part: Tensor) -> Any:
        return part.double()

    assert {part.dtype for part in batch.map(double).tensors()} == {torch.float64}


def test_labels_without_targets_stay_as_they_were(tmp_path: Path) -> None:
    plain = Collection("plain", ("a",), tuple(Sample(s.name, s.source, 0) for s in collection().samples))
    (batch, *_) = batches(plain, FIXED, batch_size=10)
    assert batch.targets is None and batch.valid is None and batch.labels.tolist() == [0] * 10
