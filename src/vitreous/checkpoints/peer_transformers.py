"""transformers' own loaders: which of its classes are compared, and where their answers stand.

What a file says of itself only ever chooses from the table below; whatever it asks for beside that, code
that is fetched and run is not among it. Shapes: B pictures; C channels; P patches; p patch side.
"""

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from vitreous.checkpoints.directory import read_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.peer import Hidden, NotRun, Peer, Transform, require
from vitreous.models.config import (
    DeiTConfig,
    MAEConfig,
    MaskedTokensConfig,
    SimMIMConfig,
)


class _Known(NamedTuple):
    """A class of transformers: how it is loaded, and where its answer stands. ``remembers`` where pictures
    of one size change what it does to those of another."""

    loader: str
    answer: Callable[[Any, Any], Tensor]
    remembers: bool = False


def _logits(output: Any, _: Any) -> Tensor:
    return output.logits


def _objects(output: Any, _: Any) -> Tensor:
    return torch.cat([output.logits, output.pred_boxes], dim=-1)


def _pooled(output: Any, _: Any) -> Tensor:
    return output.pooler_output


def _mean(output: Any, _: Any) -> Tensor:
    grid: Tensor = output.last_hidden_state  # (B, C, h, w)
    return grid.flatten(2).mean(2)


def _class_token(output: Any, _: Any) -> Tensor:
    return output.last_hidden_state[:, 0]


def _two_tokens(output: Any, _: Any) -> Tensor:
    return (output.last_hidden_state[:, 0] + output.last_hidden_state[:, 1]) / 2


def _rebuilt(output: Any, config: Any) -> Tensor:
    # (B, P, p * p * C) there, channels first here
    patches: Tensor = output.logits
    pixels = patches.reshape(*patches.shape[:2], -1, config.num_channels)
    return pixels.transpose(2, 3).flatten(2)


def _picture(output: Any, _: Any) -> Tensor:
    return output.reconstruction


_CLASSIFIER = _Known("AutoModelForImageClassification", _logits)
TRANSFORMERS: Mapping[str, _Known] = {
    "ViTForImageClassification": _CLASSIFIER,
    "ViTModel": _Known("AutoModel", _class_token),
    "DeiTForImageClassification": _CLASSIFIER,
    "DeiTForImageClassificationWithTeacher": _CLASSIFIER,
    "DeiTModel": _Known("AutoModel", _two_tokens),
    "BeitForImageClassification": _CLASSIFIER,
    "BeitForMaskedImageModeling": _Known("BeitForMaskedImageModeling", _logits),
    "BeitForSemanticSegmentation": _Known("AutoModelForSemanticSegmentation", _logits),
    "BeitModel": _Known("AutoModel", _pooled),
    "SegformerForSemanticSegmentation": _Known("AutoModelForSemanticSegmentation", _logits),
    "SegformerForImageClassification": _CLASSIFIER,
    "SegformerModel": _Known("AutoModel", _mean),
    "DetrForObjectDetection": _Known("AutoModelForObjectDetection", _objects),
    "YolosForObjectDetection": _Known("AutoModelForObjectDetection", _objects),
    "SwinForImageClassification": _CLASSIFIER._replace(remembers=True),
    "SwinModel": _Known("AutoModel", _pooled, remembers=True),
    "SwinForMaskedImageModeling": _Known("AutoModelForMaskedImageModeling", _picture, remembers=True),
    "ViTMAEForPreTraining": _Known("AutoModelForPreTraining", _rebuilt),
    "Dinov2ForImageClassification": _CLASSIFIER,
    "Dinov2Model": _Known("AutoModel", _pooled),
    "Dinov2WithRegistersForImageClassification": _CLASSIFIER,
    "Dinov2WithRegistersModel": _Known("AutoModel", _pooled),
    "DINOv3ViTModel": _Known("AutoModel", _pooled),
    "FlavaImageCodebook": _Known("FlavaImageCodebook", lambda output, _: output),
}


def load_transformers(place: Path, checkpoint: Checkpoint) -> Peer:
    """A directory in the class that its config.json names, if that is one of the table's."""
    transformers = require("transformers")
    named = read_json(place / "config.json", "config.json").get("architectures")
    architecture = named[0] if isinstance(named, list) and named else None
    known = TRANSFORMERS.get(str(architecture))
    if known is None:
        raise NotRun(f"config.json names the architecture {architecture!r}, which is not compared")
    load = partial(
        getattr(transformers, known.loader).from_pretrained,
        place,
        dtype=torch.get_default_dtype(),
        local_files_only=True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    # Whatever config.json asks for: another attention may be code that is fetched and run.
    try:
        model, told = load(attn_implementation="sdpa")
    except ValueError:  # a class that has only its own, which takes its softmax in float32
        model, told = load(attn_implementation="eager")
    # A pooler decides nothing here, and published files leave it out.
    lost = sorted(key for key in told["missing_keys"] if "pooler" not in key)
    if lost:
        raise NotRun(f"transformers does not find {lost[0]} ({len(lost)} tensors) and draws random values")
    size = getattr(model.config, "image_size", None)  # FLAVA's tokenizer has none
    native = tuple(size) if isinstance(size, list | tuple) else (size, size)
    takes = inspect.signature(type(model).forward).parameters

    def answer(images: Tensor, hidden: Hidden) -> Tensor:
        options: dict[str, Any] = {}
        if "interpolate_pos_encoding" in takes:
            options["interpolate_pos_encoding"] = tuple(images.shape[-2:]) != native
        if isinstance(checkpoint.model.config, MAEConfig):
            options["noise"] = hidden.noise
        if isinstance(checkpoint.model.config, MaskedTokensConfig | SimMIMConfig):
            options["bool_masked_pos"] = hidden.mask
        asked = deepcopy(model) if known.remembers else model
        if isinstance(checkpoint.model.config, SimMIMConfig):
            asked.config.image_size = images.shape[-1]  # for its loss, which nobody asks for
        output = asked(images, **options)
        if named == ["DeiTModel"] and not isinstance(checkpoint.model.config, DeiTConfig):
            return _class_token(output, model.config)
        return known.answer(output, model.config)

    transforms: tuple[Transform, ...] = ()
    if (place / "preprocessor_config.json").is_file():
        grey = checkpoint.preprocess.channels == 1
        both = [_processor(place, backend, grey) for backend in ("pil", "torchvision")]
        transforms = tuple({transform.name: transform for transform in both}.values())
    return Peer(
        "transformers", type(model).__name__, model.eval(), answer, transforms, "no preprocessor_config.json"
    )


def _processor(place: Path, backend: str, grey: bool) -> Transform:
    processor = require("transformers").AutoImageProcessor.from_pretrained(
        place, backend=backend, local_files_only=True, trust_remote_code=False
    )

    tokenizes = type(processor).__name__.startswith("Flava")
    options = {"return_codebook_pixels": True} if tokenizes else {}
    key = "codebook_pixel_values" if tokenizes else "pixel_values"

    def apply(picture: Image.Image) -> Tensor:
        made = processor(picture.convert("L") if grey else picture, return_tensors="pt", **options)
        pixels: Tensor = made[key][0]
        return pixels

    # What resizes tensors, the only backend of some processors, rounds otherwise than Pillow.
    pillow = type(processor).__name__.endswith("Pil")
    backend = "pil" if pillow else "torchvision"
    return Transform(f"{type(processor).__name__} ({backend})", apply, exact=pillow)
