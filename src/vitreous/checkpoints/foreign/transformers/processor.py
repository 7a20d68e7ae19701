"""transformers' ``preprocessor_config.json``, read and written: what an image processor does."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vitreous.checkpoints.foreign.fields import flag, integer, number, pair
from vitreous.checkpoints.foreign.plan import IMAGENET_MEAN, IMAGENET_STD
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ModelConfig, family_of

RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Kind(NamedTuple):
    """What an image processor does where its file leaves a key out."""

    resample: int = 2
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    squashes: bool = True  # the whole picture to the size, where that is one number; else the shorter side
    size: int = 224
    crops: bool = False  # cuts out the centre
    crop: int | None = None  # pixels of that centre


KINDS: Mapping[str, Kind] = {
    "ViTImageProcessor": Kind(),
    "ViTFeatureExtractor": Kind(),
    "DeiTImageProcessor": Kind(3, size=256, crops=True, crop=224),
    "DeiTFeatureExtractor": Kind(3, size=256, crops=True, crop=224),
    "BeitImageProcessor": Kind(3, crop=224),
    "BeitFeatureExtractor": Kind(3, crop=224),
    "CLIPImageProcessor": Kind(3, CLIP_MEAN, CLIP_STD, squashes=False, crops=True, crop=224),
    "CLIPFeatureExtractor": Kind(3, CLIP_MEAN, CLIP_STD, squashes=False, crops=True, crop=224),
    "BitImageProcessor": Kind(3, CLIP_MEAN, CLIP_STD, squashes=False, crops=True, crop=224),  # of DINOv2
    "DINOv3ViTImageProcessor": Kind(2, IMAGENET_MEAN, IMAGENET_STD),
    "SegformerImageProcessor": Kind(2, IMAGENET_MEAN, IMAGENET_STD, size=512),
    "SegformerFeatureExtractor": Kind(2, IMAGENET_MEAN, IMAGENET_STD, size=512),
}
# What older files, which do not name their processor, were written by; others by ViT's.
UNNAMED = {"deit": "DeiTImageProcessor", "beit": "BeitImageProcessor", "dinov2": "BitImageProcessor"}
UNNAMED |= dict.fromkeys(("segformer", "mit"), "SegformerImageProcessor")
OFF = ("do_pad", "do_grayscale", "do_flip_channel_order")


def read_processor(values: Mapping[str, Any], config: ModelConfig, name: str) -> Preprocess:
    """What an image processor with these values does to a picture; its defaults are ViTImageProcessor's."""
    where = f"{name}/preprocessor_config.json"
    return read_steps(values, _kind(values, family_of(config), where), config, where)


def read_steps(values: Mapping[str, Any], kind: Kind, config: ModelConfig, where: str) -> Preprocess:
    """What values that are ``kind``'s where they are left out do to a picture; ``where`` they stand."""
    for key in OFF:
        if values.get(key):
            raise CheckpointError(f"{where}: {key} is not read; wanted it false or left out")
    for key in ("do_resize", "do_rescale"):
        if not _does(values, key, True, where):
            raise CheckpointError(f"{where}: {key} is false, so it does not say what the model sees")
    factor = number(values.get("rescale_factor", 1 / 255), f"{where}: rescale_factor")
    if abs(factor * 255 - 1) > 1e-6:
        raise CheckpointError(f"{where}: rescale_factor {factor} is not read, only 1/255")
    sides = _sides(values, config, kind, where)
    mean, std = _statistics(values, kind, config.channels, where)
    resample = values.get("resample", kind.resample)
    if resample not in RESAMPLE:
        raise CheckpointError(f"{where}: resample {resample!r} is not read; wanted 0, 1, 2 or 3")
    try:
        return Preprocess(
            size=sides.size,
            shorter=sides.shorter,
            squashed=sides.squashed,
            crop_rounding="down" if sides.shorter or _half_a_pixel(sides.size, sides.squashed) else "even",
            interpolation=RESAMPLE[resample],
            mean=mean,
            std=std,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _kind(values: Mapping[str, Any], family: str, where: str) -> Kind:
    usual = UNNAMED.get(family.partition("_")[0], "ViTImageProcessor")
    name = str(values.get("image_processor_type", values.get("feature_extractor_type", usual)))
    plain = name.removesuffix("Fast").removesuffix("Pil")
    if values and plain not in KINDS:
        raise CheckpointError(
            f"{where}: image processor {name!r} is not known; wanted one of {', '.join(KINDS)}"
        )
    return KINDS.get(plain, Kind())


def _does(values: Mapping[str, Any], key: str, default: bool, where: str) -> bool:
    """A step that is done or not; null, which some files say, is not the default but no."""
    given = values.get(key, default)
    return given is not None and flag(given, f"{where}: {key}")


class _Sides(NamedTuple):
    size: tuple[int, int]
    shorter: int | None = None
    squashed: tuple[int, int] | None = None


def _sides(values: Mapping[str, Any], config: ModelConfig, kind: Kind, where: str) -> _Sides:
    """The view's size, and what a picture is resized to before that is cut out of it."""
    size = values.get("size", kind.size if values else list(config.image_size))
    if isinstance(size, int) and "default_to_square" in values:
        kind = kind._replace(squashes=_does(values, "default_to_square", True, where))
    cropped = _does(values, "do_center_crop", kind.crops, where)
    kept = isinstance(size, dict) and set(size) == {"shortest_edge"}
    if not cropped and (kept or (isinstance(size, int) and not kind.squashes)):
        raise CheckpointError(f"{where}: shortest_edge without do_center_crop gives pictures of many sizes")
    if not cropped:
        return _Sides(pair(size, f"{where}: size"))
    crop = values.get("crop_size", kind.crop)
    if crop is None:
        raise CheckpointError(f"{where}: do_center_crop without crop_size")
    view = pair(crop, f"{where}: crop_size")
    if kept or (isinstance(size, int) and not kind.squashes):
        shorter = integer(size["shortest_edge"] if kept else size, f"{where}: size")
        if max(view) > shorter:
            # Where half a pixel is left over, the library's own two ways of cutting differ.
            raise CheckpointError(
                f"{where}: crop_size {view[0]}x{view[1]} is larger than the shorter side of {shorter} pixels;"
                " wanted a crop that fits into it"
            )
        return _Sides(view, shorter=shorter)
    squashed = pair(size, f"{where}: size")
    if view[0] > squashed[0] or view[1] > squashed[1]:
        raise CheckpointError(
            f"{where}: crop_size {view[0]}x{view[1]} is larger than size {squashed[0]}x{squashed[1]}"
        )
    return _Sides(view, squashed=None if view == squashed else squashed)


def _half_a_pixel(size: tuple[int, int], squashed: tuple[int, int] | None) -> bool:
    """Whether the centre starts elsewhere where half pixels are rounded down than at the even neighbour."""
    return any((side - wanted) % 4 == 3 for side, wanted in zip(squashed or size, size, strict=True))


def _statistics(
    values: Mapping[str, Any], kind: Kind, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not _does(values, "do_normalize", True, where):
        return (0.0,) * channels, (1.0,) * channels
    both = []
    for key, default in (("image_mean", kind.mean), ("image_std", kind.std)):
        # Of a model of one channel the three default values are one, their mean.
        usual = list(default) if channels == 3 else [sum(default) / 3] * channels
        given = values.get(key, usual)
        many = given if isinstance(given, list) else [given] * channels
        both.append(tuple(number(value, f"{where}: {key}") for value in many))
    return both[0], both[1]


def write_processor(preprocess: Preprocess, crops: str = "CLIPImageProcessor") -> dict[str, Any]:
    """The values with which an image processor does the same; ``crops`` is the one that cuts, if it must.

    Raises:
        CheckpointError: none does.
    """
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
            "image_processor_type": crops,
            "size": {"shortest_edge": preprocess.shorter},
            "do_center_crop": True,
            "crop_size": {"height": height, "width": width},
            "do_convert_rgb": len(preprocess.mean) == 3,
        }
    if preprocess.squashed is not None:
        down, across = preprocess.squashed
        earlier = preprocess.crop_rounding == "even" and _half_a_pixel(preprocess.size, preprocess.squashed)
        if earlier or height > down or width > across:
            raise CheckpointError(
                "transformers' image processors cannot hold this preprocessing: they would cut a centre of"
                f" {height}x{width} pixels out of {down}x{across} at another place"
            )
        values |= {
            "image_processor_type": "DeiTImageProcessor",
            "size": {"height": down, "width": across},
            "do_center_crop": True,
            "crop_size": {"height": height, "width": width},
        }
    return values
