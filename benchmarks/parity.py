"""Parity with the four reference libraries, measured: python benchmarks/parity.py

Tiny random twins with a random value in every tensor are saved as each library saves, read by
vitreous, and compared at the native picture size and two others, in float32 and float64; then written
back by vitreous and loaded by the library. Printed is the largest difference of two logits, and its
share of the largest logit. Ends with exit code 1 where a bound is missed.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.parity.test_write_back import load_elsewhere  # noqa: E402
from tests.parity.twins import (  # noqa: E402
    BOUND,
    Difference,
    Forward,
    difference,
    google_arrays,
    google_twin,
    pictures,
    timm_twin,
    torchvision_twin,
    transformers_twin,
)

from vitreous.checkpoints.destination import write_any  # noqa: E402
from vitreous.checkpoints.source import read_any  # noqa: E402

SIZES = {
    "timm": [(32, 32), (48, 48), (24, 56)],
    "transformers": [(32, 32), (48, 48), (24, 56)],
    "torchvision": [(32, 32), (48, 48), (64, 64)],  # it takes square pictures only
    "google .npz": [(32, 32), (48, 48), (24, 56)],
}
TWINS = {
    "timm": timm_twin,
    "transformers": transformers_twin,
    "torchvision": torchvision_twin,
    "google .npz": lambda path: google_twin(path.with_suffix(".npz"), google_arrays()),
}


class Row(NamedTuple):
    """One line of the table."""

    reference: str
    way: str
    size: tuple[int, int]
    dtype: torch.dtype
    found: Difference

    @property
    def holds(self) -> bool:
        """Whether the difference is within its bound."""
        return self.found.relative < BOUND[self.dtype]


def compare(reference: str, way: str, ours: nn.Module, theirs: nn.Module, forward: Forward) -> Iterator[Row]:
    """Every picture size and type of one pair of models."""
    for dtype in BOUND:
        ours.to(dtype)
        theirs.to(dtype)
        for size in SIZES[reference]:
            found = difference(ours, forward, pictures(size).to(dtype))
            yield Row(reference, way, size, dtype, found)


def rows(folder: Path) -> Iterator[Row]:
    """The whole table."""
    for reference, build in TWINS.items():
        path = folder / reference.split()[0]
        twin = build(path)
        checkpoint = read_any(twin.path)
        if reference in ("timm", "transformers", "torchvision"):
            # Before the comparison turns the weights into float64.
            write_any(folder / f"{reference}-back", checkpoint, reference)
        yield from compare(reference, "read", checkpoint.model, twin.model, twin.forward)
        if reference in ("timm", "transformers", "torchvision"):
            model, forward = load_elsewhere(reference, folder / f"{reference}-back")
            yield from compare(reference, "written back", checkpoint.model, model, forward)


def main() -> int:
    """Print the table; 1 where a bound is missed."""
    missed = 0
    print(f"{'reference':<14}{'way':<14}{'picture':<10}{'type':<10}{'absolute':>10}{'relative':>10}  bound")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder)):
            missed += not row.holds
            kind = str(row.dtype).removeprefix("torch.")
            size = f"{row.size[0]}x{row.size[1]}"
            print(
                f"{row.reference:<14}{row.way:<14}{size:<10}{kind:<10}{row.found.absolute:>10.1e}"
                f"{row.found.relative:>10.1e}  {'< ' if row.holds else 'MISSED '}{BOUND[row.dtype]:.0e}"
            )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
