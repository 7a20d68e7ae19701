"""Counts are scikit-learn's; what no pixel speaks of takes no part in a mean."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, jaccard_score

from vitreous.data.confusion import confusion_of, mean_of, overlaps, pixels_of, weighed_by

K = 4


@given(
    arrays(np.uint8, (5, 6), elements=st.integers(0, K - 1)),
    arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 255])),
)
def test_counts_and_shares_are_those_of_scikit_learn(guess: np.ndarray, truth: np.ndarray) -> None:
    truth[0, 0] = 0
    found = confusion_of(guess, truth, K)
    seen = truth < K
    np.testing.assert_array_equal(found, confusion_matrix(truth[seen], guess[seen], labels=range(K)))
    np.testing.assert_array_equal(found.sum(axis=1), pixels_of(truth, K))
    shares = overlaps(found.diagonal(), found.sum(axis=1), found.sum(axis=0))
    present = np.unique(np.concatenate([truth[seen], guess[seen]]))
    wanted = jaccard_score(truth[seen], guess[seen], labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(shares[present], wanted)
    assert np.isnan(np.delete(shares, present)).all()
    np.testing.assert_allclose(mean_of(shares), wanted.mean())
    weighed = jaccard_score(truth[seen], guess[seen], average="weighted", zero_division=0)
    np.testing.assert_allclose(weighed_by(shares, found.sum(axis=1)), weighed)


def test_means_of_nothing_are_nought() -> None:
    nothing = np.zeros((2, K), dtype=np.int64)
    shares = overlaps(nothing, nothing, nothing)
    assert mean_of(shares).tolist() == weighed_by(shares, nothing).tolist() == [0, 0]
