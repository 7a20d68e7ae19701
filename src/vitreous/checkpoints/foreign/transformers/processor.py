"""transformers' ``preprocessor_config.json``, read and written: what an image processor does."""

from collections.abc import Mapping
from typing import Any

from vitreous.checkpoints.foreign.fields import flag, integer, number, pair
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ModelConfig

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def read_processor(values: Mapping[str, Any], config: ModelConfig, name: str) -> Preprocess:
    """What an image processor with these values does to a picture; its defaults are ViTImageProcessor's."""
    where = f"{name}/preprocessor_config.json"
    kind = str(values.get("image_processor_type", values.get("feature_extractor_type", "")))
    if values and not kind.startswith(("ViTImageProcessor", "ViTFeatureExtractor", "CLIPImageProcessor")):
        raise CheckpointError(
            f"{where}: image processor {kind!r} is not known; wanted ViTImageProcessor or CLIPImageProcessor"
        )
    for key in ("do_resize", "do_rescale"):
        if not flag(values.get(key, True), f"{where}: {key}"):
            raise CheckpointError(f"{where}: {key} is false, so it does not say what the model sees")
    factor = number(values.get("rescale_factor", 1 / 255), f"{where}: rescale_factor")
    if abs(factor * 255 - 1) > 1e-6:
        raise CheckpointError(f"{where}: rescale_factor {factor} is not read, only 1/255")
    size, shorter = _sizes(values, config, kind, where)
    mean, std = _statistics(values, config.channels, where)
    resample = values.get("resample", 3 if kind.startswith("CLIP") else 2)
    if resample not in RESAMPLE:
        raise CheckpointError(f"{where}: resample {resample!r} is not read; wanted 0, 1, 2 or 3")
    try:
        return Preprocess(
            size=size,
            shorter=shorter,
            crop_rounding="even" if shorter is None else "down",
            interpolation=RESAMPLE[resample],
            mean=mean,
            std=std,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _sizes(
    values: Mapping[str, Any], config: ModelConfig, kind: str, where: str
) -> tuple[tuple[int, int], int | None]:
    size = values.get("size", list(config.image_size))
    clip = kind.startswith("CLIP")
    cropped = flag(values.get("do_center_crop", clip), f"{where}: do_center_crop")
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        shorter = integer(size["shortest_edge"], f"{where}: shortest_edge")
    elif isinstance(size, int) and clip:
        shorter = size
    elif cropped:
        raise CheckpointError(f"{where}: a crop after squashing is not read")
    else:
        return pair(size, f"{where}: size"), None
    if not cropped:
        raise CheckpointError(f"{where}: shortest_edge without do_center_crop gives pictures of many sizes")
    return pair(values.get("crop_size", shorter), f"{where}: crop_size"), shorter


def _statistics(
    values: Mapping[str, Any], channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not flag(values.get("do_normalize", True), f"{where}: do_normalize"):
        return (0.0,) * channels, (1.0,) * channels
    both = []
    for key in ("image_mean", "image_std"):
        given = values.get(key, 0.5)
        many = given if isinstance(given, list) else [given] * channels
        both.append(tuple(number(value, f"{where}: {key}") for value in many))
    return both[0], both[1]


def write_processor(preprocess: Preprocess) -> dict[str, Any]:
    """The values with which an image processor does the same."""
    height, width = preprocess.size
    numbers = {label: number for number, label in RESAMPLE.items()}
    values: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": numbers[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
    if preprocess.shorter is not None:
        # ViTImageProcessor learnt to crop in transformers 5 only; CLIP's has always done both.
        values |= {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": preprocess.shorter},
            "do_center_crop": True,
            "crop_size": {"height": height, "width": width},
            "do_convert_rgb": len(preprocess.mean) == 3,
        }
    return values
