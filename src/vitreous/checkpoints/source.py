"""Whatever a model comes as: one way in, which looks at contents and not at names."""

import os
import re
from pathlib import Path
from typing import Any

import torch

from vitreous.checkpoints import file, stored
from vitreous.checkpoints.directory import MANIFEST, read_json, verify_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader
from vitreous.checkpoints.foreign.readers import READERS
from vitreous.checkpoints.weights import first_line, listed
from vitreous.errors import CheckpointError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", MANIFEST)
HUB_PICKLES = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")


def read_any(
    source: str | os.PathLike[str], name: str | None = None, *, dtype: torch.dtype | None = torch.float32
) -> Checkpoint:
    """Read a model from whatever ``source`` is:

    a model directory of ours; a run directory (its ``best``, else its ``last``); a directory of
    transformers or timm; a file of weights of timm, torchvision or Google; or a Hub id "owner/name".
    ``name`` says the architecture where a file of weights cannot. ``dtype`` is what the weights become;
    None keeps what is stored.

    Raises:
        CheckpointError: nothing is there, it is damaged or unsafe, or no layout explains it.
    """
    said = os.fspath(source)
    path = place(said)
    ours = find_ours(path)
    if ours is not None:
        if name is not None:
            raise CheckpointError(f"{said}: says its own architecture; leave out name={name!r}")
        return file.read(ours, dtype=dtype, name=said)
    found = find_foreign(path, said)
    plan = plan_for(found, name)
    return plan.build(found.stored.load(), said, {"source": Path(said).name}, dtype)


def place(source: str) -> Path:
    """The file or directory that a source stands for; a Hub id is downloaded, or found in its cache."""
    path = Path(source)
    if path.exists() or find_ours(path) is not None:
        return path
    if HUB_ID.fullmatch(source):
        return _download(source)
    raise CheckpointError(
        f"{source}: no such file or directory; wanted a run, a model directory, a file of weights"
        " or a Hub id (owner/name)"
    )


def find_ours(path: Path) -> Path | None:
    """The model directory of ours that ``path`` is, or the best one of a run; None for neither."""
    for candidate in (path, path / "best", path / "last"):
        if file.is_ours(candidate):
            return candidate
    inside = path.name in (file.WEIGHTS, file.CONFIG) and file.is_ours(path.parent)
    return path.parent if inside else None


def find_foreign(path: Path, said: str) -> Found:
    """Weights in another library's layout, and the JSON beside them."""
    if path.is_dir():
        if (path / MANIFEST).is_file():
            _verify_written(path, said)
        held = stored.open_directory(path, said)
        return Found(held, _json(path, "config.json", said), _json(path, "preprocessor_config.json", said))
    if path.name in stored.WEIGHT_FILES and (path.parent / "config.json").is_file():
        held = stored.open_file(path, said)
        parent = path.parent
        return Found(
            held, _json(parent, "config.json", said), _json(parent, "preprocessor_config.json", said)
        )
    return Found(stored.open_file(path, said), None, None)


def plan_for(found: Found, name: str | None) -> Plan:
    """Which layout explains the tensors, and how. CheckpointError where none does."""
    reader = recognise(found)
    if reader is None:
        raise CheckpointError(f"{found.name}: {unexplained(found)}")
    return reader.plan(found, name)


def recognise(found: Found) -> Reader | None:
    """The reader for the names that the tensors have; None where nobody has such names."""
    return next((reader for reader in READERS if reader.recognises(found)), None)


def unexplained(found: Found) -> str:
    """Why no reader takes a file: its first tensors, and the kind whose names come nearest."""
    names = found.stored.described
    what = f"model_type {found.model_type!r} is not read" if found.model_type else "no known layout has these"
    best = max(READERS, key=lambda reader: reader.explained(names))
    count = best.explained(names)
    near = f"the nearest is {best.layout}'s {best.family}, which explains {count} of {len(names)}"
    return f"{what}; it holds {listed(names)}; " + (near if count else "no layout explains any of them")


def _json(directory: Path, name: str, said: str) -> dict[str, Any] | None:
    path = directory / name
    return read_json(path, f"{said}/{name}") if path.is_file() else None


def _verify_written(path: Path, said: str) -> None:
    """A foreign directory that we wrote has our manifest, and must still be what was written."""
    try:
        verify_directory(path, name=said)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; if the change is meant, delete {MANIFEST}") from error


def _download(identifier: str) -> Path:
    """The files of a Hub repository, weights as safetensors if it has them."""
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(identifier, allow_patterns=list(HUB_FILES)))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(identifier, allow_patterns=[*HUB_FILES, *HUB_PICKLES]))
    except Exception as error:  # the client raises its own, its transport's and the system's
        raise CheckpointError(
            f"{identifier}: no such path here, and the Hub did not give it ({first_line(error)})"
        ) from error
    return folder
