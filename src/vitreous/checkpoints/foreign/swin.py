"""What the layouts of Swin share. Its tensors have much the same names everywhere, and its tables of offsets
show how large the windows are and how many heads there are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, isqrt, nextafter
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.names import PATCHES, RELATIVE_INDEX, Names, layer
from vitreous.checkpoints.foreign.plan import Shapes, patch_kernel, rows_of
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.geometry import shift_on, whole_windows
from vitreous.models.catalog import CATALOG, configure
from vitreous.models.config import (
    ClassifierConfig,
    ConvNetConfig,
    DVAEConfig,
    ModelConfig,
    SimMIMConfig,
    family_of,
)

BLOCKS = "backbone.stages.{}.encoder.blocks"
MERGING = "backbone.stages.{}.merging"
PATCH_NORM = "backbone.embed.norm"
QKV_BIAS = "attention.attention.qkv.bias"
TABLE = "attention.attention.bias.table"
MOST_STAGES = 16
EPS = 1e-5  # of every norm, in all libraries, where nobody says another

# Kept in files though they follow from the sizes alone.
BUFFERS = (RELATIVE_INDEX, "attn_mask")

NOT_SWIN = {
    "logit_scale": "cosine attention (Swin V2)",
    "cpb_mlp": "a continuous position bias (Swin V2)",
    "meta_mlp": "a continuous position bias (Swin V2)",
    "relative_coords_table": "a continuous position bias (Swin V2)",
    "continuous_position_bias": "a continuous position bias (Swin V2)",
    "spatial_mlp": "a spatial MLP (Swin-MLP)",
    "experts": "a mixture of experts (Swin-MoE)",
    "hidden_states_norms": "a norm for each stage's map (SwinBackbone)",
}

Side = tuple[int, int]
OnSwin = TypeVar("OnSwin", ClassifierConfig, SimMIMConfig)


def inside(attention: str, mlp: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    """A block's names where queries, keys and values are one layer."""
    return {
        **layer("attention_norm", "norm1"),
        **layer("attention.attention.qkv", f"{attention}.qkv"),
        **layer("attention.attention.projection", f"{attention}.proj"),
        TABLE: (f"{attention}.relative_position_bias_table",),
        **layer("mlp_norm", "norm2"),
        **layer("mlp.expand", mlp[0]),
        **layer("mlp.contract", mlp[1]),
    }


def merging(stage: int, theirs: str) -> dict[str, tuple[str, ...]]:
    """The names of what merges neighbours on the way into a stage."""
    ours = MERGING.format(stage)
    return {
        **layer(f"{ours}.norm", f"{theirs}.norm"),
        f"{ours}.reduce.weight": (f"{theirs}.reduction.weight",),
    }


def stages_in(shapes: Shapes, names: Callable[[int], Names]) -> tuple[Names, ...]:
    """The names of each stage that a file has blocks of."""
    found: list[Names] = []
    while len(found) < MOST_STAGES and names(len(found)).depth(shapes):
        found.append(names(len(found)))
    return tuple(found)


def joined(stages: tuple[Names, ...], depths: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    """One table of all stages."""
    tables = (names.table(depth) for names, depth in zip(stages, depths, strict=True))
    return {ours: theirs for table in tables for ours, theirs in table.items()}


class Sizes(NamedTuple):
    """What shapes show. ``rows`` are those of each stage's table of offsets."""

    width: int
    channels: int
    patch: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    rows: tuple[int, ...]
    mlp_widths: tuple[int, ...]


def sizes_in(shapes: Shapes, stages: tuple[Names, ...], name: str) -> Sizes:
    """The sizes of a file with these names.

    Raises:
        CheckpointError: a telling tensor is missing, or not of its kind.
    """
    depths = tuple(names.depth(shapes) for names in stages)
    table = joined(stages, depths)
    width, channels, patch = patch_kernel(shapes, table[f"{PATCHES}.weight"][0], name)
    heads, rows, mlp_widths = [], [], []
    for stage in range(len(stages)):
        block = f"{BLOCKS.format(stage)}.0."
        theirs = table[block + TABLE][0]
        shape = shapes.get(theirs)
        if shape is None or len(shape) != 2:
            raise CheckpointError(f"{name}: {theirs} is not a table of offsets, found {shape}")
        rows.append(shape[0])
        heads.append(shape[1])
        mlp_widths.append(rows_of(shapes, table[f"{block}mlp.expand.weight"][0], name))
    return Sizes(width, channels, patch, depths, tuple(heads), tuple(rows), tuple(mlp_widths))


def square_windows(rows: tuple[int, ...], name: str) -> tuple[Side, ...]:
    """The windows of tables of so many offsets, if they are square: (2 M - 1)^2 of windows of M x M."""
    sides = [isqrt(count) for count in rows]
    for side, count in zip(sides, rows, strict=True):
        if side * side != count or side % 2 == 0:
            raise CheckpointError(
                f"{name}: a table of {count} offsets is of no square window, and nothing says which one;"
                " give the directory with its config.json"
            )
    return tuple(((side + 1) // 2,) * 2 for side in sides)


def simplest(windows: tuple[Side, ...]) -> int | tuple[Side, ...]:
    """``SwinConfig.window`` for these windows."""
    side = windows[0][0]
    return side if set(windows) == {(side, side)} else windows


def one_window_at_the_end(windows: tuple[Side, ...], patch: int) -> Side:
    """The picture size whose last map is one window, as that of the published models is."""
    scale = patch * 2 ** (len(windows) - 1)
    return windows[-1][0] * scale, windows[-1][1] * scale


def mlp_ratio(sizes: Sizes, stated: float | None, name: str) -> float:
    """The ratio that gives every stage its hidden width: the ``stated`` one, if it does."""
    widths = [sizes.width * 2**stage for stage in range(len(sizes.depths))]
    least = max(hidden / width for hidden, width in zip(sizes.mlp_widths, widths, strict=True))
    for ratio in (stated, least, nextafter(least, inf)):
        if ratio and tuple(int(width * ratio) for width in widths) == sizes.mlp_widths:
            return ratio
    hidden = ", ".join(map(str, sizes.mlp_widths))
    raise CheckpointError(
        f"{name}: MLPs of {hidden} at widths from {sizes.width}; wanted one ratio for all stages"
    )


def named(config: OnSwin, model: str | None, name: str) -> OnSwin:
    """What was read off a bare file, held to the sizes of a catalog model where ``model`` is one.

    Where the two differ, the strict loader lists the tensors.
    """
    if model is None:
        return config
    if model not in CATALOG:
        try:
            configure(model)
        except ConfigError as error:
            raise CheckpointError(f"{name}: {error}") from error
    known, family = CATALOG[model], family_of(config)
    if family_of(known) != family:
        raise CheckpointError(
            f"{name}: holds a model of family {family!r}, but {model} is {family_of(known)!r}"
        )
    wanted: Any = known.backbone  # type: ignore[union-attr]  # what is of the same family has one, too
    found: Any = config.backbone
    sizes = {key: getattr(wanted, key) for key in ("width", "depths", "heads", "patch")}
    if len(wanted.depths) != len(found.depths):
        sizes |= {"window": wanted.window, "shift": wanted.shift}
    return replace(config, backbone=replace(found, **sizes))


def unused_in(shapes: Shapes) -> tuple[str, ...]:
    """Tensors that follow from the sizes alone."""
    return tuple(key for key in shapes if key.endswith(BUFFERS))


def without_temperature(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The model's tensors under our names, the fitted temperature divided into the head."""
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    if checkpoint.temperature != 1.0:
        for key in ("head.weight", "head.bias"):
            if key in state:
                state[key] = state[key] / checkpoint.temperature
    return state


class Place(NamedTuple):
    """What a library's class of Swin has a place for. ``shifts`` says by how much it would shift a stage's
    windows, given the native grid and the window."""

    shifts: Callable[[Side, Side], Side]
    shift_first: bool = False
    cut_edges: bool = False
    any_norm_eps: bool = False
    any_activation: bool = False
    any_channels: bool = True
    learned_positions: bool = False
    windows_by_stage: bool = False
    larger_windows: bool = True  # than the native grid
    oblong_windows: bool = True
    headless: bool = False


def reasons(config: ModelConfig, place: Place) -> list[str]:
    """Why a class has no place for a model; empty where it computes the same of native pictures."""
    if isinstance(config, ConvNetConfig | DVAEConfig) or not isinstance(config.backbone, SwinConfig):
        return ["it does not stand on a Swin"]
    swin = config.backbone
    height, width = swin.image_size
    parts = height % swin.patch or width % swin.patch
    grids = swin.grids_at(swin.image_size)
    shown = ", ".join(f"{rows}x{cols}" for rows, cols in swin.windows)
    larger = any(
        window[axis] > grid[axis] for window, grid in zip(swin.windows, grids, strict=True) for axis in (0, 1)
    )
    eps = next((value for value in (swin.norm_eps, swin.merge_eps) if value != EPS), EPS)
    norm_eps = swin.merge_eps != EPS or (swin.norm_eps != EPS and not place.any_norm_eps)
    checks = {
        "it has a head of two layers": isinstance(config, ClassifierConfig) and config.head == "mlp",
        "it normalises after pooling": isinstance(config, ClassifierConfig) and config.pool_norm,
        "it has no head": isinstance(config, ClassifierConfig) and config.classes == 0 and not place.headless,
        "its patches are not normalised": not swin.patch_norm,
        "it has a table of positions": swin.positions != "none" and not place.learned_positions,
        f"a norm epsilon is {eps}, there it is {EPS}": norm_eps,
        f"its activation is {swin.activation}, there is only gelu": swin.activation != "gelu"
        and not place.any_activation,
        f"it takes {swin.channels} channels": swin.channels != 3 and not place.any_channels,
        f"its windows differ by stage ({shown})": len(set(swin.windows)) > 1 and not place.windows_by_stage,
        f"its windows are not square ({shown})": any(rows != cols for rows, cols in swin.windows)
        and not place.oblong_windows,
        f"its windows ({shown}) are larger than the maps of its pictures": larger
        and not place.larger_windows,
        f"its pictures of {height}x{width} pixels are no multiple of patch {swin.patch}": bool(parts)
        and swin.cut_edges != place.cut_edges,
        **_moves(swin, grids, place),
    }
    return [reason for reason, holds in checks.items() if holds]


def _moves(swin: SwinConfig, grids: tuple[Side, ...], place: Place) -> Mapping[str, bool]:
    """What is different about the shifts of native pictures."""
    found: dict[str, bool] = {}
    for depth, grid, window, ours in zip(swin.depths, grids, swin.windows, native_shifts(swin), strict=True):
        if depth < 2:  # none of its blocks shifts
            continue
        theirs = place.shifts(grid, window)
        where = f"on maps of {grid[0]}x{grid[1]}"
        if ours != theirs:
            found[f"it shifts windows by {ours[0]}x{ours[1]} {where}, there by {theirs[0]}x{theirs[1]}"] = (
                True
            )
        whole = whole_windows(*grid, window)
        padded = any(ours[axis] and grid[axis] != whole[axis] for axis in (0, 1))
        if padded and swin.shift_first != place.shift_first:
            order = ("before", "after") if swin.shift_first else ("after", "before")
            found[f"it shifts {order[0]} padding {where}, there {order[1]}"] = True
    return found


def native_shifts(swin: SwinConfig) -> tuple[Side, ...]:
    """By how much each stage's windows are shifted in pictures of the native size."""
    rule = "always" if isinstance(swin.shift, tuple) else swin.shift
    grids = swin.grids_at(swin.image_size)
    every = zip(grids, swin.windows, swin.shifts, strict=True)
    return tuple(shift_on(grid, window, wanted, rule) for grid, window, wanted in every)


def half(window: Side) -> Side:
    """By how much every library shifts windows, where it does."""
    return window[0] // 2, window[1] // 2


def table_of(
    stages: Callable[[int], Names], config: ClassifierConfig | SimMIMConfig
) -> dict[str, tuple[str, ...]]:
    """Every tensor that a model has, ours to theirs."""
    backbone: Any = config.backbone
    depths: tuple[int, ...] = backbone.depths
    return joined(tuple(map(stages, range(len(depths)))), depths)
