"""Weights from files that may be damaged or hostile, and into a model that must fit them exactly.

Nothing here runs what a file holds: safetensors are headers and numbers, a ``.pth`` goes through
torch's weights-only reader, which knows tensors and containers and refuses every other name.
"""

import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitreous.backbones.config import SwinConfig
from vitreous.errors import CheckpointError
from vitreous.models.catalog import build
from vitreous.models.config import ConvNetConfig, MAEConfig, ModelConfig
from vitreous.models.model import Model

HEADER_LIMIT = 32 * 2**20  # bytes; a header of 10,000 tensors is about 1 MB
TABLE_LIMIT = 2**27  # numbers in a table of positions that is computed, not read; 1 GB in float64
NAMED = 6  # tensors that an error names; the rest are counted


class Described(NamedTuple):
    """What a header says of a tensor: its type as safetensors names it, and its shape."""

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
        CheckpointError: tensors are missing, unexpected or of another shape; the first are named.
    """
    model = blueprint(config, len(tensors), name)
    wanted = model.state_dict()
    check_fit({key: tuple(value.shape) for key, value in wanted.items()}, tensors, name, spelling or {})
    model.load_state_dict({key: _converted(value, dtype) for key, value in tensors.items()}, assign=True)
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
    backbone = config.backbone
    depth = backbone.depth + (config.decoder_depth if isinstance(config, MAEConfig) else 0)
    if depth > tensors:
        raise CheckpointError(f"{name}: says {depth} blocks, but holds only {tensors} tensors")
    rows, cols = backbone.grid
    # What is computed and not read: waves of positions, and which offset belongs to which two patches.
    computed = 0
    if isinstance(backbone, SwinConfig):
        computed = backbone.window**4
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
    """The tensors of a file, mapped into memory. CheckpointError where it is damaged."""
    read_header(path, name)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name}: damaged safetensors file, {first_line(error)}") from error


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors as they are, each with memory of its own."""
    separate = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(separate, path, metadata=dict(metadata))
    path.chmod(0o666 & ~_umask())  # the library makes the file readable to its owner alone


def read_header(path: Path, name: str) -> dict[str, Described]:
    """Names, types and shapes of a safetensors file; the numbers are not read.

    Raises:
        CheckpointError: the header is too long, not JSON, or speaks of bytes that are not there.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise CheckpointError(f"{name}: cut short, or not a safetensors file")
            if length > HEADER_LIMIT:
                raise CheckpointError(
                    f"{name}: a safetensors header of {length} bytes, more than {HEADER_LIMIT} are refused"
                )
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        described = {key: _describe(entry, size - 8 - length) for key, entry in header.items()}
    except OSError as error:
        raise CheckpointError(f"{name}: cannot be read, {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{name}: damaged safetensors header") from error
    return described


def read_pickle(path: Path, name: str) -> dict[str, Any]:
    """What ``torch.save`` wrote, if it is tensors and plain containers.

    Raises:
        CheckpointError: the file needs more than the weights-only reader allows (the global is named),
            is damaged, or would unpack to more than its own size.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped and any(entry.endswith("/constants.pkl") for entry in refuse_bomb(path, name, ratio=1)):
        raise CheckpointError(
            f"{name}: refused, a TorchScript archive is code; save a plain state dict instead"
        )
    # By path, so that it can be mapped into memory; torch takes that ending to mean another format.
    mapped = zipped and path.suffix != ".safetensors"
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters comes as an error
            loaded = torch.load(
                path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped or None
            )
    except UnpicklingError as error:
        raise CheckpointError(f"{name}: refused, {_offence(error)}") from error
    except Exception as error:  # torch raises whatever its parsers meet: KeyError, EOFError, ...
        raise CheckpointError(f"{name}: damaged, torch cannot read it") from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{name}: holds a {type(loaded).__name__}, wanted tensors by name")
    return dict(loaded)


def tensors_of(loaded: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """The state dict inside what a training script saved: at the top, or one level down under the
    usual names. Prefixes of wrappers ("module.") are taken off.

    Raises:
        CheckpointError: no tensors by name, or tensors that are not what their sizes say.
    """
    for key in ("model", "state_dict", "model_state_dict", "state_dict_ema", "model_ema"):
        if isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    strange = [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]
    if strange or not loaded:
        what = f"{listed(strange)} is no tensor" if strange else "it is empty"
        raise CheckpointError(f"{name}: wanted a state dict, tensors by name, but {what}")
    for key, value in loaded.items():
        _refuse_unreal(value, f"{name}: {key}")
    if all(str(key).startswith("module.") for key in loaded):
        return {str(key).removeprefix("module."): value for key, value in loaded.items()}
    return {str(key): value for key, value in loaded.items()}


def refuse_bomb(path: Path, name: str, *, ratio: int) -> list[str]:
    """Refuse a zip whose entries unpack to more than ``ratio`` times the file, or point outside it;
    otherwise the names of its entries come back."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{name}: damaged zip file") from error
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise CheckpointError(f"{name}: refused, it names a file outside itself: {entry.filename[:60]!r}")
    if sum(entry.file_size for entry in entries) > ratio * path.stat().st_size:
        raise CheckpointError(f"{name}: refused, it would unpack to more than {ratio} times its own size")
    return [entry.filename for entry in entries]


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


def _converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _refuse_unreal(tensor: Tensor, name: str) -> None:
    real = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not real:
        raise CheckpointError(f"{name}: wanted plain numbers in memory, found another kind of tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{name}: refused, it claims more numbers than the file holds")


def _describe(entry: Any, room: int) -> Described:
    start, stop = entry["data_offsets"]
    if not 0 <= start <= stop <= room:
        raise ValueError("offsets outside the file")
    return Described(str(entry["dtype"]), tuple(int(side) for side in entry["shape"]))


def _offence(error: UnpicklingError) -> str:
    """Which global a pickle asked for, from torch's explanation."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error)) or re.search(
        r"([\w.]+\.[\w]+) was not an allowed", str(error)
    )
    if found:
        return f"it needs {found.group(1)}, which is code and not weights; save a plain state dict instead"
    return "it holds more than tensors and plain containers; save a plain state dict instead"


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
