"""Mix Transformers, counted stage by stage: P tokens of a stage, N those of its coarser grid of keys and
values; D width; M MLP width."""

from typing import NamedTuple

from vitreous.backbones.config import MiTConfig
from vitreous.models.accounting.plain import FLOAT_BYTES, Account


class _Stage(NamedTuple):
    """One stage at one picture size."""

    depth: int
    channels: int  # of the map before
    kernel: int
    width: int  # D
    hidden: int  # M
    heads: int
    reduction: int
    tokens: int  # P
    keys: int  # N

    @property
    def floats(self) -> int:
        """Of its map."""
        return self.tokens * self.width


def account_mix_transformer(mit: MiTConfig, image_size: tuple[int, int]) -> Account:
    """Count a Mix Transformer without a head. ``tokens`` and ``patches`` are those of its first stage."""
    stages = _stages(mit, image_size)
    attention = sum(2 * stage.depth * stage.tokens * stage.keys * stage.width for stage in stages)
    return Account(
        parameters=sum(map(_parameters, stages)),
        tokens=stages[0].tokens,
        patches=stages[0].tokens,
        macs=sum(map(_linear_macs, stages)) + attention,
        attention_macs=attention,
        forward_bytes=FLOAT_BYTES * _forward_floats(stages),
        training_bytes=FLOAT_BYTES
        * (mit.channels * image_size[0] * image_size[1] + sum(map(_training_floats, stages))),
    )


def map_places(mit: MiTConfig, image_size: tuple[int, int]) -> tuple[int, ...]:
    """How many cells each stage's map has."""
    return tuple(rows * cols for rows, cols in mit.grids_at(image_size))


def _stages(mit: MiTConfig, image_size: tuple[int, int]) -> list[_Stage]:
    stages = []
    for index, (rows, cols) in enumerate(mit.grids_at(image_size)):
        reduction = mit.reductions[index]
        stages.append(
            _Stage(
                depth=mit.depths[index],
                channels=mit.widths[index - 1] if index else mit.channels,
                kernel=mit.kernels[index],
                width=mit.widths[index],
                hidden=mit.mlp_widths[index],
                heads=mit.heads[index],
                reduction=reduction,
                tokens=rows * cols,
                keys=max(1, rows // reduction) * max(1, cols // reduction),
            )
        )
    return stages


def _parameters(stage: _Stage) -> int:
    width, hidden = stage.width, stage.hidden
    reduced = (stage.reduction**2 * width**2 + 3 * width) * (stage.reduction > 1)
    attention = 4 * width**2 + 4 * width + reduced
    mlp = 2 * width * hidden + hidden + 10 * hidden + width
    patches = stage.channels * stage.kernel**2 * width + 3 * width
    return patches + stage.depth * (4 * width + attention + mlp) + 2 * width


def _linear_macs(stage: _Stage) -> int:
    """All that grows linearly with the tokens."""
    width, hidden = stage.width, stage.hidden
    block = stage.tokens * (2 * width**2 + 2 * width * hidden + 9 * hidden) + stage.keys * 2 * width**2
    if stage.reduction > 1:
        block += stage.keys * stage.reduction**2 * width**2
    return stage.tokens * stage.channels * stage.kernel**2 * width + stage.depth * block


def _forward_floats(stages: list[_Stage]) -> int:
    """The most that one block holds, beside the maps of the stages before. Inside the MLP: what the block was
    given, the stream after attention, its normalised tokens, and the hidden layer twice. Inside attention:
    the first, normalised tokens, queries, what is mixed of the values and its projection; keys and values."""
    most, maps = 0, 0
    for stage in stages:
        mlp = 3 * stage.floats + 2 * stage.tokens * stage.hidden
        attention = 5 * stage.floats + 2 * stage.keys * stage.width
        most = max(most, maps + mlp, maps + attention)
        maps += stage.floats
    return most


def _training_floats(stage: _Stage) -> int:
    """Each block keeps: two inputs of norms, two normalised, queries, what was mixed, and its log-sum-exp;
    keys and values, and where they are of a coarser grid its tokens before and after their norm; two numbers
    a norm and token; the hidden layer before, between and after its convolution and its activation. A stage
    keeps the inputs of its own two norms and its map."""
    width = stage.width
    tokens = 6 * width + stage.heads + 4 + 3 * stage.hidden
    keys = 2 * width + (2 * width + 2) * (stage.reduction > 1)
    return stage.depth * (stage.tokens * tokens + stage.keys * keys) + stage.tokens * (3 * width + 4)
