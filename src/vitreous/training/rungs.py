"""Less deep versions of a model, and how what they cost adds up to what the whole one costs.

Blocks of one kind cost alike, so costs are linear in the depth: two depths tell all others. A model with
several depths (Swin's stages, the encoder and the decoder of MAE) is made deeper along each of them in turn.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from vitreous.backbones.config import MiTConfig, SwinConfig, ViTConfig
from vitreous.models.config import MAEConfig, ModelConfig

STEP = 2  # blocks between two depths; Swin's shift in pairs


class Rung(NamedTuple):
    """A version of a model, and how often its costs count in those of the whole."""

    config: ModelConfig
    share: float


def rungs(config: ModelConfig) -> list[Rung]:
    """The versions of a model: costs times shares, added up, are those of the whole. A model that has no
    blocks of one kind is its only version."""
    depths, least = depths_of(config), _least(config)
    found = [Rung(with_depths(config, least), 1.0)]
    for place, (depth, low) in enumerate(zip(depths, least, strict=True)):
        if depth == low:
            continue
        high = min(depth, low + STEP)
        share = (depth - low) / (high - low)
        deeper = (*least[:place], high, *least[place + 1 :])
        found.append(Rung(with_depths(config, deeper), share))
        found[0] = found[0]._replace(share=found[0].share - share)
    return found


def depths_of(config: ModelConfig) -> tuple[int, ...]:
    """How many blocks of each kind a model has; none where its layers are all of their own kind."""
    backbone = getattr(config, "backbone", None)
    if isinstance(backbone, SwinConfig | MiTConfig):
        return backbone.depths
    if not isinstance(backbone, ViTConfig):
        return ()
    return (backbone.depth, config.decoder_depth) if isinstance(config, MAEConfig) else (backbone.depth,)


def with_depths(config: ModelConfig, depths: Sequence[int]) -> ModelConfig:
    """The same model with other numbers of blocks, in the order of ``depths_of``."""
    backbone: Any = getattr(config, "backbone", None)
    if isinstance(backbone, SwinConfig | MiTConfig):
        changed: Any = replace(backbone, depths=tuple(depths))
    elif isinstance(backbone, ViTConfig):
        changed = replace(backbone, depth=depths[0])
    else:
        return config
    shape: Any = replace(config, backbone=changed)
    return replace(shape, decoder_depth=depths[1]) if isinstance(config, MAEConfig) else shape


def least_options(config: ModelConfig) -> dict[str, Any]:
    """The options of a catalog name that make the least deep version of it."""
    least = _least(config)
    if isinstance(getattr(config, "backbone", None), SwinConfig | MiTConfig):
        return {"depths": least}
    return dict(zip(("depth", "decoder_depth"), least, strict=False))


def _least(config: ModelConfig) -> tuple[int, ...]:
    pairs = isinstance(getattr(config, "backbone", None), SwinConfig)
    return tuple(min(depth, STEP if pairs else 1) for depth in depths_of(config))
