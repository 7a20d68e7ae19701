"""What timm's directories say alike for every family: sizes, activations, class names, and what its
evaluation transform does; read from ``config.json`` and put into it."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from vitreous.backbones.config import Activation
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import ClassNames, unnamed
from vitreous.checkpoints.foreign.fields import integer, number, pair, section
from vitreous.checkpoints.foreign.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LAYER_SCALE,
    Shapes,
    heads_of,
    table_rows,
)
from vitreous.checkpoints.foreign.timm.architectures import USUAL, Architecture, architecture
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.catalog import CATALOG
from vitreous.models.config import ModelConfig, Pool

LAYOUT = "timm"
EPS = 1e-6  # of timm's own LayerNorm, which its ViTs use where their name does not say otherwise

ACTIVATIONS: Mapping[Any, Activation] = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}
POOLS: Mapping[Any, Pool] = {"token": "class", "avg": "mean"}


FAMILIES = {"vit": "a plain ViT", "deit": "a distilled DeiT", "beit": "a BEiT", "dinov3": "a DINOv3"}


def architecture_of(values: Mapping[str, Any], model: str | None, family: str, name: str) -> Architecture:
    """What the architecture's name stands for, from ``config.json`` or, for a bare file, from ``name=``
    where that is no name of our catalog."""
    chosen = values.get("architecture", model if model not in CATALOG else None)
    if chosen is None:
        return USUAL.get(family, Architecture(family=family))
    found = architecture(chosen) if isinstance(chosen, str) else None
    if found is None or found.family != family:
        raise CheckpointError(
            f"{name}: architecture {chosen!r} is not {FAMILIES[family]} of timm that is known here"
        )
    return found


def refuse_arguments(
    arguments: Mapping[str, Any], accounted: Collection[str], off: Collection[str], what: str, name: str
) -> None:
    """CheckpointError for an argument that is neither accounted for nor one of those that are ``off``."""
    for key, value in arguments.items():
        if key in off and value in (False, None):
            continue
        if key not in accounted:
            raise CheckpointError(f"{name}: model_args.{key} {value!r} is not a part of {what}")
    if arguments.get("norm_layer") not in (None, "layernorm"):
        raise CheckpointError(f"{name}: norm_layer {arguments['norm_layer']!r} is not read, only 'layernorm'")


def heads_in(
    arguments: Mapping[str, Any], told: Architecture, model: str | None, width: int, name: str
) -> int:
    """The number of heads, which weights do not show."""
    if arguments.get("num_heads") is not None:
        return integer(arguments["num_heads"], f"{name}: num_heads")
    if model in CATALOG:
        return 1  # ``named`` puts the right number in its place
    return told.heads or heads_of(width, name, gated=told.gated)


def layer_scale_in(shapes: Shapes, key: str, arguments: Mapping[str, Any], name: str) -> float | None:
    """The first value of LayerScale; None where the first block has none under this name."""
    if key not in shapes:
        return None
    given = arguments.get("init_values")
    return LAYER_SCALE if not given else number(given, f"{name}: init_values")


def init_values(layer_scale: float | None) -> float | None:
    """What timm is told of a LayerScale; it takes a first value of 0 for none."""
    return None if layer_scale is None else layer_scale or LAYER_SCALE


def tokens_in(shapes: Shapes, key: str, name: str) -> int:
    """How many tokens a (1, T, D) tensor holds; 0 where it is absent."""
    return table_rows(shapes, key, name) if key in shapes else 0


def pretrained_of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What describes the weights and their pictures; older files keep it at the top level."""
    if "pretrained_cfg" in values:
        return section(values, "pretrained_cfg", name)
    return {key: value for key, value in values.items() if key not in ("architecture", "model_args")}


def stated_size(
    arguments: Mapping[str, Any], pretrained: Mapping[str, Any], name: str
) -> tuple[int, int] | None:
    """The picture size (height, width) that a directory states; None where it does not."""
    if arguments.get("img_size") is not None:
        return pair(arguments["img_size"], f"{name}: img_size")
    size = pretrained.get("input_size")
    if size is None:
        return None
    if not isinstance(size, list | tuple) or len(size) != 3:
        raise CheckpointError(f"{name}: input_size must be channels, height and width, got {size!r}")
    return pair(list(size[1:]), f"{name}: input_size")


def activation_of(arguments: Mapping[str, Any], default: Activation, name: str) -> Activation:
    """What ``act_layer`` says, or what the architecture's name stands for."""
    given = arguments.get("act_layer")
    if given is None:
        return default
    if given not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise CheckpointError(f"{name}: act_layer {given!r} is not known; wanted one of {known}")
    return ACTIVATIONS[given]


def class_names_in(
    values: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    classes: int,
    name: str,
    *,
    by_folder: bool = False,
) -> ClassNames:
    """The names of the classes that a directory tells, or what their number stands for."""
    labels = values.get("label_names") or pretrained.get("label_names") or pretrained.get("labels")
    if not labels or not classes:
        return unnamed(classes, by_folder=by_folder)
    if isinstance(labels, dict):
        if all(isinstance(place, int) for place in labels.values()):
            labels = {str(place): label for label, place in labels.items()}
        labels = [labels[str(index)] for index in range(classes) if str(index) in labels]
    if not isinstance(labels, list) or len(labels) != classes:
        raise CheckpointError(f"{name}: label_names does not name the {classes} classes of the head")
    return ClassNames(tuple(map(str, labels)))


# Ours, beside timm's keys: a timm model of any size may have been made for another than it is shown, and its
# ``input_size`` may be either.
VIEW = "view_size"


def read_transform(
    values: Mapping[str, Any], config: ModelConfig, name: str, *, view: Any = None
) -> tuple[Preprocess, tuple[str, ...]]:
    """What timm's own evaluation transform does with these values, and what of it is assumed.

    ``view`` is the picture size that ``VIEW`` states, where it is not the model's native one.
    """
    size = config.image_size if view is None else pair(view, f"{name}: {VIEW}")
    crop = number(values.get("crop_pct") or 0.875, f"{name}: crop_pct")
    mode = values.get("crop_mode") or "center"
    assumed = () if values else ("preprocessing",)
    if mode not in ("center", "squash") or not 0 < crop <= min(size):
        raise CheckpointError(f"{name}: crop_mode {mode!r} with crop_pct {crop} is not read")
    resized = (math.floor(size[0] / crop), math.floor(size[1] / crop))
    shorter = squashed = None
    if mode == "squash":
        squashed = resized if resized != size else None
    elif size[0] == size[1]:
        shorter = resized[0]
    else:  # timm covers such a size and cuts out its centre; here it is squashed
        assumed = ("preprocessing",)
    try:
        preprocess = Preprocess(
            size=size,
            shorter=shorter,
            squashed=squashed,
            interpolation=values.get("interpolation") or "bicubic",
            mean=_statistic(values.get("mean"), IMAGENET_MEAN, config.channels, f"{name}: mean"),
            std=_statistic(values.get("std"), IMAGENET_STD, config.channels, f"{name}: std"),
        )
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    return preprocess, assumed


def written_transform(preprocess: Preprocess) -> dict[str, Any]:
    """The values with which timm's evaluation transform does the same.

    Raises:
        CheckpointError: no crop of its kinds does.
    """
    common = {
        "interpolation": preprocess.interpolation,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }
    size, shorter, squashed = preprocess.size, preprocess.shorter, preprocess.squashed
    if shorter is None and squashed is None:
        return {**common, "crop_pct": 1.0, "crop_mode": "squash"}
    if squashed is not None:
        crop = None if _cuts_elsewhere(size, squashed, preprocess) else _share(size, squashed)
        how, mode = f"squashing to {squashed[0]}x{squashed[1]}", "squash"
    else:
        crop = _share(size, (shorter, shorter)) if shorter and size[0] == size[1] else None
        how, mode = f"resizing the shorter side to {shorter}", "center"
    if crop is None:
        raise CheckpointError(
            "timm's transform cannot hold this preprocessing:"
            f" a crop of {size[0]}x{size[1]} pixels after {how}"
        )
    return {**common, "crop_pct": crop, "crop_mode": mode}


def written_config(
    checkpoint: Checkpoint,
    architecture: str,
    features: int,
    arguments: Mapping[str, Any],
    classifier: str | list[str] = "head",
) -> dict[str, Any]:
    """The values of a ``config.json``: a model of ``architecture`` made with these ``arguments``, whose
    ``features`` go into the layers named ``classifier``.

    Raises:
        CheckpointError: the preprocessing has a part that timm has no place for.
    """
    config = checkpoint.model.config
    return {
        "architecture": architecture,
        "num_classes": config.classes,
        "num_features": features,
        "global_pool": arguments["global_pool"],
        "model_args": arguments,
        "pretrained_cfg": {
            **written_transform(checkpoint.preprocess),
            "input_size": [config.channels, *checkpoint.preprocess.size],
            "fixed_input_size": True,
            "num_classes": config.classes,
            "first_conv": "patch_embed.proj",
            "classifier": classifier,
            "custom_load": False,
        },
        **({"label_names": list(checkpoint.classes)} if checkpoint.classes else {}),
    }


def mlp_ratio(width: int, mlp_width: int) -> float:
    """The ratio from which ``int(width * ratio)`` makes the MLP's width."""
    ratio = mlp_width / width
    while int(width * ratio) < mlp_width:
        ratio = math.nextafter(ratio, math.inf)
    return ratio


def _share(size: tuple[int, int], resized: tuple[int, int]) -> float | None:
    """The crop_pct from which timm makes the resized sides out of these; None where none gives both."""
    crop = min(wanted / side for wanted, side in zip(size, resized, strict=True))
    while any(math.floor(wanted / crop) < side for wanted, side in zip(size, resized, strict=True)):
        crop = math.nextafter(crop, 0.0)
    found = tuple(math.floor(wanted / crop) for wanted in size)
    return crop if found == resized else None


def _cuts_elsewhere(size: tuple[int, int], squashed: tuple[int, int], preprocess: Preprocess) -> bool:
    """Whether a crop that starts at the lower half pixel starts elsewhere in timm, at the even one."""
    gaps = (side - wanted for side, wanted in zip(squashed, size, strict=True))
    return preprocess.crop_rounding == "down" and any(gap > 0 and gap % 4 == 3 for gap in gaps)


def _statistic(given: Any, default: tuple[float, ...], channels: int, where: str) -> tuple[float, ...]:
    if given is not None and not isinstance(given, list | tuple):
        raise CheckpointError(f"{where}: wanted a list of numbers, got {given!r}")
    values = tuple(number(value, where) for value in given or default)
    if len(values) == 3 and channels == 1:
        return (sum(values) / 3,)  # timm keeps three values for a model of one channel
    return values * channels if len(values) == 1 else values
