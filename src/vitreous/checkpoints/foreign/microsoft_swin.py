"""The authors' own ``.pth`` files of Swin (arXiv:2103.14030) and of its pretraining by SimMIM
(arXiv:2111.09886). Read only.

A file holds no settings. It holds the masks of shifted windows though, which follow from the picture size
and so tell it. How other sizes are shifted, the authors' code does not say; here it is done as transformers
does it, which at the native size is what they do.
"""

from dataclasses import replace

import torch

from vitreous.backbones.config import SwinConfig
from vitreous.checkpoints.foreign.class_names import unnamed
from vitreous.checkpoints.foreign.names import POSITIONS, Names, layer
from vitreous.checkpoints.foreign.plan import (
    MICROSOFT,
    Found,
    Plan,
    Reader,
    imagenet_statistics,
    missing_biases,
    refuse,
    rows_of,
    square_side,
    table_rows,
)
from vitreous.checkpoints.foreign.swin import (
    BUFFERS,
    NOT_SWIN,
    QKV_BIAS,
    Side,
    Sizes,
    mlp_ratio,
    named,
    one_window_at_the_end,
    simplest,
    sizes_in,
    square_windows,
    stages_in,
    table_of,
    unused_in,
)
from vitreous.checkpoints.foreign.timm.swin import MARK, OLD_MERGING, old_stage_names, usual_windows
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ClassifierConfig, SimMIMConfig

SIMMIM = "encoder."  # ahead of the names of a backbone that is pretrained by rebuilding pictures
TABLE = "absolute_pos_embed"
OWN = ("head.weight", TABLE, OLD_MERGING)
PAINTING = {"mask_token": (f"{SIMMIM}mask_token",), **layer("paint", "decoder.0")}


def stage_names(stage: int, prefix: str = "") -> Names:
    """A stage's names: timm's old ones, and a table of positions."""
    names = old_stage_names(stage, prefix)
    return names if stage else replace(names, outside={**names.outside, POSITIONS: (prefix + TABLE,)})


def recognises(found: Found) -> bool:
    """Whether these are the names of the authors' code: timm's, and something that timm does not keep."""
    names = found.stored.described
    own = any(key in names for key in OWN) or any(key.endswith(BUFFERS) for key in names)
    plain = own and any(key.startswith(MARK) for key in names)
    return found.config is None and (plain or any(key.startswith(SIMMIM + MARK) for key in names))


def plan(found: Found, model: str | None) -> Plan:
    """Read what the shapes show; ``model`` is a timm architecture or a name of our catalog.

    Raises:
        CheckpointError: parts that Swin does not have, or sizes that contradict one another.
    """
    shapes, name = found.shapes, found.name
    refuse(shapes, NOT_SWIN, name, "Swin")
    prefix = SIMMIM if any(key.startswith(SIMMIM + MARK) for key in shapes) else ""

    def names(stage: int) -> Names:
        return stage_names(stage, prefix)

    sizes = sizes_in(shapes, stages_in(shapes, names), name)
    windows = square_windows(sizes.rows, name)
    size = _size(found, sizes, windows, prefix)
    told = () if size is not None else ("picture size",)
    size = size or one_window_at_the_end(windows, sizes.patch)
    head = "head.weight"
    try:
        backbone = SwinConfig(
            width=sizes.width,
            depths=sizes.depths,
            heads=sizes.heads,
            window=simplest(windows),
            shift="shorter_axis",
            patch=sizes.patch,
            patch_norm=f"{prefix}patch_embed.norm.weight" in shapes,
            positions="learned" if prefix + TABLE in shapes else "none",
            mlp_ratio=mlp_ratio(sizes, None, name),
            image_size=size,
            channels=sizes.channels,
        )
        classes = rows_of(shapes, head, name) if head in shapes else 0
        classifier = ClassifierConfig(backbone=backbone, classes=classes, pool="mean")
        rebuilds = SimMIMConfig(backbone=backbone)
    except (ConfigError, ArithmeticError) as error:
        raise CheckpointError(f"{name}: {error}") from error
    wanted = usual_windows(model)
    if wanted and wanted[0] != windows[0][0]:
        raise CheckpointError(f"{name}: holds windows of {windows[0][0]}x{windows[0][0]}, unlike {model}")
    chosen = None if wanted else model
    config = named(rebuilds, chosen, name) if prefix else named(classifier, chosen, name)
    table = table_of(names, config) | (PAINTING if prefix else {})
    labels = unnamed(config.classes)
    return Plan(
        MICROSOFT,
        config,
        _preprocess(size, sizes.channels),
        labels.names,
        table,
        zeros=missing_biases(table, shapes, [QKV_BIAS]),
        unused=unused_in(shapes),
        assumed=(*told, "preprocessing", *labels.assumed),
    )


def _size(found: Found, sizes: Sizes, windows: tuple[Side, ...], prefix: str) -> Side | None:
    """The picture size that masks and positions tell; None where neither is there."""
    shapes, name = found.shapes, found.name
    size = None
    for stage, window in enumerate(windows):
        key = f"{prefix}layers.{stage}.blocks.1.attn_mask"
        if key in shapes:
            mask = found.stored.load()[key]
            hidden = mask.flatten(1).any(1) if mask.ndim == 3 else torch.zeros(1)
            # Every window of the last row and the last column is masked somewhere, and no other one.
            cols = 1 + int(hidden.long().argmax()) if hidden.any() else 0
            if not cols or len(hidden) % cols:
                raise CheckpointError(f"{name}: {key} is no mask of shifted windows")
            scale = sizes.patch * 2**stage
            size = len(hidden) // cols * window[0] * scale, cols * window[1] * scale
            break
    if prefix + TABLE in shapes:
        rows = table_rows(shapes, prefix + TABLE, name)
        size = size or square_side(rows, sizes.patch, name)
        if rows != size[0] // sizes.patch * (size[1] // sizes.patch):
            raise CheckpointError(
                f"{name}: {rows} positions do not fit pictures of {size[0]}x{size[1]} pixels"
            )
    return size


def _preprocess(size: Side, channels: int) -> Preprocess:
    """What the authors' code does for evaluation: it crops, but not at the size of fine-tuning."""
    mean, std = imagenet_statistics(channels)
    shorter = None if size == (384, 384) or size[0] != size[1] else int(256 / 224 * size[0])
    return Preprocess(size=size, shorter=shorter, interpolation="bicubic", mean=mean, std=std)


READER = Reader(MICROSOFT, "swin", recognises, plan, tuple(map(stage_names, range(4))))
