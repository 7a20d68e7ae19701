"""transformers' ``FlavaImageCodebook``: the encoder of DALL-E's discrete VAE, read and written.

How its pictures are prepared stands in FLAVA's ``preprocessor_config.json``, in keys that begin with
``codebook_``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.dall_e import (
    GROUPS,
    MEAN,
    SIZE,
    STD,
    Spelling,
    blocks_in,
    known,
    names_of,
    preprocess_for,
)
from vitreous.checkpoints.foreign.fields import flag, integer
from vitreous.checkpoints.foreign.names import scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, Shapes, refuse_name, rows_of
from vitreous.checkpoints.foreign.transformers.common import LAYOUT
from vitreous.checkpoints.foreign.transformers.processor import Kind, read_steps, write_processor
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import DVAEConfig, ModelConfig
from vitreous.models.dvae import FIRST_KERNEL

MODEL_TYPE = "flava_image_codebook"
PROCESSORS = ("FlavaImageProcessor", "FlavaFeatureExtractor")
OWN = "codebook_"  # ahead of the keys that speak of the tokenizer's pictures
MAPS = f"{OWN}do_map_pixels"
KIND = Kind(resample=1, mean=(0.0,) * 3, std=(1.0,) * 3, size=SIZE[0], crops=True, crop=SIZE[0])
FLAVA = Spelling("blocks.group_{}.group.block_{}", "res_path.path.conv_{}", ("weight", "bias"))
FIRST = "blocks.input.weight"


def recognises(found: Found) -> bool:
    """Whether these are the names of a ``FlavaImageCodebook``."""
    names = found.stored.described
    return FIRST in names and "blocks.group_1.group.block_1.res_path.path.conv_1.weight" in names


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes, and hold ``config.json`` against them.

    Raises:
        CheckpointError: values that the weights do not have, or another number of groups than four, which
            scales the blocks otherwise.
    """
    shapes, name = found.shapes, found.name
    if found.config is not None:
        refuse_name(model, name)
    elif model is not None:
        raise CheckpointError(f"{name}: says its own architecture; leave out name={model!r}")
    config = _config(shapes, found.config, name)
    try:
        preprocess = _preprocess(found.preprocessor, config, name)
        config = replace(config, image_size=preprocess.size)
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    table = names_of(FLAVA, "encoder", config.blocks)
    assumed = () if found.preprocessor is not None else ("preprocessing",)
    return Plan(LAYOUT, config, preprocess, (), table, assumed=assumed)


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory that ``FlavaImageCodebook`` and ``FlavaImageProcessor`` load.

    Raises:
        CheckpointError: the preprocessing has parts that transformers has no place for.
    """
    config: DVAEConfig = checkpoint.model.config
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    dtype = str(next(checkpoint.model.parameters()).dtype).removeprefix("torch.")
    values = {
        "architectures": ["FlavaImageCodebook"],
        "model_type": MODEL_TYPE,
        "num_groups": GROUPS,
        "input_channels": config.channels,
        "num_blocks_per_group": config.blocks,
        "hidden_size": config.width,
        "vocab_size": config.codes,
        "torch_dtype": dtype,
    }
    return {
        "config.json": to_json(values),
        "preprocessor_config.json": to_json(_processor(checkpoint.preprocess)),
        "model.safetensors": weights_file(scatter(names_of(FLAVA, "encoder", config.blocks), state)),
    }


def reasons(config: ModelConfig) -> list[str]:
    """Why the class has no place for a model; empty where it has."""
    if not isinstance(config, DVAEConfig):
        return ["it is no discrete VAE"]
    checks = {
        f"it has {config.groups} groups of blocks, there it is {GROUPS}": config.groups != GROUPS,
        "it has a decoder, there is only an encoder": config.decoder,
    }
    return [reason for reason, holds in checks.items() if holds]


def _config(shapes: Shapes, values: Mapping[str, Any] | None, name: str) -> DVAEConfig:
    kernel = shapes[FIRST]
    if len(kernel) != 4 or kernel[2:] != (FIRST_KERNEL, FIRST_KERNEL):
        raise CheckpointError(
            f"{name}: {FIRST} is not the kernel of a convolution over pixels, found {kernel}"
        )
    sizes = {
        "hidden_size": kernel[0],
        "input_channels": kernel[1],
        "num_blocks_per_group": blocks_in(shapes, FLAVA, "", name),
        "vocab_size": rows_of(shapes, "blocks.output.conv.weight", name),
        "num_groups": GROUPS,
    }
    usual = {"hidden_size": 256, "input_channels": 3, "num_blocks_per_group": 2, "vocab_size": 8192}
    if values is not None:
        where = f"{name}/config.json"
        if values.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            raise CheckpointError(f"{where}: model_type {values['model_type']!r}; wanted {MODEL_TYPE!r}")
        for key, found in sizes.items():
            stated = integer(values.get(key, usual.get(key, GROUPS)), f"{where}: {key}")
            if stated == found:
                continue
            if key == "num_groups":
                raise CheckpointError(
                    f"{where}: num_groups {stated} changes nothing there but how blocks are scaled; only"
                    f" {GROUPS}, as there are, is read"
                )
            raise CheckpointError(f"{where}: {key} {stated}, but the weights have {found}")
    try:
        return DVAEConfig(
            codes=sizes["vocab_size"],
            groups=GROUPS,
            blocks=sizes["num_blocks_per_group"],
            width=sizes["hidden_size"],
            decoder=False,
            image_size=SIZE,
            channels=sizes["input_channels"],
        )
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _preprocess(values: Mapping[str, Any] | None, config: DVAEConfig, name: str) -> Preprocess:
    if values is None:
        return replace(preprocess_for(config.channels), shorter=None)
    where = f"{name}/preprocessor_config.json"
    kind = str(values.get("image_processor_type", values.get("feature_extractor_type", PROCESSORS[0])))
    if kind.removesuffix("Fast").removesuffix("Pil") not in PROCESSORS:
        raise CheckpointError(f"{where}: image processor {kind!r} says nothing of a tokenizer's pictures")
    own = {key.removeprefix(OWN): value for key, value in values.items() if key.startswith(OWN)}
    read = read_steps(own, KIND, config, f"{where}: of {OWN[:-1]}")
    if not flag(values.get(MAPS, True), f"{where}: {MAPS}"):
        return read
    # Normalised pixels y become (1 - 2 e) y + e, as y' = (y - MEAN) / STD.
    mean = tuple(value + MEAN * scale for value, scale in zip(read.mean, read.std, strict=True))
    return replace(read, mean=mean, std=tuple(STD * scale for scale in read.std))


def _processor(preprocess: Preprocess) -> dict[str, Any]:
    """The values with which FLAVA's image processor prepares the tokenizer's pictures so."""
    plain = write_processor(preprocess)
    size = {"height": preprocess.size[0], "width": preprocess.size[1]}
    steps = {"do_center_crop": True, "crop_size": size} | plain
    maps = set(preprocess.mean) == {MEAN} and set(preprocess.std) == {STD}
    if maps:
        count = preprocess.channels
        steps |= {"image_mean": [0.0] * count, "image_std": [1.0] * count}
    for key in ("image_processor_type", "do_convert_rgb"):
        steps.pop(key, None)
    own = {f"{OWN}{key}": value for key, value in steps.items()}
    return {"image_processor_type": PROCESSORS[0], **own, MAPS: maps}


READER = Reader(LAYOUT, "dvae", recognises, plan, known(FLAVA, ("encoder",)))
WRITER = Writer("transformers' FlavaImageCodebook", ("dvae",), reasons, write)
