"""timm's ``SwinTransformer``: a directory as its ``save_for_hf`` writes it, or a bare state dict.

timm decides once, from the native picture size, how large windows are and how far they are shifted: a map
that one window covers has windows of its own size, and is not shifted. Other sizes keep both.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.fields import flag, number, pair, section
from vitreous.checkpoints.foreign.names import NORM, PATCHES, Names, layer, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, missing_biases, refuse, rows_of
from vitreous.checkpoints.foreign.swin import (
    BLOCKS,
    NOT_SWIN,
    PATCH_NORM,
    QKV_BIAS,
    Place,
    Side,
    Sizes,
    half,
    inside,
    merging,
    mlp_ratio,
    named,
    one_window_at_the_end,
    reasons,
    simplest,
    sizes_in,
    square_windows,
    stages_in,
    table_of,
    unused_in,
    without_temperature,
)
from vitreous.checkpoints.foreign.timm.common import (
    LAYOUT,
    class_names_in,
    pretrained_of,
    read_transform,
    refuse_arguments,
    stated_size,
    written_config,
)
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.geometry import grid_of, shift_on
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ClassifierConfig, ModelConfig, Pool

HEAD = "head.fc"
MEANS = ("avg", "fast", "fastavg")  # three ways to compute one value
NATIVE = (224, 224)  # where nobody says another
MARK = "layers.0.blocks.0.attn.qkv."
# Until timm 0.9 a stage ended with what merges, as it does with the authors.
OLD_MERGING = "layers.0.downsample.reduction.weight"
ARCHITECTURE = re.compile(r"swin_(tiny|small|base|large)_patch4_window(7|12)_(224|384)")
BY_STAGE = {"swin_s3_tiny_224": (7, 7, 14, 7), "swin_s3_small_224": (14, 14, 14, 7)}
BY_STAGE |= {"swin_s3_base_224": (7, 7, 14, 7)}
PUBLISHED = {(96, 6): "tiny", (96, 18): "small", (128, 18): "base", (192, 18): "large"}

# fmt: off
ACCOUNTED = frozenset({
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depths", "num_heads",
    "head_dim", "window_size", "always_partition", "strict_img_size", "dynamic_img_size", "mlp_ratio",
    "qkv_bias", "drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init",
})
# fmt: on


def stage_names(stage: int, *, head: str = HEAD, ends: bool = False, prefix: str = "") -> Names:
    """A stage's names; ``ends`` where the stage before ends with what merges, in the place of this one
    beginning with it. ``prefix`` stands ahead of all names but the head's."""
    outside = {
        **layer(PATCHES, f"{prefix}patch_embed.proj"),
        **layer(PATCH_NORM, f"{prefix}patch_embed.norm"),
        **layer(NORM, f"{prefix}norm"),
        **layer("head", head),
    }
    return Names(
        outside=merging(stage, f"{prefix}layers.{stage - ends}.downsample") if stage else outside,
        block=f"{prefix}layers.{stage}.blocks.{{}}",
        inside=inside("attn", ("mlp.fc1", "mlp.fc2")),
        ours=BLOCKS.format(stage),
    )


def old_stage_names(stage: int, prefix: str = "") -> Names:
    """As timm wrote them until 0.9, and the authors do."""
    return stage_names(stage, head="head", ends=True, prefix=prefix)


def recognises(found: Found) -> bool:
    """Whether these are the names of a Swin of timm's, or of a relative that is refused."""
    return any(key.startswith(MARK) for key in found.stored.described)


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show, and the rest from ``config`` or from the name of the architecture.

    ``model`` is a timm architecture or a name of our catalog, for a bare file.

    Raises:
        CheckpointError: parts that Swin does not have, arguments that are not known, or windows whose
            sides nothing tells.
    """
    shapes, config, name = found.shapes, found.config, found.name
    refuse(shapes, NOT_SWIN, name, "Swin")
    values = config or {}
    architecture = values.get("architecture", model if model not in CATALOG else None)
    _check_architecture(architecture, name)
    arguments = section(values, "model_args", name)
    refuse_arguments(arguments, ACCOUNTED, (), "Swin", name)
    pretrained = pretrained_of(values, name)
    names = old_stage_names if OLD_MERGING in shapes else stage_names
    stages = stages_in(shapes, names)
    sizes = sizes_in(shapes, stages, name)
    _check_heads(arguments, sizes, name)
    head = names(0).outside["head.weight"][0]
    try:
        classifier = ClassifierConfig(
            backbone=_backbone(sizes, arguments, pretrained, architecture, name),
            classes=rows_of(shapes, head, name) if head in shapes else 0,
            pool=_pool(arguments, pretrained, head in shapes, name),
        )
        classifier = named(classifier, model if model in CATALOG else None, name)
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    table = table_of(names, classifier)
    classes = class_names_in(values, pretrained, classifier.classes, name)
    usual = {"crop_pct": 1.0 if classifier.image_size[0] == 384 else 0.9}
    preprocess, assumed = read_transform(pretrained or usual, classifier, name)
    assumed = assumed if pretrained else ("preprocessing",)
    if architecture is None:
        assumed += ("picture size", "pooling")
    return Plan(
        LAYOUT,
        classifier,
        preprocess,
        classes.names,
        table,
        zeros=missing_biases(table, shapes, [QKV_BIAS]),
        unused=unused_in(shapes),
        assumed=(*assumed, *classes.assumed),
    )


def _check_architecture(architecture: Any, name: str) -> None:
    if architecture is not None and not usual_windows(architecture):
        raise CheckpointError(
            f"{name}: architecture {architecture!r} is not a Swin of timm that is known here"
        )


def _check_heads(arguments: Mapping[str, Any], sizes: Sizes, name: str) -> None:
    """Hold what is said of heads against the tables, which have a column for each."""
    heads = arguments.get("num_heads")
    if heads is not None and heads != list(sizes.heads):
        raise CheckpointError(f"{name}: num_heads {heads!r}, but the tables have {list(sizes.heads)}")
    given = arguments.get("head_dim")
    usual = [sizes.width * 2**stage // count for stage, count in enumerate(sizes.heads) if count]
    each = given if isinstance(given, list) else [given] * len(usual)
    if len(each) != len(usual) or any(one not in (None, size) for one, size in zip(each, usual, strict=True)):
        raise CheckpointError(f"{name}: head_dim {given!r} is not read, only heads that share the width")


def _backbone(
    sizes: Sizes,
    arguments: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    architecture: str | None,
    name: str,
) -> SwinConfig:
    count = len(sizes.depths)
    wanted = arguments.get("window_size")
    if wanted is None and architecture is not None:
        usual = usual_windows(architecture)
        wanted = usual[0] if len(set(usual)) == 1 else usual
    if wanted is None:
        windows = square_windows(sizes.rows, name)
        size = one_window_at_the_end(windows, sizes.patch)
    else:
        windows = _windows(wanted, count, name)
        size = _size(arguments, pretrained, architecture, name)
    grids = [grid_of(size[0] // sizes.patch, size[1] // sizes.patch, 2**stage) for stage in range(count)]
    rule = "always"
    if not flag(arguments.get("always_partition", False), f"{name}: always_partition"):
        rule = "each_axis"
        windows = tuple(
            (min(window[0], grid[0]), min(window[1], grid[1]))
            for window, grid in zip(windows, grids, strict=True)
        )
    shift = tuple(
        shift_on(grid, window, half(window), rule) if depth > 1 else (0, 0)
        for depth, grid, window in zip(sizes.depths, grids, windows, strict=True)
    )
    ratio = arguments.get("mlp_ratio")
    stated = None if ratio is None or isinstance(ratio, list) else number(ratio, f"{name}: mlp_ratio")
    return SwinConfig(
        width=sizes.width,
        depths=sizes.depths,
        heads=sizes.heads,
        window=simplest(windows),
        shift=shift,
        shift_first=True,
        patch=sizes.patch,
        mlp_ratio=mlp_ratio(sizes, stated, name),
        image_size=size,
        channels=sizes.channels,
        cut_edges=True,
    )


def usual_windows(architecture: Any) -> list[int]:
    """The sides of windows, one for each stage, that a name of timm's stands for; empty for other names."""
    said = architecture if isinstance(architecture, str) else ""
    found = ARCHITECTURE.fullmatch(said)
    return [int(found.group(2))] * 4 if found else list(BY_STAGE.get(said, ()))


def _windows(given: Any, stages: int, name: str) -> tuple[Side, ...]:
    """One window for each stage out of one side, (rows, cols), or one of either for each stage."""
    where = f"{name}: window_size"
    sides = given if isinstance(given, list) else [given]
    if len(sides) == 2 and not isinstance(sides[0], list):
        return (pair(sides, where),) * stages
    if not isinstance(given, list):
        sides = sides * stages
    if len(sides) != stages:
        raise CheckpointError(f"{where}: {len(sides)} windows for {stages} stages")
    return tuple(pair(side, where) for side in sides)


def _size(
    arguments: Mapping[str, Any], pretrained: Mapping[str, Any], architecture: str | None, name: str
) -> Side:
    """The native picture size: the one that is given, or that of the weights where a model is fixed to it."""
    if arguments.get("img_size") is not None:
        return pair(arguments["img_size"], f"{name}: img_size")
    if not pretrained:
        return NATIVE if architecture is None else (int(architecture[-3:]),) * 2
    any_size = arguments.get("strict_img_size") is False or bool(arguments.get("dynamic_img_size"))
    fixed = bool(pretrained.get("fixed_input_size")) and not any_size
    return stated_size({}, pretrained if fixed else {}, name) or NATIVE


def _pool(arguments: Mapping[str, Any], pretrained: Mapping[str, Any], headed: bool, name: str) -> Pool:
    given = arguments.get("global_pool", pretrained.get("global_pool", "avg"))
    if given in MEANS or (given == "" and not headed):
        return "mean"
    raise CheckpointError(f"{name}: global_pool {given!r} is not read; wanted avg")


def _place(rule: str) -> Place:
    """What timm has a place for where it decides on shifts by this rule: "always" is always_partition."""
    return Place(
        shifts=lambda grid, window: shift_on(grid, window, half(window), rule),
        shift_first=True,
        cut_edges=True,
        windows_by_stage=True,
        larger_windows=rule == "always",
        headless=True,
    )


def _best(config: ModelConfig) -> tuple[str, list[str]]:
    """Which of timm's two rules suits a model, and what speaks against it nevertheless."""
    each = [(rule, reasons(config, _place(rule))) for rule in ("each_axis", "always")]
    return min(each, key=lambda found: len(found[1]))


def _reasons(config: ModelConfig) -> list[str]:
    found = _best(config)[1]
    if isinstance(config, ClassifierConfig) and isinstance(config.backbone, SwinConfig):
        for rows, cols in dict.fromkeys(config.backbone.windows):
            offsets = (2 * rows - 1) * (2 * cols - 1)
            if rows != cols and isqrt(offsets) ** 2 == offsets:
                found.append(f"timm takes its table of windows of {rows}x{cols} for one of square windows")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``timm.create_model("local-dir:...", pretrained=True)`` loads.

    Raises:
        CheckpointError: the preprocessing has parts that timm has no place for.
    """
    tensors = scatter(table_of(stage_names, checkpoint.model.config), without_temperature(checkpoint))
    return {"config.json": to_json(_config(checkpoint)), "model.safetensors": weights_file(tensors)}


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.model.config
    swin: SwinConfig = config.backbone
    arguments = {
        "img_size": list(swin.image_size),
        "patch_size": swin.patch,
        "in_chans": swin.channels,
        "num_classes": config.classes,
        "global_pool": "avg",
        "embed_dim": swin.width,
        "depths": list(swin.depths),
        "num_heads": list(swin.heads),
        "window_size": [list(window) for window in swin.windows],
        "always_partition": _best(config)[0] == "always",
        "mlp_ratio": swin.mlp_ratio,
    }
    size = PUBLISHED.get((swin.width, max(swin.depths)), "tiny")
    side = (12, 384) if set(swin.windows) == {(12, 12)} and size in ("base", "large") else (7, 224)
    name = f"swin_{size}_patch4_window{side[0]}_{side[1]}"
    return written_config(checkpoint, name, swin.out_channels, arguments, HEAD)


READER = Reader(LAYOUT, "swin", recognises, plan, tuple(map(stage_names, range(4))))
WRITER = Writer("timm's SwinTransformer", ("swin",), _reasons, write)
