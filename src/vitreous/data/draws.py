"""Random draws that follow from what they are for, and from nothing that happened before.

A draw is named by (purpose, seed, epoch, sample) or (purpose, seed, step). So a run can be resumed at
any step, on any number of loading processes, without a random state to save.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


def seed_of(*parts: int | str) -> int:
    """A seed of 63 bits from anything that names a draw; the same on every machine."""
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def drawing(*parts: int | str) -> Iterator[None]:
    """Inside, torch's CPU generator draws what ``parts`` name; afterwards it goes on where it was."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed_of(*parts))
    try:
        yield
    finally:
        generator.set_state(before)


def seed_torch(*parts: int | str) -> None:
    """Seed torch's CPU generator, from which all weights and all drops of stochastic depth are drawn.

    Not ``torch.manual_seed``: where a GPU is there but unused, that stores a traceback for each call.
    """
    torch.default_generator.manual_seed(seed_of(*parts))
