"""Weights from files that may be damaged or hostile, and into a model that must fit them exactly.

Nothing here runs what a file holds: safetensors are headers and numbers.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints.directory import parse_json
from vitreous.errors import CheckpointError, printable
from vitreous.models.catalog import build
from vitreous.models.config import ConvNetConfig, DetrConfig, DVAEConfig, MAEConfig, ModelConfig
from vitreous.models.model import Model

HEADER_LIMIT = 4 * 2**20  # bytes; a header of 10,000 tensors is about 1 MB
TABLE_LIMIT = 2**24  # numbers in a table of positions that is computed, not read; 128 MB in float64
BLOCK_LIMIT = 500  # blocks of a model; the deepest published one has 60
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
# The types of safetensors: how many bits, and what torch calls those it calls otherwise.
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8,
    "U64": 64, "U32": 32, "U16": 16, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}  # fmt: skip
NAMED = 6  # tensors that an error names; the rest are counted


class Described(NamedTuple):
    """What a header says of a tensor: its type as torch names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def load_weights(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    name: str,
    *,
    dtype: torch.dtype | None = torch.float32,
    spelling: Mapping[str, str] | None = None,
) -> Model:
    """The model of ``config`` with exactly these tensors, in evaluation mode.

    It is laid out without memory and takes the tensors as they are, so nothing is held twice.
    ``dtype`` is what floating-point weights become; None keeps what the file holds. ``spelling`` says
    how the file calls our names, for the error.

    Raises:
        CheckpointError: tensors are missing, unexpected, of another shape or type, or hold NaN or
            infinity; the first are named.
    """
    spelling = spelling or {}
    model = blueprint(config, len(tensors), name)
    wanted = model.state_dict()
    check_fit({key: tuple(value.shape) for key, value in wanted.items()}, tensors, name, spelling)
    _refuse_unusable(wanted, tensors, name, spelling)
    ready = {key: converted(value, dtype) for key, value in tensors.items()}
    _refuse_infinite(ready, name, spelling)
    model.load_state_dict(ready, assign=True)
    return model.eval()


def blueprint(config: ModelConfig, tensors: int, name: str) -> Model:
    """The model of ``config`` laid out without memory, to be held against a file of so many tensors.

    Raises:
        CheckpointError: sizes that the file cannot have, or that no model can.
    """
    refuse_oversize(config, tensors, name)
    try:
        with torch.device("meta"):
            return build(config)
    except (RuntimeError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: no model can have these sizes, {first_line(error)}") from error


def refuse_oversize(config: ModelConfig, tensors: int, name: str) -> None:
    """CheckpointError for a configuration that claims much more than a file of so many tensors can
    hold: it must not cost memory to refute it."""
    if isinstance(config, ConvNetConfig):
        return
    if isinstance(config, DVAEConfig):
        if config.groups * config.blocks > min(tensors, BLOCK_LIMIT):
            raise CheckpointError(
                f"{name}: says {config.groups} groups of {config.blocks} blocks, but holds only {tensors}"
                " tensors"
            )
        return
    backbone = config.backbone
    depth = sum(backbone.depths) if isinstance(backbone, ConvNetBackboneConfig) else backbone.depth
    depth += config.decoder_depth if isinstance(config, MAEConfig | DetrConfig) else 0
    depth += config.encoder_depth if isinstance(config, DetrConfig) else 0
    if depth > tensors:
        raise CheckpointError(f"{name}: says {depth} blocks, but holds only {tensors} tensors")
    if depth > BLOCK_LIMIT:
        raise CheckpointError(f"{name}: says {depth} blocks, more than {BLOCK_LIMIT} are refused")
    rows, cols = backbone.grid
    # What is computed and not read: waves of positions, and which offset belongs to which two patches.
    computed = 0
    if isinstance(backbone, SwinConfig):
        areas = [high * wide for high, wide in backbone.windows]
        # Offsets, and the masks that every second block has of its own; sixteen times as many may be.
        computed = max(*(area**2 for area in areas), rows * cols * max(areas) * depth // 16)
    elif isinstance(backbone, MiTConfig | ConvNetBackboneConfig):
        computed = 0
    elif backbone.attention == "relative":
        computed = (rows * cols) ** 2
    elif backbone.positions in ("sincos1d", "sincos2d"):
        computed = rows * cols * backbone.encoder.width
    if isinstance(config, MAEConfig) and config.decoder_positions != "learned":
        computed = max(computed, rows * cols * config.decoder_width)
    if computed > TABLE_LIMIT:
        raise CheckpointError(
            f"{name}: says a grid of {rows}x{cols} patches, more than is computed for a file"
        )


def check_fit(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, Tensor],
    name: str,
    spelling: Mapping[str, str],
) -> None:
    """Hold the tensors that were found against the shapes that are wanted, under our names.

    Raises:
        CheckpointError: one line with the missing, unexpected and misshapen ones.
    """

    def spell(key: str) -> str:
        return spelling.get(key, key)

    missing = [spell(key) for key in wanted if key not in found]
    unexpected = [spell(key) for key in found if key not in wanted]
    misshapen = [
        f"{spell(key)} (wanted {shape_text(shape)}, found {shape_text(found[key].shape)})"
        for key, shape in wanted.items()
        if key in found and tuple(found[key].shape) != shape
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    faults = [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds if names]
    if faults:
        raise CheckpointError(f"{name}: the weights do not fit the model; " + "; ".join(faults))


def read_safetensors(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a file, mapped into memory. CheckpointError where it is damaged, or of types that
    torch does not know."""
    read_header(path, name)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name}: damaged safetensors file, torch cannot take its numbers") from error


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors as they are, each with memory of its own."""
    separate = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(separate, path, metadata=dict(metadata))
    path.chmod(0o666 & ~_umask())  # the library makes the file readable to its owner alone


def read_header(path: Path, name: str) -> dict[str, Described]:
    """Names, types and shapes of a safetensors file; the numbers are not read.

    Raises:
        CheckpointError: the header is too long, not JSON, or contradicts itself or the file's size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise CheckpointError(
                    f"{name}: cut short in its header, or not a safetensors file; download it again"
                )
            if length > HEADER_LIMIT:
                raise CheckpointError(
                    f"{name}: a safetensors header of {length} bytes, more than {HEADER_LIMIT} are refused"
                )
            header = parse_json(file.read(length))
        header.pop("__metadata__", None)
        entries = {key: _describe(key, entry) for key, entry in header.items()}
        _refuse_gaps(((start, stop, key) for key, (start, stop, _) in entries.items()), size - 8 - length)
    except CheckpointError as error:
        said = str(error)
        raise error if said.startswith(name) else CheckpointError(f"{name}: damaged, {said}") from None
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{name}: damaged safetensors header; download it again") from error
    return {key: described for key, (_, _, described) in entries.items()}


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    rest = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def shape_text(shape: Iterable[int]) -> str:
    """A shape as people write it: 768x3x16x16; "scalar" for no dimensions."""
    return "x".join(map(str, shape)) or "scalar"


def first_line(error: BaseException) -> str:
    """The first line of another library's message, cut to a length that a terminal shows."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor in another type, where it holds floating-point numbers; None keeps its own."""
    plain = tensor.is_floating_point() and tensor.element_size() > 1  # of float8, a scale stands elsewhere
    return tensor if dtype is None or not plain else tensor.to(dtype)


def _refuse_unusable(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, spelling: Mapping[str, str]
) -> None:
    """CheckpointError where numbers are of a type that does not say them in full: integers and float8 are
    weights only together with scales, which no model here has."""
    strange = [
        f"{spelling.get(key, key)} ({str(found[key].dtype).removeprefix('torch.')})"
        for key, value in wanted.items()
        if (found[key].dtype not in FLOATS) == value.is_floating_point()
    ]
    if strange:
        raise CheckpointError(
            f"{name}: wanted float16, bfloat16, float32 or float64; {len(strange)} tensors are something"
            f" else: {listed(strange)}"
        )


def _refuse_infinite(tensors: Mapping[str, Tensor], name: str, spelling: Mapping[str, str]) -> None:
    """CheckpointError for weights with a NaN or an infinity: the model would answer NaN to everything.

    A sum takes a thirtieth of the time of looking at each number, and is finite only where all are.
    """
    broken = [
        spelling.get(key, key)
        for key, value in tensors.items()
        if value.is_floating_point()
        and not value.is_meta
        and not math.isfinite(value.detach().sum(dtype=_wide(value.dtype)))
        and not value.isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f"{name}: {len(broken)} tensors hold NaN or infinity: {listed(broken)}; the training that wrote"
            " them had failed, take an earlier checkpoint"
        )


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _describe(key: str, entry: Any) -> tuple[int, int, Described]:
    """The bytes of one tensor, and what it is."""
    start, stop = entry["data_offsets"]
    dtype, shape = entry["dtype"], entry["shape"]
    if dtype not in BITS:
        raise CheckpointError(f"{printable(key)} is of the unknown type {printable(str(dtype))[:20]!r}")
    if not isinstance(shape, list) or any(
        type(side) is not int or side < 0 for side in (*shape, start, stop)
    ):
        raise ValueError("a shape of something else than numbers")
    if (stop - start) * 8 != BITS[dtype] * math.prod(shape):
        raise CheckpointError(
            f"{printable(key)} of shape {shape_text(shape)} and type {dtype} claims {stop - start} bytes"
        )
    return start, stop, Described(NAMES.get(dtype, dtype), tuple(shape))


def _refuse_gaps(places: Iterable[tuple[int, int, str]], room: int) -> None:
    """Every byte belongs to one tensor: neither two of them nor none."""
    end = 0
    for start, stop, key in sorted(places):
        if start != end:
            raise CheckpointError(
                f"{printable(key)} {'overlaps another tensor' if start < end else 'leaves bytes unexplained'}"
            )
        end = stop
    if end > room:
        raise CheckpointError(f"cut short, {room} of {end} bytes are there; download it again")
    if end < room:
        raise CheckpointError(f"{room - end} bytes at its end belong to no tensor")


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
