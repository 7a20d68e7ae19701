"""Tables of names, ours to theirs, that work in both directions.

A tensor of ours may be several of theirs, laid one after another along the first axis (queries, keys
and values); they are joined in reading and cut apart in writing, bit for bit. A part called ``ZERO``
has no tensor of theirs: it is read as zeros and not written (a key's bias, which softmax cancels).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from vitreous.errors import CheckpointError

Table: TypeAlias = Mapping[str, tuple[str, ...]]

ZERO = ""
DEPTH_LIMIT = 500  # the deepest published models have 60
BLOCK = "backbone.encoder.blocks"
PATCHES = "backbone.embed.patches.projection"
POSITIONS = "backbone.embed.positions.table"
CLASS_TOKEN = "backbone.embed.class_token"
DISTILLATION_TOKEN = "backbone.embed.distillation_token"
REGISTERS = "backbone.embed.registers"
NORM = "backbone.norm"
RELATIVE_INDEX = "relative_position_index"  # how theirs end that hold what follows from the sizes alone


@dataclass(frozen=True)
class Names:
    """How a library names the tensors of a model: ``outside`` of the blocks by full name, and ``inside``
    a block, whose own name is ``block`` with {} for its number; ``separator`` stands between them.
    ``ours`` is what we call the stack of blocks: a model may have several (stages, a decoder)."""

    outside: Table
    block: str
    inside: Table
    separator: str = "."
    ours: str = BLOCK

    def table(self, depth: int) -> dict[str, tuple[str, ...]]:
        """Every tensor that a model of this depth may have, ours to theirs. CheckpointError for a depth
        that no model has: it comes from a file, and must not cost memory."""
        if depth > DEPTH_LIMIT:
            raise CheckpointError(f"{depth} blocks, more than the {DEPTH_LIMIT} that a model may have")
        inside = {
            f"{self.ours}.{index}.{ours}": tuple(
                name and self.block.format(index) + self.separator + name for name in theirs
            )
            for index in range(depth)
            for ours, theirs in self.inside.items()
        }
        return {**self.outside, **inside}

    def depth(self, found: Iterable[str]) -> int:
        """The number of blocks that these names of theirs speak of; 0 for none."""
        before, after = self.block.split("{}")
        pattern = re.compile(re.escape(before) + r"(\d{1,6})" + re.escape(after + self.separator))
        numbers = (match.group(1) for match in map(pattern.match, found) if match)
        return 1 + max(map(int, numbers), default=-1)


def layer(ours: str, *theirs: str) -> dict[str, tuple[str, ...]]:
    """The weight and the bias of a layer."""
    return {f"{ours}.{leaf}": tuple(f"{name}.{leaf}" for name in theirs) for leaf in ("weight", "bias")}


def prefixed(table: Table, base: str) -> dict[str, tuple[str, ...]]:
    """The same table where ``base`` stands ahead of each name of theirs; a ``ZERO`` part stays one."""
    return {ours: tuple(part and base + part for part in theirs) for ours, theirs in table.items()}


def gather(table: Table, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names, each in memory of its own order. What is not there, or only in part,
    is left out. ``found`` is asked for one tensor at a time, and no longer than it takes to join them."""
    tensors = {}
    for ours, theirs in table.items():
        named = [name for name in theirs if name]
        if named and all(name in found for name in named):
            parts = [found[name] if name else None for name in theirs]
            given = next(part for part in parts if part is not None)
            whole = [torch.zeros_like(given) if part is None else part for part in parts]
            tensors[ours] = whole[0].contiguous() if len(whole) == 1 else torch.cat(whole)
    return tensors


def scatter(table: Table, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names. KeyError for one that the table does not have."""
    return {
        name: part
        for ours, tensor in tensors.items()
        for name, part in zip(table[ours], _cut(tensor, len(table[ours])), strict=True)
        if name
    }


def _cut(tensor: Tensor, parts: int) -> tuple[Tensor, ...]:
    return (tensor,) if parts == 1 else tensor.chunk(parts)  # a count of batches has no axis to cut
