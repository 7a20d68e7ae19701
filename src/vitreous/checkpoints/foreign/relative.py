"""BEiT's tables of relative positions: each block may have its own, all may share one, both (then they add
up), or there is none. Every block of ours has its own: a shared one is copied, two are added, none is zeros.
"""

from collections.abc import Callable, Mapping
from math import isqrt
from typing import NamedTuple

from torch import Tensor

from vitreous.checkpoints.foreign.names import BLOCK, Table
from vitreous.checkpoints.foreign.plan import Shapes
from vitreous.checkpoints.weights import shape_text
from vitreous.errors import CheckpointError

OURS = "attention.bias.table"
EXTRA = 3  # rows for the class token: to a patch, from a patch, to itself
SHARED = "shared bias"  # no tensor of ours: it is taken out again when the blocks' tables are finished


class Biases(NamedTuple):
    """A plan's ``table``, ``zeros`` and ``finish``, as far as relative positions go."""

    table: Table
    zeros: Shapes
    finish: Callable[[dict[str, Tensor]], dict[str, Tensor]]


def arrange(
    table: Table, shapes: Shapes, shared: str, heads: int, grid: tuple[int, int], name: str
) -> Biases:
    """Fit a plan's table, in which every block has a table of its own, to the tables that a file has.

    ``shared`` is their name of the one for all blocks.
    """
    ours = [key for key in table if key.startswith(BLOCK) and key.endswith(OURS)]
    owned = any(part in shapes for key in ours for part in table[key])
    if shared in shapes and owned:
        for key in ours:
            _refuse_another_shape(shapes, table[key][0], shared, name)
        return Biases({**table, SHARED: (shared,)}, {}, _add)
    if shared in shapes:
        return Biases({**table, **dict.fromkeys(ours, (shared,))}, {}, _copy)
    if owned:
        return Biases(table, {}, lambda tensors: tensors)
    offsets = (2 * grid[0] - 1) * (2 * grid[1] - 1) + EXTRA
    plain = {key: theirs for key, theirs in table.items() if key not in ours}
    return Biases(plain, dict.fromkeys(ours, (offsets, heads)), lambda tensors: tensors)


def heads_of_table(shapes: Shapes, theirs: str) -> int | None:
    """How many heads a table of offsets is for; None where the file has no such table."""
    shape = shapes.get(theirs, ())
    return shape[1] if len(shape) == 2 else None


def fits(rows: int, grid: tuple[int, int]) -> bool:
    """Whether a table of so many rows is one of offsets on this grid."""
    return rows == (2 * grid[0] - 1) * (2 * grid[1] - 1) + EXTRA


def square_grid(rows: int, theirs: str, name: str) -> tuple[int, int]:
    """The square grid that a table of so many rows has offsets of."""
    side = (isqrt(max(rows - EXTRA, 0)) + 1) // 2
    if side < 1 or not fits(rows, (side, side)):
        raise CheckpointError(
            f"{name}: {theirs} has {rows} rows, which no square grid has offsets for;"
            " give the directory with its config.json"
        )
    return side, side


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each block gets memory of its own, because training would move them apart."""
    return {key: value.clone() if _is_table(key) else value for key, value in tensors.items()}


def _add(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    shared = tensors[SHARED]
    return {
        key: value + shared if _is_table(key) else value for key, value in tensors.items() if key != SHARED
    }


def _is_table(key: str) -> bool:
    return key.startswith(BLOCK) and key.endswith(OURS)


def _refuse_another_shape(shapes: Mapping[str, tuple[int, ...]], own: str, shared: str, name: str) -> None:
    if own in shapes and shapes[own] != shapes[shared]:
        raise CheckpointError(
            f"{name}: {own} ({shape_text(shapes[own])}) and {shared} ({shape_text(shapes[shared])})"
            " are to be added, but are not of one shape"
        )
