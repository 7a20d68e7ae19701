"""One row of the ledger: a reference model, how it is saved, and at which picture sizes it is compared."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tests.parity.twins import Difference, Forward, Twin, pictures

Loaded = tuple[nn.Module, Forward]


def first(model: nn.Module, images: Tensor) -> Tensor:
    """What a model of ours answers: the first field of its NamedTuple."""
    return model(images)[0]


class Case(NamedTuple):
    """``build`` makes the reference with a random value in every tensor and saves it below a path, as its
    own library saves; ``sizes`` are the native picture size (height, width) and at least two others;
    ``back`` loads a directory that we wrote through the library's own loader, None where that library has
    no place for the family; ``answer`` is how our model is asked for what ``Twin.forward`` gives."""

    library: str
    family: str
    build: Callable[[Path], Twin]
    sizes: tuple[tuple[int, int], ...]
    back: Callable[[Path], Loaded] | None = None
    layout: str = ""  # that is written; the library's where it is empty
    answer: Callable[[nn.Module, Tensor], Tensor] = first

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.library} {self.family}".replace(" ", "-")


@torch.no_grad()
def compare(case: Case, ours: nn.Module, theirs: Forward, size: tuple[int, int]) -> Difference:
    """How far our model is from the reference at one picture size, both in their present type."""
    weight = next(ours.parameters())
    images = pictures(size, ours.config.channels).to(weight.dtype)
    mine, reference = case.answer(ours, images), theirs(images)
    assert mine.shape == reference.shape, (mine.shape, reference.shape)
    absolute = (mine - reference).abs().max().item()
    return Difference(absolute, absolute / reference.abs().max().item())
