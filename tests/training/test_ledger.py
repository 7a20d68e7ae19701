"""Memory is counted as tensors come and go."""

import torch
from torch import Tensor

from vitreous.training.ledger import Ledger, most_at

FLOATS = 1000


def chain(values: Tensor) -> Tensor:
    """At most three vectors at a time beside what goes in: the third is made while two are held."""
    first = values * 2
    second = first + 1
    third = first * second
    del first, second
    return third - 1


def test_the_most_at_a_time_is_what_can_be_counted_by_hand() -> None:
    values = torch.ones(FLOATS)
    with Ledger([values]) as ledger:
        chain(values)
    assert ledger.standing == 4 * FLOATS
    assert max(ledger.timeline) - ledger.standing == 3 * 4 * FLOATS


def test_views_and_work_in_place_take_nothing_and_what_is_dropped_is_counted_off() -> None:
    values = torch.ones(FLOATS)
    with Ledger([values]) as ledger:
        values.view(10, -1).t().add_(1)
        copy = values.clone()
        del copy
        values.mul_(2)
    assert max(ledger.timeline) == 2 * 4 * FLOATS
    assert ledger.live == 4 * FLOATS


def test_the_backward_pass_is_seen() -> None:
    weight = torch.ones(FLOATS, requires_grad=True)
    with Ledger([weight]) as ledger:
        forward = (weight.exp() * weight).sum()
        before = ledger.live
        forward.backward()  # type: ignore[no-untyped-call]
    assert before - ledger.standing >= 4 * FLOATS  # exp keeps what came out of it
    assert max(ledger.timeline) > before
    assert weight.grad is not None
    del forward
    assert ledger.live == 2 * 4 * FLOATS  # the weight and its gradient


def test_another_batch_size_is_told_from_two_even_where_another_moment_is_the_hungriest() -> None:
    weight = torch.ones(50, FLOATS)

    def work(pictures: int) -> Ledger:
        images = torch.ones(pictures, FLOATS)
        with Ledger([weight, images]) as ledger:
            large = images.repeat(1, 4)  # four floats for each of a picture
            large.sum()
            del large
            weight.clone().sum()  # as much whatever the batch
        return ledger

    small, large = work(2), work(4)
    for pictures in (1, 3, 10, 20, 100):
        found = work(pictures)
        assert most_at(pictures, small, large, sizes=(2, 4)) == max(found.timeline) - found.standing
