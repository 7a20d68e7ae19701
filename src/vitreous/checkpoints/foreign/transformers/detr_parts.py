"""What stands under a DETR of transformers, as parts of a plan and of a directory."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from vitreous.backbones.config import SwinConfig, ViTConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.errors import CheckpointError

BASE = "model.backbone.conv_encoder.model."

Table = dict[str, tuple[str, ...]]
Finish = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class ReadBackbone(NamedTuple):
    """What stands under a DETR, as parts of a plan."""

    config: ViTConfig | SwinConfig | ConvNetBackboneConfig
    table: Table
    zeros: Mapping[str, tuple[int, ...]] = {}
    unused: tuple[str, ...] = ()
    finish: Finish = lambda tensors: tensors


class WrittenBackbone(NamedTuple):
    """``values`` of ``backbone_config``, names, and what has to be done with our tensors ahead of
    renaming."""

    values: dict[str, Any]
    table: Table
    ready: Finish = lambda tensors: tensors


def last_stage(stages: int) -> dict[str, Any]:
    """What ``backbone_config`` says of a backbone whose last map alone is read."""
    names = ["stem", *(f"stage{stage}" for stage in range(1, stages + 1))]
    return {"out_features": [names[-1]], "out_indices": [stages], "stage_names": names}


def refuse_middle(told: Mapping[str, Any], stages: int, where: str) -> None:
    """CheckpointError where the map is not that of the last stage."""
    last = told.get("out_features") or [f"stage{stages}"]
    if not isinstance(last, list) or last[-1] != f"stage{stages}":
        raise CheckpointError(f"{where}: out_features {last!r}; only the last stage, stage{stages}, is read")
