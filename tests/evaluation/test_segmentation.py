"""Figures of maps against torchmetrics', outlines against faster-coco-eval's, pieces against the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from vitreous.data.annotation import IGNORED, IGNORED_WIDE
from vitreous.errors import DataError
from vitreous.evaluation import segmentation
from vitreous.evaluation.segmentation import Segmented, segmentation_scores

CLASSES = ("a", "b", "c", "d", "e")
K = len(CLASSES)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "RESAMPLES", 50)
    monkeypatch.setattr(segmentation, "AT_ONCE", 25)


truths = arrays(np.uint8, (3, 7, 9), elements=st.sampled_from([0, 1, 2, 3, IGNORED]))
guesses = arrays(np.int64, (3, 7, 9), elements=st.sampled_from([0, 1, 2, 4]))


@settings(max_examples=40, deadline=None)
@given(guesses, truths)
def test_figures_are_those_of_torchmetrics(guess: np.ndarray, truth: np.ndarray) -> None:
    if (truth == IGNORED).all():
        truth[0, 0, 0] = 0
    found = segmentation_scores(list(guess), list(truth), CLASSES, boundary=None)
    said, true = torch.from_numpy(guess).flatten(), torch.from_numpy(truth.astype(np.int64)).flatten()
    each = multiclass_jaccard_index(said, true, K, average="none", ignore_index=IGNORED)
    for average, name in (("macro", "mean_iou"), ("weighted", "frequency_weighted_iou")):
        wanted = multiclass_jaccard_index(said, true, K, average=average, ignore_index=IGNORED)
        assert found[name] == pytest.approx(wanted.item(), abs=1e-6)
    for row, wanted in zip(found["per_class"], each.tolist(), strict=True):
        assert (row["iou"] or 0.0) == pytest.approx(wanted, abs=1e-6)
        seen = (true == CLASSES.index(row["class"])) | (
            (said == CLASSES.index(row["class"])) & (true != IGNORED)
        )
        assert (row["iou"] is None) == (not seen.any())
    right = multiclass_accuracy(said, true, K, average="micro", ignore_index=IGNORED)
    assert found["pixel_accuracy"] == pytest.approx(right.item(), abs=1e-6)
    assert found["pixels"] == int((true != IGNORED).sum())


def blobs(seed: int, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A map of a few classes in patches of 10 pixels, and the same moved by two."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, K - 1, (side // 10 + 1, side // 10 + 1))
    large = np.kron(coarse, np.ones((10, 10), dtype=np.int64))
    return large[2 : side + 2, 1 : side + 1], large[:side, :side]


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_outlines_of_each_class_are_those_of_faster_coco_eval(share: float) -> None:
    from faster_coco_eval import mask as mask_api

    def outline(mask: np.ndarray) -> np.ndarray:
        runs = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
        return np.asarray(mask_api.decode(mask_api.rleToBoundary(runs, share)), dtype=bool)

    tally = Segmented(CLASSES, boundary=share)
    both, either = np.zeros(K), np.zeros(K)
    for seed in range(3):
        guess, truth = blobs(seed)
        tally.add(guess, truth)
        for number in range(K):
            near_guess, near_truth = outline(guess == number), outline(truth == number)
            both[number] += (near_guess & near_truth).sum()
            either[number] += (near_guess | near_truth).sum()
    wanted = both[either > 0] / either[either > 0]
    found = tally.figures()
    assert [
        row["boundary_iou"] for row in found["per_class"] if row["boundary_iou"] is not None
    ] == pytest.approx(wanted.tolist(), abs=1e-12)
    assert found["boundary_iou"] == pytest.approx(wanted.mean())


def test_a_small_shift_costs_outlines_more_than_areas() -> None:
    guess, truth = blobs(0)
    found = segmentation_scores([guess], [truth], CLASSES)
    assert found["boundary_iou"] < 0.7 * found["mean_iou"]
    same = segmentation_scores([truth], [truth], CLASSES)
    assert same["boundary_iou"] == same["mean_iou"] == same["pixel_accuracy"] == 1


def test_ignored_pixels_count_nowhere_and_draw_no_outline() -> None:
    guess, truth = blobs(1)
    hole = truth.copy()
    hole[12:20, 5:30] = IGNORED
    other = guess.copy()
    other[12:20, 5:30] = 3
    first, second = (segmentation_scores([said], [hole], CLASSES) for said in (guess, other))
    assert first == second
    flat = np.zeros((40, 40), dtype=np.int64)
    marked = flat.copy()
    marked[10:20, 10:20] = IGNORED
    tally = Segmented(CLASSES)
    tally.add(flat, marked)
    near = tally._counts[0][4]  # of the truth
    assert near.sum() == 40**2 - 38**2  # the edge of the picture alone


@settings(max_examples=20, deadline=None)
@given(guesses, truths, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_picture_that_counts_twice_is_one_that_is_there_twice(
    guess: np.ndarray, truth: np.ndarray, times: list[int]
) -> None:
    once, again = Segmented(CLASSES), Segmented(CLASSES)
    for said, true, count in zip(guess, truth, times, strict=True):
        once.add(said, true)
        for _ in range(count):
            again.add(said, true)
    if not again.confusion.sum():
        return
    weighed = np.tensordot(np.array(times), np.stack(once._counts), axes=1)
    whole, each = segmentation._figures(weighed)
    figures = again.figures()
    assert whole.tolist() == pytest.approx([figures[name] for name in segmentation.WHOLE])
    for row, share, near in zip(figures["per_class"], each[0], each[1], strict=True):
        for name, value in (("iou", share), ("boundary_iou", near)):
            assert (row[name] is None) == bool(np.isnan(value))
            if row[name] is not None:
                assert row[name] == pytest.approx(value)


def test_intervals_hold_the_value_and_shrink_with_more_pictures() -> None:
    random = np.random.default_rng(0)
    widths = []
    for count in (12, 200):
        tally = Segmented(CLASSES, boundary=None)
        for _ in range(count):
            truth = random.integers(0, K, (8, 8))
            wrong = random.random((8, 8)) < random.random()
            tally.add(np.where(wrong, random.integers(0, K, (8, 8)), truth), truth)
        found = tally.figures()
        low, high = found["intervals"]["mean_iou"]
        assert low < found["mean_iou"] < high
        assert found["intervals"]["boundary_iou"] == [None, None]
        for row in found["per_class"]:
            assert row["interval"][0] < row["iou"] < row["interval"][1]
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]


def test_a_picture_has_a_score_of_its_own_and_mistakes_have_names() -> None:
    tally = Segmented(CLASSES)
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, IGNORED]])
    guess = np.array([[0, 0, 1, 2], [0, 2, 2, 2]])
    own = tally.add(guess, truth)
    assert own.pixels == 7
    assert own.pixel_accuracy == pytest.approx(4 / 7)
    assert own.mean_iou == pytest.approx((3 / 4 + 1 / 3 + 0) / 3)
    assert np.isnan(tally.add(guess, np.full_like(truth, IGNORED)).mean_iou)
    assert tally.figures()["confused"] == [
        {"class": "b", "said": "c", "pixels": 2, "share": pytest.approx(2 / 3)},
        {"class": "a", "said": "c", "pixels": 1, "share": pytest.approx(1 / 4)},
    ]


def test_of_many_classes_another_number_takes_no_part() -> None:
    names = [str(number) for number in range(300)]
    truth = np.array([[255, 299, IGNORED_WIDE]], dtype=np.uint16)
    found = segmentation_scores([np.array([[255, 0, 1]])], [truth], names)
    assert found["pixels"] == 2
    assert found["per_class"][255]["iou"] == 1


def test_what_cannot_be_judged_is_refused() -> None:
    flat = np.zeros((2, 3), dtype=np.int64)
    with pytest.raises(DataError, match=r"\(2, 3\) does not fit the truth of \(3, 2\)"):
        segmentation_scores([flat], [flat.T], CLASSES)
    with pytest.raises(DataError, match=r"the number 5; wanted 0\.\.4, or 255"):
        segmentation_scores([flat], [flat + 5], CLASSES)
    with pytest.raises(DataError, match=r"answers must lie in 0\.\.4, got 7\.\.7"):
        segmentation_scores([flat + 7], [flat], CLASSES)
    with pytest.raises(DataError, match="float64 against int64"):
        segmentation_scores([flat * 1.0], [flat], CLASSES)
    with pytest.raises(DataError, match="at least one pixel"):
        segmentation_scores([flat], [flat + IGNORED], CLASSES)
    with pytest.raises(DataError, match="each of 1 pictures, got 0"):
        segmentation_scores([], [flat], CLASSES)
