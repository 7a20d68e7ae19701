"""Logits (K,) of a whole picture -> which class it shows, or which of several."""

from collections.abc import Sequence

import numpy as np

from vitreous.predictor.answers import Answer, Scores


def likeliest(logits: Scores, temperature: float, classes: Sequence[str]) -> Answer:
    """One class: scores are the softmax of the logits / ``temperature``."""
    scaled = logits / np.float32(temperature)
    weights = np.exp(scaled - scaled.max())
    scores = (weights / weights.sum()).astype(np.float32)
    index = int(logits.argmax())
    label = classes[index]
    return Answer(label, float(scores[index]), scores, index, (label,))


def tagged(logits: Scores, temperature: float, classes: Sequence[str]) -> Answer:
    """Any number of classes: each has a sigmoid of its own."""
    scores = np.exp(-np.logaddexp(0, -logits / np.float32(temperature))).astype(np.float32)
    index = int(logits.argmax())
    order = np.argsort(-logits, kind="stable")
    labels = tuple(classes[place] for place in order if logits[place] > 0)
    return Answer(classes[index], float(scores[index]), scores, index, labels)
