"""What a model of another library is to us: something to ask the same question, and what it does to
pictures first.

Shapes: B pictures; C channels; h w pixels; P patches.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from vitreous.errors import MissingPackage

EXTRA = "parity"


class Hidden(NamedTuple):
    """What pretraining hides, the same for both sides: ``noise`` (B, P), whose largest a masked
    autoencoder hides, and ``mask`` (B, P) bool, what BEiT puts a mask token in the place of."""

    noise: Tensor
    mask: Tensor


class Transform(NamedTuple):
    """What a library does to a picture: PIL picture -> (C, h, w), normalised. ``exact`` where it works on
    the same pixels as we do; its others are told, and held to nothing."""

    name: str
    apply: Callable[[Image.Image], Tensor]
    exact: bool = True


class Peer(NamedTuple):
    """A model of another library. ``answer`` maps pictures (B, C, h, w) of the model's own type, and what
    is hidden, to what the first field of our model's answer is."""

    library: str
    kind: str
    model: nn.Module
    answer: Callable[[Tensor, Hidden], Tensor]
    transforms: tuple[Transform, ...] = ()
    without_transforms: str = ""  # why there are none

    @property
    def version(self) -> str:
        """The library's version."""
        return version(self.library)


class NotRun(Exception):
    """A library cannot load this by itself; the message says why."""


def require(library: str) -> Any:
    """The module of a library. MissingPackage, with the line that installs it, where it is not there."""
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingPackage(library, EXTRA) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Other libraries say nothing: neither warnings, nor log lines, nor progress bars."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    # Only a library that is there already has something to say.
    said: Any = "transformers" in sys.modules and import_module("transformers.utils.logging")
    bars = said and said.is_progress_bar_enabled()
    if bars:
        said.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if bars:
            said.enable_progress_bar()


@contextmanager
def drawn_in(dtype: torch.dtype) -> Iterator[None]:
    """New models are made in this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
