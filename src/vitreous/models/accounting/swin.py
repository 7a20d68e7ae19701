"""Models on Swin, counted stage by stage: P tokens of a stage, P' those of its whole windows, N tokens of one
window; D width; M MLP width; K classes; p patch side."""

from typing import NamedTuple

from vitreous.backbones.config import SwinConfig
from vitreous.layers.geometry import shift_on, whole_windows
from vitreous.models.accounting.plain import FLOAT_BYTES, Account
from vitreous.models.config import ClassifierConfig, SimMIMConfig


class _Stage(NamedTuple):
    """One stage at one picture size."""

    depth: int
    width: int  # D
    hidden: int  # M
    heads: int
    tokens: int  # P
    padded: int  # P'
    window: int  # N
    offsets: int  # rows of the table
    shifted: bool
    native: bool  # the mask of its shifted windows is there before


def account_swin(config: ClassifierConfig | SimMIMConfig, image_size: tuple[int, int]) -> Account:
    """Count a model on Swin. The grid is padded to whole windows for attention, and to even sides for
    merging; what is padded is computed, and so it is counted."""
    swin = config.backbone
    assert isinstance(swin, SwinConfig)
    stages = _stages(swin, image_size)
    first, last = stages[0], stages[-1]
    attention = sum(stage.depth * 2 * stage.padded * stage.window * stage.width for stage in stages)
    macs = first.tokens * swin.channels * swin.patch**2 * first.width + attention
    for stage, before in zip(stages, (None, *stages), strict=False):
        linear = 4 * stage.width**2 * stage.padded + 2 * stage.width * stage.hidden * stage.tokens
        macs += stage.depth * linear
        if before is not None:
            macs += stage.tokens * 4 * before.width * stage.width
    if isinstance(config, SimMIMConfig):
        painted = (swin.patch * 2 ** (len(stages) - 1)) ** 2 * swin.channels
        head, head_macs = first.width + (last.width + 1) * painted, last.tokens * last.width * painted
    else:
        head, head_macs = _head(config, last.width)
    return Account(
        parameters=_backbone_parameters(swin, stages) + head,
        tokens=first.tokens,
        patches=first.tokens,
        macs=macs + head_macs,
        attention_macs=attention,
        forward_bytes=FLOAT_BYTES * _forward_floats(stages),
        training_bytes=FLOAT_BYTES * _training_floats(swin, stages),
    )


def _stages(swin: SwinConfig, image_size: tuple[int, int]) -> list[_Stage]:
    rule = "always" if isinstance(swin.shift, tuple) else swin.shift
    stages, native = [], swin.grids_at(swin.image_size)
    for index, (rows, cols) in enumerate(swin.grids_at(image_size)):
        window = swin.windows[index]
        high, wide = whole_windows(rows, cols, window)
        stages.append(
            _Stage(
                depth=swin.depths[index],
                width=swin.widths[index],
                hidden=swin.mlp_widths[index],
                heads=swin.heads[index],
                tokens=rows * cols,
                padded=high * wide,
                window=window[0] * window[1],
                offsets=(2 * window[0] - 1) * (2 * window[1] - 1),
                shifted=swin.depths[index] > 1
                and any(shift_on((rows, cols), window, swin.shifts[index], rule)),
                native=(rows, cols) == native[index],
            )
        )
    return stages


def _backbone_parameters(swin: SwinConfig, stages: list[_Stage]) -> int:
    count = swin.channels * swin.patch**2 * swin.width + swin.width + 2 * swin.width * swin.patch_norm
    if swin.positions == "learned":
        count += swin.grid[0] * swin.grid[1] * swin.width
    for stage, before in zip(stages, (None, *stages), strict=False):
        width, hidden = stage.width, stage.hidden
        attention = 4 * width**2 + 4 * width + stage.offsets * stage.heads
        mlp = 2 * width * hidden + hidden + width
        count += stage.depth * (2 * 2 * width + attention + mlp)
        if before is not None:
            count += 2 * 4 * before.width + 4 * before.width * width
    return count + 2 * stages[-1].width


def _head(config: ClassifierConfig, width: int) -> tuple[int, int]:
    """The parameters and the MACs of what stands on the pooled map."""
    hidden = width**2 if config.head == "mlp" and config.classes else 0
    biases = (width if hidden else 0) + config.classes
    macs = hidden + width * config.classes
    return 2 * width * config.pool_norm + macs + biases, macs


def _forward_floats(stages: list[_Stage]) -> int:
    """The most that one block holds, beside the maps of the stages before. Inside the MLP: what the stage and
    the block were given, the stream after attention, its normalised tokens, and the hidden layer twice.
    Inside attention: the first two, normalised tokens; and of the windows the tokens, queries, keys, values,
    what is mixed of them and its projection, and what is added to the scores."""
    most, maps = 0, 0
    for stage in stages:
        width, tokens = stage.width, stage.tokens
        given = tokens * width * min(2, stage.depth)
        mlp = given + tokens * 2 * (width + stage.hidden)
        added = stage.heads * stage.window**2
        if stage.shifted:
            added = stage.padded * stage.window * (stage.heads + (not stage.native))
        attention = given + tokens * width + stage.padded * 6 * width + added
        most = max(most, maps + mlp, maps + attention)
        maps += tokens * width
    return most


def _training_floats(swin: SwinConfig, stages: list[_Stage]) -> int:
    """Each block keeps: two inputs of norms and one normalised; windows, queries, keys, values, attention's
    weights and output; two numbers a norm and token; the hidden layer twice; and where tokens went."""
    floats = stages[0].tokens * (swin.patch**2 * swin.channels + stages[0].width)
    for stage, before in zip(stages, (None, *stages), strict=False):
        tokens = stage.tokens * (3 * stage.width + 2 * stage.hidden + 4 + 2)
        windows = stage.padded * (5 * stage.width + stage.heads * stage.window + 2)
        floats += stage.depth * (tokens + windows)
        if before is not None:
            floats += stage.tokens * (2 * 4 * before.width + 2)
    return floats + stages[-1].tokens * stages[-1].width
