"""Classes are drawn equally often, and no picture before all others of its class had their turn."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitreous.data.evenly import even_draws
from vitreous.data.loader import Order

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(tuple)


@given(labels=LABELS, seed=st.integers(0, 99), epochs=st.integers(1, 6))
def test_every_class_has_its_share_and_every_picture_its_turn(
    labels: tuple[int, ...], seed: int, epochs: int
) -> None:
    drawn = [even_draws(labels, seed, epoch) for epoch in range(epochs)]
    for epoch in drawn:
        assert len(epoch) == len(labels)
        shares = Counter(labels[draw.picture] for draw in epoch)
        assert set(shares.values()) <= {len(labels) // len(set(labels)), -(-len(labels) // len(set(labels)))}
    flat = [draw for epoch in drawn for draw in epoch]
    classes = Counter(labels[draw.picture] for draw in flat)
    assert max(classes.values()) - min(classes[label] for label in set(labels)) <= 1
    for label in set(labels):
        times = Counter(picture for picture, _ in flat if labels[picture] == label)
        every = [times[picture] for picture, own in enumerate(labels) if own == label]
        assert max(every) - min(every) <= 1  # nobody has had two turns more than another
    assert len(set(flat)) == len(flat)  # and each time another view
    for picture in range(len(labels)):
        assert sorted(view for own, view in flat if own == picture) == list(
            range(sum(own == picture for own, _ in flat))
        )


@given(labels=LABELS, seed=st.integers(0, 99), epoch=st.integers(0, 5))
def test_an_epoch_follows_from_the_seed_and_its_number(
    labels: tuple[int, ...], seed: int, epoch: int
) -> None:
    assert even_draws(labels, seed, epoch) == even_draws(labels, seed, epoch)


def test_epochs_and_seeds_differ_and_classes_are_mixed() -> None:
    labels = (0,) * 30 + (1,) * 6
    one, other, another = even_draws(labels, 0, 0), even_draws(labels, 0, 1), even_draws(labels, 1, 0)
    assert one != other and one != another
    order = [labels[draw.picture] for draw in one]
    assert order != sorted(order) and order != sorted(order, reverse=True)
    # Of the frequent class two epochs see other pictures, until all had their turn.
    seen = [{picture for picture, _ in epoch if picture < 30} for epoch in (one, other)]
    assert len(seen[0]) == 18 and len(seen[0] | seen[1]) == 30


@pytest.mark.parametrize("views", [0, 3])
def test_an_order_draws_evenly_and_numbers_views(views: int) -> None:
    labels = (0,) * 20 + (1,) * 4
    order = Order(pictures=24, batch=8, seed=5, views=views, labels=labels)
    plain = Order(pictures=24, batch=8, seed=5, views=views)
    assert order.steps_per_epoch == plain.steps_per_epoch
    draws = order.draws(4)
    assert Counter(labels[draw.picture] for draw in draws) == {0: 12, 1: 12}
    assert max(draw.view for draw in draws) == (2 if views else 14)
    assert [draw.picture for draw in plain.draws(4)] == plain.permutation(4)
    assert {draw.view for draw in plain.draws(4)} == {4 % views if views else 4}
    assert (order.views_in(2), plain.views_in(2)) == (views, min(views, 2))
