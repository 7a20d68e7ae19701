"""torchvision's ``SwinTransformer``: a bare ``.pth`` of weights, or the directory that we write.

torchvision decides for each picture and each axis how far windows are shifted: not at all where one covers
the axis. The two lines that load what we write are

    model = SwinTransformer(**json.load(open("config.json"))["swin_transformer"])
    model.load_state_dict(safetensors.torch.load_file("model.safetensors"))
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from vitreous.backbones.config import ShiftRule, SwinConfig
from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.fields import number, pair, section
from vitreous.checkpoints.foreign.names import NORM, PATCHES, RELATIVE_INDEX, Names, layer, scatter
from vitreous.checkpoints.foreign.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Found,
    Plan,
    Reader,
    refuse,
    rows_of,
)
from vitreous.checkpoints.foreign.swin import (
    BLOCKS,
    NOT_SWIN,
    PATCH_NORM,
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
from vitreous.checkpoints.foreign.torchvision.common import LAYOUT, told, written
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.attention_bias import relative_index
from vitreous.layers.geometry import shift_on
from vitreous.models.config import ClassifierConfig, ModelConfig

SECTION = "swin_transformer"
MARK = "features.1.0.attn.qkv.weight"
RULE: ShiftRule = "each_axis"
PLACE = Place(
    shifts=lambda grid, window: shift_on(grid, window, half(window), RULE),
    cut_edges=True,
    any_channels=False,
)
SHORTER = {(96, 6): 232, (96, 18): 246, (128, 18): 238}  # side of pictures when weights were measured


def stage_names(stage: int) -> Names:
    """A stage's names; what merges is counted among the stages."""
    outside = {
        **layer(PATCHES, "features.0.0"),
        **layer(PATCH_NORM, "features.0.2"),
        **layer(NORM, "norm"),
        **layer("head", "head"),
    }
    return Names(
        outside=merging(stage, f"features.{2 * stage}") if stage else outside,
        block=f"features.{2 * stage + 1}.{{}}",
        inside=inside("attn", ("mlp.0", "mlp.3")),
        ours=BLOCKS.format(stage),
    )


def recognises(found: Found) -> bool:
    """Whether these are the names of a torchvision Swin, or of its second version, which is refused."""
    return MARK in found.stored.described


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes, and the rest from ``config`` where we have written one.

    Raises:
        CheckpointError: parts that Swin does not have, or windows whose sides nothing tells.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_SWIN, name, "Swin")
    stages = stages_in(shapes, stage_names)
    sizes = sizes_in(shapes, stages, name)
    values = None if found.config is None else section(found.config, SECTION, name)
    if values is not None and not values:
        raise CheckpointError(
            f"{name}/config.json: it says nothing of a {SECTION}; give the file of weights alone"
        )
    windows = _windows(found, sizes, values)
    size = one_window_at_the_end(windows, sizes.patch)
    ratio = None
    if values is not None:
        where = f"{name}/config.json"
        size = pair((found.config or {}).get("image_size"), f"{where}: image_size")
        ratio = number(values.get("mlp_ratio", 4.0), f"{where}: mlp_ratio")
    try:
        classifier = ClassifierConfig(
            backbone=SwinConfig(
                width=sizes.width,
                depths=sizes.depths,
                heads=sizes.heads,
                window=simplest(windows),
                shift=RULE,
                patch=sizes.patch,
                mlp_ratio=mlp_ratio(sizes, ratio, name),
                image_size=size,
                channels=sizes.channels,
                cut_edges=True,
            ),
            classes=rows_of(shapes, "head.weight", name),
            pool="mean",
        )
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    classifier = named(classifier, model, name)
    table = table_of(stage_names, classifier)
    if found.config is None:
        labels = unnamed(classifier.classes)
        classes, preprocess = labels.names, _preprocess(sizes, size)
        assumed: tuple[str, ...] = ("picture size", "preprocessing", *labels.assumed)
    else:
        preprocess, classes, assumed = *told(found.config, f"{name}/config.json"), ()
    return Plan(LAYOUT, classifier, preprocess, classes, table, unused=unused_in(shapes), assumed=assumed)


def _windows(found: Found, sizes: Sizes, values: Mapping[str, Any] | None) -> tuple[Side, ...]:
    """Of all stages alike. Sides that differ are in the file, as which offset belongs to which two tokens."""
    count = len(sizes.rows)
    if values is not None:
        return (pair(values.get("window_size"), f"{found.name}/config.json: window_size"),) * count
    key = f"features.1.0.attn.{RELATIVE_INDEX}"
    shape = found.shapes.get(key, ())
    area = isqrt(shape[0]) if len(shape) == 1 else 0  # N^2 numbers for windows of N tokens
    both = (4 * area + 1 - sizes.rows[0]) // 2  # h + w, for (2 h - 1) (2 w - 1) offsets
    apart = isqrt(max(0, both**2 - 4 * area))  # the difference of h and w
    short, long = (both - apart) // 2, (both + apart) // 2
    if short < 2 or short == long or short * long != area:
        return square_windows(sizes.rows, found.name)
    index = found.stored.load()[key]
    # From the first token to the next ones the offset falls by one in a row, and by more into the next row.
    narrow = int(index[0] - index[short]) != short
    return ((long, short) if narrow else (short, long),) * count


def _preprocess(sizes: Sizes, size: Side) -> Preprocess:
    """What torchvision's published weights of this size were measured with."""
    shorter = SHORTER.get((sizes.width, max(sizes.depths)), 232)
    return Preprocess(
        size=size,
        shorter=round(shorter * min(size) / 224),
        interpolation="bicubic",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def _reasons(config: ModelConfig) -> list[str]:
    found = reasons(config, PLACE)
    if isinstance(config, ClassifierConfig) and config.backbone.depth == 1:
        found.append("it has one block, and torchvision divides by the others")
    return found


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that torchvision's class can be filled from."""
    config = checkpoint.model.config
    swin: SwinConfig = config.backbone
    tensors = scatter(table_of(stage_names, config), without_temperature(checkpoint))
    index = relative_index(*swin.windows[0]).flatten()
    for stage, depth in enumerate(swin.depths):
        for block in range(depth):
            tensors[f"{stage_names(stage).block.format(block)}.attn.{RELATIVE_INDEX}"] = index.clone()
    values = {
        "layout": LAYOUT,
        SECTION: {
            "patch_size": [swin.patch, swin.patch],
            "embed_dim": swin.width,
            "depths": list(swin.depths),
            "num_heads": list(swin.heads),
            "window_size": list(swin.windows[0]),
            "mlp_ratio": swin.mlp_ratio,
            "num_classes": config.classes,
        },
        "image_size": list(swin.image_size),
        **written(checkpoint),
    }
    return {"config.json": to_json(values), "model.safetensors": weights_file(tensors)}


READER = Reader(LAYOUT, "swin", recognises, plan, tuple(map(stage_names, range(4))))
WRITER = Writer("torchvision's SwinTransformer", ("swin",), _reasons, write)
