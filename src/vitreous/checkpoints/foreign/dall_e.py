"""DALL-E's discrete VAE: the package's own files, encoder and decoder, and a directory that the package's
classes can be filled from.

Published are two whole modules, ``encoder.pkl`` and ``decoder.pkl``; state dicts of them are read as well. An
encoder alone is a tokenizer. Both have four groups of blocks, whatever their widths.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from vitreous.checkpoints.directory import FileContent, to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.fields import pair, section
from vitreous.checkpoints.foreign.names import Names, Table, scatter
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader, Shapes, rows_of
from vitreous.checkpoints.foreign.writing import Writer, weights_file
from vitreous.config import from_plain, to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, ConfigError
from vitreous.models.config import DVAEConfig, ModelConfig
from vitreous.models.dvae import FIRST_KERNEL

LAYOUT = "dall_e"
GROUPS = 4
SIZE = (112, 112)  # of pictures that become 14 x 14 tokens, as BEiT shows them to it
MEAN, STD = -0.125, 1.25  # pixels x in 0..1 become (1 - 2 e) x + e with e = 0.1
HALVES = ("encoder", "decoder")


class Spelling(NamedTuple):
    """How a library names the tensors of a half: the block of a group, numbers from 1, the convolutions in
    it, and what stands at the end for weight and bias."""

    block: str
    convolution: str
    leaves: tuple[str, str]


DALL_E = Spelling("blocks.group_{}.block_{}", "res_path.conv_{}", ("w", "b"))


def names_of(spelling: Spelling, half: str, blocks: int, base: str = "") -> dict[str, tuple[str, ...]]:
    """Every tensor that a half may have, ours to theirs; ``base`` stands ahead of all of theirs."""
    table: dict[str, tuple[str, ...]] = {}

    def add(ours: str, theirs: str) -> None:
        for own, leaf in zip(("weight", "bias"), spelling.leaves, strict=True):
            table[f"{half}.{ours}.{own}"] = (f"{base}{theirs}.{leaf}",)

    add("input", "blocks.input")
    for group in range(GROUPS):
        for index in range(blocks):
            ours, theirs = f"groups.{group}.{index}", spelling.block.format(group + 1, index + 1)
            for number in range(4):
                convolution = spelling.convolution.format(number + 1)
                add(f"{ours}.convolutions.{number}", f"{theirs}.{convolution}")
            add(f"{ours}.shortcut", f"{theirs}.id_path")
    add("output", "blocks.output.conv")
    return table


def blocks_in(shapes: Shapes, spelling: Spelling, base: str, name: str) -> int:
    """How many blocks the first group has. CheckpointError for none."""
    pattern = re.compile(re.escape(base + spelling.block.format(1, "@")).replace("@", r"(\d{1,6})") + r"\.")
    numbers = [int(match.group(1)) for match in map(pattern.match, shapes) if match]
    if not numbers:
        raise CheckpointError(f"{name}: {base}{spelling.block.format(1, 1)} is missing")
    if max(numbers) > len(shapes):
        raise CheckpointError(f"{name}: says {max(numbers)} blocks, but holds only {len(shapes)} tensors")
    return max(numbers)


def preprocess_for(channels: int, size: tuple[int, int] = SIZE) -> Preprocess:
    """What DALL-E does to a picture: the shorter side to this many pixels, the centre, and pixels from 0.1 to
    0.9. ConfigError for other channels than 1 or 3."""
    return Preprocess(
        size=size,
        shorter=min(size),
        interpolation="lanczos",
        mean=(MEAN,) * channels,
        std=(STD,) * channels,
    )


def recognises(found: Found) -> bool:
    """Whether these are the names of the package."""
    return any(f"{base}blocks.input.w" in found.stored.described for base in _bases())


def plan(found: Found, model: str | None) -> Plan:
    """Read the sizes off the shapes.

    Raises:
        CheckpointError: a decoder alone, halves that do not fit one another, or a name of the catalog: the
            file says its own sizes.
    """
    shapes, name = found.shapes, found.name
    if model is not None:
        raise CheckpointError(f"{name}: says its own architecture; leave out name={model!r}")
    base = next(base for base in _bases() if f"{base}blocks.input.w" in shapes)
    kernel = _four(shapes, f"{base}blocks.input.w", name)[3]
    if kernel != FIRST_KERNEL:
        raise CheckpointError(
            f"{name}: a decoder alone, which makes no tokens; give encoder.pkl, or the directory with both"
        )
    config = _config(shapes, base, name)
    assumed = ("preprocessing",) if found.config is None else ()
    try:
        preprocess = preprocess_for(config.channels)
        if found.config is not None:
            size, preprocess = _told(found.config, name)
            config = replace(config, image_size=size)
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error
    table = names_of(DALL_E, "encoder", config.blocks, base)
    if config.decoder:
        table |= names_of(DALL_E, "decoder", config.blocks, "decoder.")
    return Plan(LAYOUT, config, preprocess, (), table, assumed=assumed)


def write(checkpoint: Checkpoint) -> dict[str, FileContent]:
    """The files of a directory: a state dict for each half, and the arguments of its class."""
    config: DVAEConfig = checkpoint.model.config
    state = {key: value.detach() for key, value in checkpoint.model.state_dict().items()}
    halves = HALVES if config.decoder else HALVES[:1]
    shared = {"n_hid": config.width, "n_blk_per_group": config.blocks, "vocab_size": config.codes}
    arguments: dict[str, dict[str, Any]] = {"encoder": {**shared, "input_channels": config.channels}}
    if config.decoder:
        arguments["decoder"] = {**shared, "n_init": config.code_width, "output_channels": config.channels}
    values = {
        "layout": LAYOUT,
        **arguments,
        "image_size": list(config.image_size),
        "preprocess": to_plain(checkpoint.preprocess),
    }
    files: dict[str, FileContent] = {"config.json": to_json(values)}
    for half in halves:
        own = {key: value for key, value in state.items() if key.startswith(f"{half}.")}
        files[f"{half}.safetensors"] = weights_file(scatter(names_of(DALL_E, half, config.blocks), own))
    return files


def reasons(config: ModelConfig) -> list[str]:
    """Why the package's classes have no place for a model; empty where they have."""
    if not isinstance(config, DVAEConfig):
        return ["it is no discrete VAE"]
    checks = {
        f"it has {config.groups} groups of blocks, there it is {GROUPS}": config.groups != GROUPS,
        "it paints pixels, there it is a distribution of each (logit-Laplace)": config.decoder
        and config.paints != "logit_laplace",
    }
    return [reason for reason, holds in checks.items() if holds]


def _bases() -> tuple[str, ...]:
    return "encoder.", "", "decoder."


def _config(shapes: Shapes, base: str, name: str) -> DVAEConfig:
    width, channels, *_ = _four(shapes, f"{base}blocks.input.w", name)
    sizes: dict[str, Any] = {
        "codes": rows_of(shapes, f"{base}blocks.output.conv.w", name),
        "width": width,
        "blocks": blocks_in(shapes, DALL_E, base, name),
        "channels": channels,
        "decoder": base == "encoder." and "decoder.blocks.input.w" in shapes,
    }
    if sizes["decoder"]:
        code_width, codes, *_ = _four(shapes, "decoder.blocks.input.w", name)
        painted, own_width, *_ = _four(shapes, "decoder.blocks.output.conv.w", name)
        theirs = {"codes": codes, "width": own_width, "blocks": blocks_in(shapes, DALL_E, "decoder.", name)}
        unlike = [f"{key} {sizes[key]} and {value}" for key, value in theirs.items() if sizes[key] != value]
        if unlike:
            raise CheckpointError(f"{name}: encoder and decoder do not fit one another: {', '.join(unlike)}")
        if painted != 2 * channels:
            raise CheckpointError(
                f"{name}: the decoder paints {painted} numbers for each pixel of {channels} channels, wanted"
                f" {2 * channels}"
            )
        sizes |= {"code_width": code_width, "paints": "logit_laplace"}
    try:
        return DVAEConfig(groups=GROUPS, image_size=SIZE, **sizes)
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _told(values: Mapping[str, Any], name: str) -> tuple[tuple[int, int], Preprocess]:
    """The native picture size and the preprocessing in the ``config.json`` of a directory that we wrote."""
    where = f"{name}/config.json"
    if values.get("layout") != LAYOUT:
        raise CheckpointError(f"{where}: not one that was written for DALL-E's weights; give the files alone")
    size = pair(values.get("image_size"), f"{where}: image_size")
    return size, from_plain(Preprocess, section(values, "preprocess", where), "preprocess")


def _four(shapes: Shapes, theirs: str, name: str) -> tuple[int, ...]:
    shape = shapes.get(theirs)
    if shape is None or len(shape) != 4:
        raise CheckpointError(f"{name}: {theirs} is not the kernel of a convolution, found {shape}")
    return shape


def known(spelling: Spelling, halves: tuple[str, ...], blocks: int = 2) -> tuple[Names, ...]:
    """The names of a published model, for telling what an unknown file is nearest to."""
    tables: list[Table] = [names_of(spelling, half, blocks) for half in halves]
    return tuple(Names(outside=table, block="none.{}", inside={}) for table in tables)


READER = Reader(LAYOUT, "dvae", recognises, plan, known(DALL_E, HALVES))
WRITER = Writer("DALL-E's Encoder and Decoder", ("dvae",), reasons, write)
