"""Every kind of mistake is told from the others, and all answers and objects are accounted for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import from_numpy
from torchvision.ops import box_iou

from vitreous.data.annotation import Objects
from vitreous.evaluation.detection import Found
from vitreous.evaluation.detection_mistakes import (
    KINDS,
    Mistake,
    box_overlaps,
    detection_mistakes,
    judge_picture,
)

CLASSES = ("cat", "dog")
HERE, THERE, SHIFTED, AWAY = [0, 0, 20, 20], [60, 60, 80, 80], [0, 12, 20, 32], [100, 0, 120, 20]


def test_each_kind_is_told_from_the_others() -> None:
    true = Objects.of([HERE, THERE], [0, 0])
    cases: list[tuple[list[list[int]], list[int], tuple[Mistake, ...]]] = [
        ([HERE, THERE], [0, 0], ()),
        ([HERE], [0], (Mistake("missed", None, 1),)),
        ([HERE, THERE], [0, 1], (Mistake("confused", 1, 1),)),
        ([HERE, HERE, THERE], [0, 0, 0], (Mistake("doubled", 1, 0),)),
        ([SHIFTED, THERE], [0, 0], (Mistake("misplaced", 0, 0),)),
        ([SHIFTED, THERE], [1, 0], (Mistake("both", 0, 0), Mistake("missed", None, 0))),
        ([HERE, THERE, AWAY], [0, 0, 1], (Mistake("made up", 2, None),)),
    ]
    for boxes, labels, mistakes in cases:
        found = Found.of(boxes, labels, np.linspace(0.9, 0.6, len(boxes)))
        judged = judge_picture(found, true)
        assert judged.mistakes == mistakes
        assert judged.f1 == pytest.approx(2 * len(judged.right) / (len(boxes) + 2))


def test_answers_that_are_not_sure_are_not_shown_and_crowds_are_left_out() -> None:
    true = Objects.of([HERE, THERE], [0, 0], crowd=[False, True])
    inside = [62, 62, 70, 70]
    found = Found.of([HERE, inside, AWAY], [0, 0, 0], [0.6, 0.9, 0.4])
    judged = judge_picture(found, true)
    assert (judged.right, judged.mistakes, judged.f1) == (((0, 0),), (), 1)
    assert judge_picture(found, true, least=0.3).mistakes == (Mistake("made up", 2, None),)
    assert judge_picture(Found.of([], [], []), Objects.of([], [])).f1 == 1


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Found, Objects]:
    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        corners = np.array(
            draw(st.lists(st.tuples(*[st.integers(0, 12)] * 2), min_size=count, max_size=count))
        )
        corners = corners.reshape(-1, 2)
        sides = np.array(draw(st.lists(st.tuples(*[st.integers(1, 12)] * 2), min_size=count, max_size=count)))
        labels = np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), dtype=np.int64)
        return np.concatenate([corners, corners + sides.reshape(-1, 2)], axis=1), labels

    answers, objects = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    scores = draw(st.lists(st.floats(0, 1), min_size=answers, max_size=answers))
    crowd = draw(st.lists(st.booleans(), min_size=objects, max_size=objects))
    return Found.of(*some(answers), scores), Objects.of(*some(objects), crowd=crowd)


@settings(max_examples=80, deadline=None)
@given(pictures())
def test_nothing_is_counted_twice(picture: tuple[Found, Objects]) -> None:
    found, true = picture
    judged = judge_picture(found, true, least=0.3)
    answers = [answer for answer, _ in judged.right]
    answers += [mistake.answer for mistake in judged.mistakes if mistake.answer is not None]
    assert len(set(answers)) == len(answers) <= (found.scores >= 0.3).sum()
    have = [place for _, place in judged.right]
    assert len(set(have)) == len(have) and not true.crowd[have].any()
    missed = {mistake.object for mistake in judged.mistakes if mistake.kind == "missed"}
    assert not missed & set(have)
    assert 0 <= judged.f1 <= 1
    plain = box_overlaps(found.boxes, true.boxes, np.zeros(len(true), dtype=bool))
    np.testing.assert_allclose(plain, box_iou(from_numpy(found.boxes), from_numpy(true.boxes)), atol=1e-6)


def test_all_pictures_together_name_the_worst_first() -> None:
    true = [Objects.of([HERE, THERE], [0, 1])] * 2
    found = [Found.of([HERE, THERE], [0, 1], [0.9, 0.8]), Found.of([HERE, THERE], [1, 0], [0.7, 0.95])]
    told = detection_mistakes(["good", "bad"], found, true, CLASSES)
    assert told["right"] == 2
    assert told["kinds"] == {kind: 2 if kind == "confused" else 0 for kind in KINDS}
    assert [row["name"] for row in told["pictures"]] == ["bad", "good"]
    assert told["confused"] == [
        {"class": "cat", "said": "dog", "times": 1},
        {"class": "dog", "said": "cat", "times": 1},
    ]
    assert told["mistakes"][0] == {
        "name": "bad", "kind": "confused", "said": "cat", "score": pytest.approx(0.95),
        "box": THERE, "class": "dog", "true_box": THERE,
    }  # fmt: skip
