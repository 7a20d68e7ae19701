"""The image processors of transformers' detectors (DETR's and YOLOS'), read and written: the shorter side of
a picture becomes so many pixels unless its longer one would be too long, and nothing is cut off."""

from collections.abc import Mapping
from typing import Any

from vitreous.checkpoints.foreign.fields import integer, section
from vitreous.checkpoints.foreign.plan import IMAGENET_MEAN, IMAGENET_STD
from vitreous.checkpoints.foreign.transformers.processor import Kind, read_steps, write_processor
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import ModelConfig

SHORTEST, LONGEST = 800, 1333
NAMES = ("DetrImageProcessor", "DetrFeatureExtractor", "YolosImageProcessor", "YolosFeatureExtractor")
DETR, YOLOS = NAMES[0], NAMES[2]
MULTIPLES = {1: DETR, 16: YOLOS}  # of pixels, to which the sides are rounded down
# What is done to batches and annotations, not to a picture.
BESIDE = ("do_pad", "pad_and_return_pixel_mask", "do_convert_annotations", "format", "pad_size", "max_size")


def read_sides(
    given: Mapping[str, Any] | None, config: ModelConfig, name: str, usual: str = DETR
) -> Preprocess:
    """What an image processor of these values does to a picture; without any, what the library's own does,
    whose title is ``usual``.

    Raises:
        CheckpointError: another processor, or values that are not read.
    """
    values = {} if given is None else dict(given)
    where = f"{name}/preprocessor_config.json"
    title = str(values.get("image_processor_type", values.get("feature_extractor_type", usual)))
    if title.removesuffix("Fast").removesuffix("Pil") not in NAMES:
        raise CheckpointError(
            f"{where}: image processor {title!r} is not known; wanted one of {', '.join(NAMES)}"
        )
    size = values.get("size", {"shortest_edge": SHORTEST, "longest_edge": values.get("max_size", LONGEST)})
    if isinstance(size, int):  # as older files say it
        size = {"shortest_edge": size, "longest_edge": values.get("max_size", LONGEST)}
    kept = isinstance(size, dict) and set(size) == {"shortest_edge", "longest_edge"}
    rest = {key: value for key, value in values.items() if key not in BESIDE}
    height, width = config.image_size
    rest["size"] = {"height": height, "width": width} if kept else size
    kind = Kind(2, IMAGENET_MEAN, IMAGENET_STD)
    plain = read_steps(rest, kind, config, where)
    if not kept:
        return plain
    sides = section({"size": size}, "size", where)
    shorter, longest = (integer(sides[key], f"{where}: {key}") for key in ("shortest_edge", "longest_edge"))
    try:
        return Preprocess(
            size=plain.size,
            shorter=shorter,
            longest=longest,
            multiple=16 if title.startswith("Yolos") else 1,
            crop_rounding=plain.crop_rounding,
            interpolation=plain.interpolation,
            mean=plain.mean,
            std=plain.std,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def write_sides(preprocess: Preprocess) -> dict[str, Any]:
    """The values with which an image processor does the same.

    Raises:
        CheckpointError: none does.
    """
    if preprocess.squashed is not None or (preprocess.shorter is not None and preprocess.longest is None):
        raise CheckpointError(
            "transformers' image processors of detectors cut nothing off, and this preprocessing does;"
            " convert a model whose preprocessing takes whole pictures"
        )
    if preprocess.multiple not in MULTIPLES:
        raise CheckpointError(
            f"sides are rounded down to multiples of {preprocess.multiple} pixels, and by transformers' image"
            " processors of detectors to those of 16 or of none"
        )
    height, width = preprocess.size
    plain = Preprocess(
        size=(height, width),
        shorter=None,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
    )
    values = write_processor(plain)
    size = {"height": height, "width": width}
    if preprocess.shorter is not None and preprocess.longest is not None:
        size = {"shortest_edge": preprocess.shorter, "longest_edge": preprocess.longest}
    return values | {"image_processor_type": MULTIPLES[preprocess.multiple], "size": size, "do_pad": True}
