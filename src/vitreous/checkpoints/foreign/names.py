"""Tables of names, ours to theirs, that work in both directions.

A tensor of ours may be several of theirs, laid one after another along the first axis (queries, keys
and values); they are joined in reading and cut apart in writing, bit for bit.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from vitreous.backbones.config import ViTConfig
from vitreous.layers.geometry import stem_convolutions
from vitreous.models.config import ClassifierConfig

Table: TypeAlias = Mapping[str, tuple[str, ...]]

BLOCK = "backbone.encoder.blocks"
PATCHES = "backbone.embed.patches.projection"
POSITIONS = "backbone.embed.positions.table"
CLASS_TOKEN = "backbone.embed.class_token"
REGISTERS = "backbone.embed.registers"
NORM = "backbone.norm"


@dataclass(frozen=True)
class Names:
    """How a library names the tensors of a ViT: ``outside`` of the blocks by full name, and ``inside``
    a block, whose own name is ``block`` with {} for its number; ``separator`` stands between them."""

    outside: Table
    block: str
    inside: Table
    separator: str = "."

    def table(self, depth: int) -> dict[str, tuple[str, ...]]:
        """Every tensor that a model of this depth may have, ours to theirs."""
        inside = {
            f"{BLOCK}.{index}.{ours}": tuple(
                self.block.format(index) + self.separator + name for name in theirs
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


def gather(table: Table, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names. What is not there, or only in part, is left out."""
    return {
        ours: found[theirs[0]] if len(theirs) == 1 else torch.cat([found[name] for name in theirs])
        for ours, theirs in table.items()
        if all(name in found for name in theirs)
    }


def scatter(table: Table, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names. KeyError for one that the table does not have."""
    return {
        name: part
        for ours, tensor in tensors.items()
        for name, part in zip(table[ours], tensor.chunk(len(table[ours])), strict=True)
    }


def expected_names(config: ClassifierConfig) -> dict[str, None]:
    """Every tensor that a model of this configuration has, in no costly way: nothing is built.

    A dictionary, because the order is the model's and membership is asked for often.
    """
    backbone = config.backbone
    names = [*_stem_names(backbone)]
    names += [CLASS_TOKEN] * backbone.class_token + [REGISTERS] * bool(backbone.registers)
    names += [POSITIONS] * (backbone.positions == "learned")
    for index in range(backbone.depth):
        for part in (
            "attention_norm",
            "attention.qkv",
            "attention.projection",
            "mlp_norm",
            "mlp.expand",
            "mlp.contract",
        ):
            names += layer(f"{BLOCK}.{index}.{part}")
        if backbone.encoder.layer_scale is not None:
            names += [f"{BLOCK}.{index}.{part}.scale" for part in ("attention_scale", "mlp_scale")]
    norms = [NORM] * backbone.final_norm + ["pool_norm"] * config.pool_norm
    heads = ["head.hidden", "head.output"] if config.head == "mlp" else ["head"]
    for part in norms + heads * bool(config.classes):
        names += layer(part)
    return dict.fromkeys(names)


def _stem_names(backbone: ViTConfig) -> list[str]:
    names = list(layer(PATCHES))
    if backbone.stem == "conv":
        stem = PATCHES.removesuffix("projection") + "layers"
        convolutions = stem_convolutions(backbone.channels, backbone.encoder.width, backbone.patch)
        for index in range(len(convolutions) - 1):  # each is followed by a norm and a ReLU
            names += [f"{stem}.{3 * index}.weight", *layer(f"{stem}.{3 * index + 1}")]
    return names
