"""The residual networks that transformers puts under a DETR, its own and timm's, read and written. Names are
those on disk, ahead of which the model's own stand."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.foreign.fields import flag, integer
from vitreous.checkpoints.foreign.plan import Shapes
from vitreous.checkpoints.foreign.transformers.detr_parts import (
    BASE,
    ReadBackbone,
    Table,
    WrittenBackbone,
    last_stage,
    refuse_middle,
)
from vitreous.errors import CheckpointError
from vitreous.models.convnet_stages import RESNETS

STATISTICS = ("weight", "bias", "running_mean", "running_var")
COUNTED = "num_batches_tracked"
OURS = "backbone."


def read_resnet(shapes: Shapes, told: Mapping[str, Any], where: str) -> ReadBackbone:
    """transformers' own ResNet. CheckpointError for strides that stand elsewhere."""
    refuse_middle(told, len(told.get("depths", (3, 4, 6, 3))), where)
    for key, wanted in (("downsample_in_first_stage", False), ("downsample_in_bottleneck", False)):
        if flag(told.get(key, wanted), f"{where}: {key}") != wanted:
            raise CheckpointError(
                f"{where}: {key} is true, and here the stride stands in the 3x3 convolution"
            )
    if told.get("hidden_act", "relu") != "relu":
        raise CheckpointError(
            f"{where}: hidden_act {told['hidden_act']!r} of a ResNet is not read; wanted relu"
        )
    kind = told.get("layer_type", "bottleneck")
    if kind not in ("bottleneck", "basic"):
        raise CheckpointError(f"{where}: layer_type {kind!r}; wanted bottleneck or basic")
    config = ConvNetBackboneConfig(
        widths=_integers(told.get("hidden_sizes", [256, 512, 1024, 2048]), f"{where}: hidden_sizes"),
        depths=_integers(told.get("depths", [3, 4, 6, 3]), f"{where}: depths"),
        bottleneck=kind == "bottleneck",
        stem_width=integer(told.get("embedding_size", 64), f"{where}: embedding_size"),
        channels=integer(told.get("num_channels", 3), f"{where}: num_channels"),
    )
    return ReadBackbone(config, _residual_table(config), unused=counts_in(shapes, BASE))


def read_timm(shapes: Shapes, told: Mapping[str, Any], where: str) -> ReadBackbone:
    """timm's ResNet by its name. CheckpointError for another name."""
    title = str(told.get("backbone"))
    architecture = title.partition(".")[0]
    if architecture not in RESNETS:
        raise CheckpointError(f"{where}: backbone {title!r} is not read; wanted one of {', '.join(RESNETS)}")
    bottleneck, depths = RESNETS[architecture]
    stride = (told.get("output_stride") or (told.get("backbone_kwargs") or {}).get("output_stride")) or 32
    if stride not in (16, 32):
        raise CheckpointError(f"{where}: output_stride {stride!r}; wanted 16 or 32")
    config = ConvNetBackboneConfig(
        widths=tuple(64 * 2**stage * (4 if bottleneck else 1) for stage in range(4)),
        depths=depths,
        bottleneck=bottleneck,
        dilated=stride == 16,
        channels=integer(told.get("num_channels", 3), f"{where}: num_channels"),
    )
    return ReadBackbone(config, torchvision_table(config, BASE), unused=counts_in(shapes, BASE))


def torchvision_table(config: ConvNetBackboneConfig, base: str) -> Table:
    """Our names to those that torchvision gave a ResNet, and timm and the authors of DETR kept."""
    table: Table = {f"{OURS}stem.weight": (f"{base}conv1.weight",), **_norm("stem_norm", f"{base}bn1")}
    for key in _residual_table(config):
        stage, _, rest = key.removeprefix(f"{OURS}stages.").partition(".")
        if key.startswith(f"{OURS}stages."):
            table[key] = (f"{base}layer{int(stage) + 1}.{rest}",)
    return table


def write_residual(backbone: ConvNetBackboneConfig) -> WrittenBackbone:
    """As transformers' own ResNet."""
    values = {
        "model_type": "resnet",
        "num_channels": backbone.channels,
        "embedding_size": backbone.stem_width,
        "hidden_sizes": list(backbone.widths),
        "depths": list(backbone.depths),
        "layer_type": "bottleneck" if backbone.bottleneck else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }
    return WrittenBackbone(values | last_stage(len(backbone.depths)), _residual_table(backbone), _uncounted)


def counts_in(shapes: Shapes, base: str) -> tuple[str, ...]:
    """How many batches norms have seen, which nobody asks."""
    return tuple(key for key in shapes if key.startswith(base) and key.endswith(COUNTED))


def _norm(ours: str, theirs: str) -> Table:
    return {f"{OURS}{ours}.{leaf}": (f"{theirs}.{leaf}",) for leaf in STATISTICS}


def _convolution(ours: str, norm: str, theirs: str) -> Table:
    return {
        f"{OURS}{ours}.weight": (f"{BASE}{theirs}.convolution.weight",),
        **_norm(norm, f"{BASE}{theirs}.normalization"),
    }


def _residual_table(config: ConvNetBackboneConfig) -> Table:
    """Our names to those of transformers' ResNet."""
    table = _convolution("stem", "stem_norm", "embedder.embedder")
    width = config.stem_width
    for stage, (out, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        for block in range(depth):
            ours, theirs = f"stages.{stage}.{block}", f"encoder.stages.{stage}.layers.{block}"
            for part in range(3 if config.bottleneck else 2):
                table |= _convolution(
                    f"{ours}.conv{part + 1}", f"{ours}.bn{part + 1}", f"{theirs}.layer.{part}"
                )
        first = f"stages.{stage}.0.downsample"
        # Strides halve the grid from the second stage on; a dilated stage changes its width alone.
        if width != out or (stage and config.strides[stage] > config.strides[stage - 1]):
            table |= _convolution(f"{first}.0", f"{first}.1", f"encoder.stages.{stage}.layers.0.shortcut")
        width = out
    return table


def _integers(given: Any, where: str) -> tuple[int, ...]:
    if not isinstance(given, list):
        raise CheckpointError(f"{where}: wanted a list of whole numbers, got {given!r}")
    return tuple(integer(value, where) for value in given)


def _uncounted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if not key.endswith(COUNTED)}
