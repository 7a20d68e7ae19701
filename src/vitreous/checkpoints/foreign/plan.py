"""What a foreign file turns out to be, known from names, shapes and its JSON before a number is read.

A reader knows one kind of file by its names. Its plan says which model a file holds and how the tensors
become ours; building the model is one more step.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from vitreous.checkpoints.file import Answers, Checkpoint
from vitreous.checkpoints.foreign.names import Names, Table, gather
from vitreous.checkpoints.imagenet import SOURCES
from vitreous.checkpoints.stored import Stored
from vitreous.checkpoints.weights import converted, listed, load_weights
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG, configure
from vitreous.models.config import (
    ClassifierConfig,
    DeiTConfig,
    MaskedTokensConfig,
    ModelConfig,
    family_of,
)

Shapes = Mapping[str, tuple[int, ...]]
OnViT = TypeVar("OnViT", ClassifierConfig, DeiTConfig, MaskedTokensConfig)

# The makers of files that come from no library.
FACEBOOKRESEARCH, MICROSOFT, NVLABS = "facebookresearch", "microsoft", "nvlabs"

# Heads of the widths that published models have. A file of weights does not say how many heads its
# queries are cut into, and a wrong number loads silently.
HEADS = {192: 3, 256: 4, 320: 5, 384: 6, 512: 8, 640: 10, 768: 12, 832: 13, 896: 14, 1024: 16}
HEADS |= {1152: 16, 1280: 16, 1408: 16, 1664: 16}
GATED_HEADS = {1536: 24}  # of a width that others have with another number

# Of the pixels of ImageNet in 0..1: what most published weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LAYER_SCALE = 1e-5  # the first value where a file does not tell; it only matters to training anew


class Found(NamedTuple):
    """Foreign weights, and the JSON that lies beside them."""

    stored: Stored
    config: dict[str, Any] | None
    preprocessor: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What errors call it."""
        return self.stored.name

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, under the file's own names."""
        return self.stored.shapes

    @property
    def model_type(self) -> Any:
        """The family that a ``config.json`` of transformers states; None where there is none."""
        return (self.config or {}).get("model_type")


@dataclass(frozen=True, eq=False)
class Plan:
    """A model in a foreign layout.

    ``table`` maps our names to theirs; ``zeros`` are tensors of ours that they leave out because they
    are zero; ``unused`` those of theirs which a classifier has no place for, and known as such;
    ``assumed`` what the file does not say and the layout's own default stands for. ``orient`` gives one
    of their tensors torch's order of axes; ``finish`` is what remains to be done after renaming;
    ``stated_family`` is what the file calls itself; ``facts`` is what else it says that a model has no place
    for, and that its lineage keeps; ``answers`` whether a picture may show several classes.
    """

    layout: str
    config: ModelConfig
    preprocess: Preprocess
    classes: tuple[str, ...]
    table: Table
    zeros: Shapes = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    orient: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
    finish: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors
    stated_family: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    answers: Answers = "one"

    @property
    def family(self) -> str:
        """What its makers call the model, where that says more than its parts do (dinov2)."""
        return self.stated_family or family_of(self.config)

    def left_over(self, found: Collection[str]) -> tuple[str, ...]:
        """Tensors in the file that this plan neither uses nor knows."""
        used = {name for theirs in self.table.values() for name in theirs}
        return tuple(name for name in found if name not in used and name not in self.unused)

    def build(
        self, found: Mapping[str, Tensor], name: str, lineage: Mapping[str, Any], dtype: torch.dtype | None
    ) -> Checkpoint:
        """Read the numbers into the model.

        Raises:
            CheckpointError: tensors that nothing explains, missing ones, or ones of another shape.
        """
        strange = self.left_over(found)
        if strange:
            raise CheckpointError(
                f"{name}: {len(strange)} tensors that {self.layout}'s {self.family} does not explain:"
                f" {listed(strange)}"
            )
        tensors = gather(self.table, _Turned(found, self.orient))
        # In the wanted type before anything is added up: a sum in half precision is rounded to it.
        tensors = self.finish({key: converted(tensor, dtype) for key, tensor in tensors.items()})
        tensors |= {key: torch.zeros(shape) for key, shape in self.zeros.items()}
        spelling = {ours: _spelling(theirs, found) for ours, theirs in self.table.items()}
        model = load_weights(self.config, tensors, name, dtype=dtype, spelling=spelling)
        origin = {"layout": self.layout, "family": self.family, **lineage, **self.facts}
        if self.unused:
            origin["unused"] = list(self.unused)
        if self.assumed:
            origin["assumed"] = list(self.assumed)
        sources = [text for title, text in SOURCES.items() if f"class names of {title}" in self.assumed]
        if sources:
            origin["class_names"] = sources[0]
        return Checkpoint(model, self.preprocess, self.classes, lineage=origin, answers=self.answers)


class _Turned(Mapping[str, Tensor]):
    """Their tensors with torch's order of axes, each turned when it is asked for."""

    def __init__(self, found: Mapping[str, Tensor], orient: Callable[[str, Tensor], Tensor]) -> None:
        self.found = found
        self.orient = orient

    def __getitem__(self, key: str) -> Tensor:
        return self.orient(key, self.found[key])

    def __contains__(self, key: object) -> bool:
        return key in self.found

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


class Reader(NamedTuple):
    """One kind of file: whose layout, which family, whether tensors have its names, and what they then
    are. ``names`` are its tables, for telling which kind an unknown file is nearest to."""

    layout: str
    family: str
    recognises: Callable[[Found], bool]
    plan: Callable[[Found, str | None], Plan]
    names: tuple[Names, ...]


def patch_kernel(shapes: Shapes, theirs: str, name: str) -> tuple[int, int, int]:
    """(width, channels, patch) of the projection of patches."""
    shape = shapes.get(theirs)
    if shape is None or len(shape) != 4:
        raise CheckpointError(f"{name}: {theirs} is not the kernel of a patch projection, found {shape}")
    if shape[2] != shape[3]:
        raise CheckpointError(f"{name}: patches of {shape[2]}x{shape[3]} pixels; only square ones are read")
    return shape[0], shape[1], shape[2]


def imagenet_statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """ImageNet's mean and standard deviation; for one channel the mean of the three values."""
    if channels == 1:
        return (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)
    return IMAGENET_MEAN, IMAGENET_STD


def rows_of(shapes: Shapes, theirs: str, name: str) -> int:
    """The first side of a matrix or a vector, for example the classes of a head."""
    shape = shapes.get(theirs)
    if not shape:
        raise CheckpointError(f"{name}: {theirs} is missing")
    return shape[0]


def table_rows(shapes: Shapes, theirs: str, name: str) -> int:
    """The number of positions in a (1, N, D) table."""
    shape = shapes.get(theirs)
    if shape is None or len(shape) != 3 or shape[0] != 1:
        raise CheckpointError(f"{name}: {theirs} is not a table of positions, found {shape}")
    return shape[1]


def square_side(patches: int, patch: int, name: str) -> tuple[int, int]:
    """The picture size of a square grid of so many patches."""
    side = isqrt(patches)
    if side == 0 or side * side != patches:
        raise CheckpointError(
            f"{name}: {patches} positions are no square grid, and nothing says which one;"
            " give the directory with its config.json"
        )
    return side * patch, side * patch


def heads_of(width: int, name: str, *, gated: bool = False) -> int:
    """The heads of a published width; CheckpointError for others, because a file does not tell. ``gated``
    says that the MLP is SwiGLU."""
    known = HEADS | GATED_HEADS if gated else HEADS
    if width not in known:
        raise CheckpointError(
            f"{name}: the number of heads of width {width} is not in the file;"
            " give name= of the model, or the directory with its config.json"
        )
    return known[width]


def named(config: OnViT, model: str, name: str) -> OnViT:
    """What was read off a bare file, held to the size of a catalog model: its depth, width and heads.

    Where the two differ, the strict loader lists the tensors.
    """
    if model not in CATALOG:
        raise CheckpointError(f"{name}: {_unknown(model)}")
    known, family, found = CATALOG[model], family_of(config), config.vit
    if family_of(known) != family:
        raise CheckpointError(
            f"{name}: holds a model of family {family!r}, but {model} is {family_of(known)!r}"
        )
    wanted = known.vit  # type: ignore[union-attr]  # what is of the same family has one, too
    encoder = replace(found.encoder, width=wanted.encoder.width, mlp_width=wanted.encoder.mlp_width)
    grid = found.grid
    backbone = replace(
        found,
        encoder=encoder,
        depth=wanted.depth,
        heads=wanted.heads,
        patch=wanted.patch,
        image_size=(grid[0] * wanted.patch, grid[1] * wanted.patch),
    )
    return replace(config, backbone=backbone)


def missing_biases(table: Table, shapes: Shapes, endings: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Biases that no block has, as zeros of our shape: a missing bias is a bias of zero.

    ``endings`` are the tails of our names. A bias that only some blocks lack is damage, and is left
    to the strict loader.
    """
    zeros: dict[str, tuple[int, ...]] = {}
    for ending in endings:
        ours = [key for key in table if key.endswith(ending)]
        if any(name in shapes for key in ours for name in table[key]):
            continue
        for key in ours:
            weights = table[key.removesuffix("bias") + "weight"]
            if all(shapes.get(weight) for weight in weights):
                zeros[key] = (sum(shapes[weight][0] for weight in weights),)
    return zeros


def numbered(classes: int) -> tuple[str, ...]:
    """Names for classes whose names nobody kept or knows; ``class_names.unnamed`` knows ImageNet's."""
    return tuple(f"class {index}" for index in range(classes))


def refuse_name(model: str | None, name: str) -> None:
    """CheckpointError for a ``name=`` beside a file that says its own architecture."""
    if model is not None:
        raise CheckpointError(f"{name}: config.json says the architecture; leave out name={model!r}")


def refuse(
    shapes: Collection[str], reasons: Mapping[str, str], name: str, what: str = "the plain ViT"
) -> None:
    """CheckpointError where a tensor shows a part that ``what`` does not have; it is named."""
    for part, reason in reasons.items():
        found = [key for key in shapes if part in key]
        if found:
            raise CheckpointError(f"{name}: {reason} ({found[0]}) is not a part of {what}")


def _spelling(theirs: tuple[str, ...], found: Collection[str]) -> str:
    missing = [name for name in theirs if name and name not in found]
    return " + ".join(missing or theirs)


def _unknown(model: str) -> str:
    try:
        configure(model)
    except ConfigError as error:
        return str(error)
    return f"unknown model {model!r}"
