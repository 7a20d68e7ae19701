"""A training batch is a function of (seed, step): of no worker, no process, no interruption."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitreous.data.augment import AugmentConfig, TrainingView
from vitreous.data.collection import Collection, Sample
from vitreous.data.draws import drawing
from vitreous.data.loader import Labelled, Order, batches, numbered_views, training_parts
from vitreous.data.masks import RandomOrder
from vitreous.data.preprocess import Preprocess
from vitreous.errors import PictureError

PREPARE = Preprocess(size=(8, 8), shorter=None)


def collection(count: int = 11, *, broken: tuple[int, ...] = ()) -> Collection:
    random = np.random.default_rng(0)
    samples = tuple(
        Sample(
            f"{number}.png",
            b"broken" if number in broken else random.integers(0, 255, (9, 9, 3), dtype=np.uint8),
            number % 3,
        )
        for number in range(count)
    )
    return Collection("test", ("a", "b", "c"), samples)


def load(
    augment: AugmentConfig,
    *,
    steps: range,
    parts: list[tuple[int, int]],
    workers: int = 0,
    broken: tuple[int, ...] = (),
) -> list[Labelled]:
    data = collection(broken=broken)
    order = Order(pictures=len(data), batch=4, seed=7)
    stream = training_parts(
        data,
        TrainingView(augment, PREPARE),
        augment,
        order,
        steps=steps,
        parts=parts,
        masks=RandomOrder(6),
        workers=workers,
    )
    return [part.batch for part in stream]


PLAIN = AugmentConfig(crop=(0.5, 1.0), rand_augment=(2, 9), erase=0.3, rotate=5.0)
MIXED = AugmentConfig(crop=(0.5, 1.0), mixup=0.5, cutmix=1.0)


@pytest.mark.parametrize("augment", [PLAIN, MIXED])
def test_workers_resumption_and_cutting_change_nothing(augment: AugmentConfig) -> None:
    whole = load(augment, steps=range(6), parts=[(0, 4)])
    for images, labels, indices, masks, views, *_ in whole:
        assert images.shape == (4, 3, 8, 8)
        assert masks is not None and masks.shape == (4, 6)
        assert views is not None and len(labels) == len(indices) == len(views) == 4
    masks = torch.cat([batch.masks for batch in whole if batch.masks is not None])
    assert len(torch.unique(masks, dim=0)) == len(masks)  # every view of every picture has its own
    for other in (
        load(augment, steps=range(6), parts=[(0, 4)], workers=2),
        load(augment, steps=range(0, 3), parts=[(0, 4)]) + load(augment, steps=range(3, 6), parts=[(0, 4)]),
    ):
        for batch, same in zip(whole, other, strict=True):
            pairs = zip(batch.tensors(), same.tensors(), strict=True)
            assert all(torch.equal(one, two) for one, two in pairs)
    halves = load(augment, steps=range(6), parts=[(0, 2), (2, 4)])
    for step, batch in enumerate(whole):
        pair = halves[2 * step : 2 * step + 2]
        for whole_part, first, second in zip(batch.tensors(), *(p.tensors() for p in pair), strict=True):
            assert torch.equal(torch.cat([first, second]), whole_part)


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    view = TrainingView(PLAIN, PREPARE)
    with drawing("view", 0, 1, 2):
        view(collection().open(0))
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(PictureError), drawing("view", 0, 1, 2):
        torch.rand(3)
        collection(broken=(0,)).open(0)
    assert torch.equal(torch.get_rng_state(), before)


@given(pictures=st.integers(1, 40), batch=st.integers(1, 12), seed=st.integers(0, 99))
def test_every_epoch_is_a_permutation_and_all_differ(pictures: int, batch: int, seed: int) -> None:
    order = Order(pictures=pictures, batch=min(batch, pictures), seed=seed)
    assert sorted(order.permutation(3)) == list(range(pictures))
    assert order.permutation(3) == order.permutation(3)
    if pictures > 8:
        assert order.permutation(0) != order.permutation(1)
    assert order.steps_per_epoch == pictures // order.batch


def test_a_broken_picture_is_replaced_by_the_next_and_named() -> None:
    data = collection(broken=(4, 5))
    order = Order(pictures=len(data), batch=11, seed=0)
    stream = training_parts(data, TrainingView(PLAIN, PREPARE), PLAIN, order, steps=range(1), parts=[(0, 11)])
    (part,) = islice(stream, 1)
    assert part.batch.indices.tolist().count(6) == 3  # for itself, for 4 and for 5
    assert {trouble.name for trouble in part.troubles} == {"4.png", "5.png"}
    assert part.batch.labels[part.batch.indices == 6].tolist() == [0, 0, 0]


def test_evaluation_keeps_the_order_and_skips_nothing() -> None:
    data = collection()
    stream = list(batches(data, PREPARE, batch_size=4))
    assert [len(batch.images) for batch in stream] == [4, 4, 3]
    assert torch.cat([batch.indices for batch in stream]).tolist() == list(range(11))
    assert torch.equal(stream[1].images[0], PREPARE(data.open(4)).image)
    with pytest.raises(PictureError, match=r"4\.png"):
        list(batches(collection(broken=(4,)), PREPARE, batch_size=4))


def test_with_a_number_of_views_they_come_again_in_turn() -> None:
    data, view = collection(broken=(3,)), TrainingView(PLAIN, PREPARE)
    order = Order(pictures=len(data), batch=11, seed=7, views=2)
    seen: dict[int, torch.Tensor] = {}
    for part in training_parts(data, view, PLAIN, order, steps=range(5), parts=[(0, 11)]):
        assert part.batch.views is not None
        for number, image in zip(part.batch.views.tolist(), part.batch.images, strict=True):
            assert torch.equal(seen.setdefault(number, image), image)
    assert sorted(seen) == list(range(2 * len(data)))
    assert len(torch.unique(torch.stack(list(seen.values())), dim=0)) == 2 * len(data)
    for number in (0, 1):
        alone = numbered_views(data, view, order, number=number, places=range(2, 9), batch_size=3)
        for batch in alone:
            assert batch.views is not None
            for name, image in zip(batch.views.tolist(), batch.images, strict=True):
                assert number * len(data) + 2 <= name < number * len(data) + 9
                assert torch.equal(seen[name], image)
