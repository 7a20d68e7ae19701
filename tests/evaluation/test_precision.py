"""A picture that counts twice is one that is there twice; answers take objects in the order of COCO."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.data.annotation import Objects
from vitreous.evaluation.detection import Found
from vitreous.evaluation.precision import (
    Matches,
    average_precisions,
    interval_of_ap50,
    match_at_half,
)


@st.composite
def matches(draw: st.DrawFn) -> Matches:
    pictures = draw(st.integers(1, 6))
    objects = draw(st.lists(st.integers(0, 3), min_size=pictures, max_size=pictures))
    picture, right = [], []
    for place, count in enumerate(objects):
        hits = draw(st.integers(0, count))
        misses = draw(st.integers(0, 3))
        picture += [place] * (hits + misses)
        right += [True] * hits + [False] * misses
    order = draw(st.permutations(range(len(picture))))
    numbers = np.array(order, dtype=np.int64)
    return Matches(
        np.array(picture, dtype=np.int64)[numbers],
        np.array(right, dtype=bool)[numbers],
        np.array(objects, dtype=np.int64),
    )


@settings(max_examples=60, deadline=None)
@given(matches(), st.data())
def test_a_picture_that_counts_twice_is_one_that_is_there_twice(found: Matches, data: st.DataObject) -> None:
    pictures = len(found.objects)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=pictures, max_size=pictures)))
    starts = np.concatenate([[0], np.cumsum(times)])
    picture, right = [], []
    for place, hit in zip(found.picture, found.right, strict=True):
        picture += [starts[place] + copy for copy in range(times[place])]
        right += [hit] * times[place]
    again = Matches(
        np.array(picture, dtype=np.int64), np.array(right, dtype=bool), np.repeat(found.objects, times)
    )
    np.testing.assert_allclose(average_precisions([found], times), average_precisions([again]), atol=1e-12)


def test_the_surest_answer_takes_the_object_that_it_overlaps_most() -> None:
    true = [
        Objects.of([[0, 0, 10, 10], [0, 4, 10, 14], [0, 0, 40, 40]], [0, 0, 0], crowd=[False, False, True])
    ]
    found = [Found.of(np.zeros((4, 4)), [0, 0, 0, 0], [0.2, 0.9, 0.5, 0.3])]
    table = np.array(
        [
            [0.6, 0.9, 0.9],  # second, both nearer and further ones are there
            [0.7, 0.95, 0.0],  # third: the nearer is taken
            [0.55, 0.6, 1.0],  # fourth: only the crowd is left
            [0.0, 0.8, 0.0],  # first: nothing is left
        ]
    )

    def overlaps(picture: int, answers: np.ndarray, there: np.ndarray) -> np.ndarray:
        assert answers.tolist() == [1, 2, 3, 0]
        return table[:, there]

    (result,) = match_at_half(found, true, 1, overlaps, most=100)
    assert result.right.tolist() == [True, True, False]  # the one in the crowd takes no part
    assert result.objects.tolist() == [2]
    (few,) = match_at_half(found, true, 1, lambda *_: table[:1], most=1)
    assert few.right.tolist() == [True]


def test_intervals_shrink_with_more_pictures() -> None:
    random = np.random.default_rng(0)
    widths = []
    for pictures in (40, 640):
        hit = random.random(pictures) < 0.6
        found = Matches(random.permutation(pictures), hit, np.ones(pictures, dtype=np.int64))
        low, high = interval_of_ap50([found])
        assert low < average_precisions([found])[0] < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]
