"""Every class drawn as often as any other, however many pictures it has.

Class-balanced sampling (arXiv:1910.09217, "sampling strategies"), without chance where none is needed: the
draws of all epochs are one long row in which the classes take turns, and a class brings its pictures in a new
random order each time that it has brought them all. An epoch is a piece of the row, shuffled; so it is a
function of (seed, epoch), rare pictures are seen equally often, and frequent ones over several epochs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from vitreous.data.draws import seed_of


class Draw(NamedTuple):
    """A picture, and the number, from 0, of the random view that it has: how often it was drawn before."""

    picture: int
    view: int


def even_draws(labels: Sequence[int], seed: int, epoch: int) -> list[Draw]:
    """The draws of an epoch, from 0, of as many pictures as there are labels.

    Every class that occurs is drawn as often as any other, or once more where its turn falls so.
    """
    members: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for picture, label in enumerate(labels):
        members[label].append(picture)
    count, classes = len(labels), len(members)
    draws: list[Draw] = []
    for turn, (label, pictures) in enumerate(members.items()):
        # Of the row's places turn, turn + classes, turn + 2 classes, ... so many lie before an epoch.
        start, stop = (max(0, -((turn - place) // classes)) for place in (epoch * count, (epoch + 1) * count))
        draws += _drawn(pictures, label, seed, start, stop)
    generator = torch.Generator().manual_seed(seed_of("even order", seed, epoch))
    return [draws[place] for place in torch.randperm(count, generator=generator).tolist()]


def _drawn(pictures: Sequence[int], label: int, seed: int, start: int, stop: int) -> list[Draw]:
    """The draws from ``start`` to ``stop`` of a class that brings all its pictures, again and again."""
    draws: list[Draw] = []
    size = len(pictures)
    for times in range(start // size, -(-stop // size)):
        generator = torch.Generator().manual_seed(seed_of("even", seed, label, times))
        order = torch.randperm(size, generator=generator).tolist()
        own = range(max(start - times * size, 0), min(stop - times * size, size))
        draws += [Draw(pictures[order[place]], times) for place in own]
    return draws
