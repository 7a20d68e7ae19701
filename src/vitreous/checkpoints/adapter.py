"""Adapters alone: what LoRA learnt, a few percent of a model, and which weights it belongs to.

``adapter.safetensors`` holds the pairs of every adapted layer (``layers/lora.py``) and the head,
``config.json`` the base and everything that travels with a model. Reading it reads the base, too, and hands
back the model in which both are merged. The base is named by its source and by the SHA-256 of its weights.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitreous.checkpoints import file
from vitreous.checkpoints.adapt import adapt
from vitreous.checkpoints.directory import locate, read_json, to_json, verify_directory, write_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.weights import (
    FLOATS,
    check_fit,
    listed,
    load_weights,
    read_safetensors,
    write_safetensors,
)
from vitreous.config import from_plain, to_plain
from vitreous.data.draws import drawing
from vitreous.errors import CheckpointError, ConfigError
from vitreous.layers.lora import adapted_layers, inject, merge
from vitreous.models.config import family_of
from vitreous.models.layering import heads_of
from vitreous.models.model import Model

CONFIG, WEIGHTS = file.CONFIG, "adapter.safetensors"
FORMAT = "vitreous-adapter/1"
OWN = ("format", "adapter")
SHOWN = 12  # digits of a SHA-256 in a message


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Which weights an adapter belongs to, and how it is made.

    ``base`` is the source as it was given in training, ``beside`` the same as a path from the adapter's own
    directory, if it was a path; ``sha256`` is ``fingerprint`` of its weights. ``layers`` are the names of the
    adapted ones.
    """

    base: str
    beside: str | None = None
    sha256: str
    rank: int
    alpha: float
    layers: tuple[str, ...]


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of weights under our names, as 64 hex digits: the same in whatever layout they lie."""
    total = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        total.update(value.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_adapter(directory: str | os.PathLike[str], adapted: Model, merged: Checkpoint) -> None:
    """Write the adapters and the head of a model. ``merged`` is the same model without adapters, with what
    travels with it; its lineage says ``from`` which ``source`` it was trained, and the ``sha256`` of that.

    Raises:
        StorageError: as ``write_directory``.
    """
    layers = adapted_layers(adapted)
    some = next(iter(layers.values()))
    base = merged.lineage["from"]
    config = AdapterConfig(
        base=base["source"],
        beside=_beside(base["source"], Path(directory).resolve()),
        sha256=base["sha256"],
        rank=some.rank,
        alpha=some.alpha,
        layers=tuple(layers),
    )
    values = {
        "format": FORMAT,
        "adapter": to_plain(config),
        "family": family_of(merged.model.config),
        "model": to_plain(merged.model.config),
        "preprocess": to_plain(merged.preprocess),
        "classes": list(merged.classes),
        "temperature": merged.temperature,
        "lineage": merged.lineage,
        **file.said_answers(merged),
    }
    state = adapted.state_dict()
    tensors = {name: state[name] for name in _learnt(adapted)}
    weights = partial(write_safetensors, tensors, metadata={"format": "pt"})
    write_directory(directory, {CONFIG: to_json(values), WEIGHTS: weights})


def find_adapter(path: Path) -> Path | None:
    """The directory of an adapter that ``path``, or the file ``path`` in it, is; it may be damaged."""
    for candidate in (path, path.parent) if path.name in (CONFIG, WEIGHTS) else (path,):
        found = locate(candidate)
        if found is not None and (found / WEIGHTS).is_file():
            return candidate
    return None


def read_adapter_config(directory: Path, name: str) -> tuple[AdapterConfig, dict[str, Any]]:
    """What an adapter's ``config.json`` says of the adapter, and what it says as that of a model does.

    Raises:
        CheckpointError: a file is missing or damaged, or it cannot be meant for us.
    """
    said = f"{name}/{CONFIG}"
    values = read_json(verify_directory(directory, name=name) / CONFIG, said)
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"{said}: format {values.get('format')!r}, this version reads {FORMAT!r}; upgrade vitreous"
        )
    try:
        config = from_plain(AdapterConfig, values.get("adapter"), "adapter")
    except ConfigError as error:
        raise CheckpointError(f"{said}: {error}") from error
    model = {key: value for key, value in values.items() if key not in OWN} | {"format": file.FORMAT}
    return config, model


def read_adapter(
    directory: Path,
    name: str,
    read_base: Callable[[Path | str], Checkpoint],
    *,
    dtype: torch.dtype | None = torch.float32,
) -> Checkpoint:
    """The model that base and adapter are together. ``read_base`` reads a source in float32; ``dtype`` is
    what the weights become, None leaves them so.

    Raises:
        CheckpointError: the base is not there or is another one, or a file is missing or damaged.
    """
    adapter, values = read_adapter_config(directory, name)
    config, preprocess = file.read_config(values, f"{name}/{CONFIG}")
    found = verify_directory(directory, name=name)
    tensors = read_safetensors(found / WEIGHTS, f"{name}/{WEIGHTS}")
    base = _base(adapter, found, name, read_base)
    classes = tuple(values["classes"])
    with drawing("nothing that stays"):
        fitted, _ = adapt(base, classes=classes, image_size=config.image_size)
        if fitted.model.config != config:
            raise CheckpointError(
                f"{name}: its base {adapter.base} cannot become the model that it describes"
            )
        model = fitted.model
        try:
            inject(model, adapter.layers, adapter.rank, adapter.alpha)
        except ConfigError as error:
            raise CheckpointError(f"{name}/{CONFIG}: {error}") from error
    _fill(model, tensors, f"{name}/{WEIGHTS}")
    merged = load_weights(config, merge(model).state_dict(), name, dtype=dtype)
    answers = values.get(file.ANSWERS, "one")
    return Checkpoint(merged, preprocess, classes, float(values["temperature"]), values["lineage"], answers)


def _fill(model: Model, tensors: Mapping[str, Tensor], name: str) -> None:
    """Give a model with adapters what an adapter holds. CheckpointError where it does not fit."""
    state = model.state_dict()
    check_fit({key: tuple(state[key].shape) for key in _learnt(model)}, tensors, name, {})
    strange = [key for key, value in tensors.items() if value.dtype not in FLOATS]
    if strange:
        raise CheckpointError(f"{name}: wanted floating-point numbers, got others in {listed(strange)}")
    model.load_state_dict(tensors, strict=False)


def _base(
    adapter: AdapterConfig, directory: Path, name: str, read_base: Callable[[Path | str], Checkpoint]
) -> Checkpoint:
    """The weights that an adapter was trained on. CheckpointError where they are not there, or are others."""
    only = f"{name}: an adapter, of use only with its base {adapter.base}"
    sources: list[Path | str] = [adapter.base]
    if adapter.beside is not None:  # the Hub is not asked for what was a path
        places = Path(adapter.base), Path(os.path.normpath(directory / adapter.beside))
        sources = [place for place in places if _is_there(place)]
    if not sources:
        raise CheckpointError(f"{only}, which is not there; put it back to where it was")
    others: list[str] = []
    reasons: list[str] = []
    for source in sources:
        try:
            base = read_base(source)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        digest = fingerprint(base.model.state_dict())
        if digest == adapter.sha256:
            return base
        others.append(digest)
    if others:
        raise CheckpointError(
            f"{name}: its base {adapter.base} is not the one that it was trained on (SHA-256 of the weights"
            f" {others[0][:SHOWN]}..., wanted {adapter.sha256[:SHOWN]}...); bring it back, or train anew"
        )
    raise CheckpointError(f"{only}, which cannot be read: {reasons[0]}")


def _is_there(place: Path) -> bool:
    try:
        return place.exists() or locate(place) is not None
    except (OSError, ValueError):  # a name that no file can have
        return False


def _learnt(model: Model) -> list[str]:
    """The names of the tensors that an adapter consists of."""
    parts = tuple(f"{name}.{part}" for name in adapted_layers(model) for part in ("down", "up"))
    heads = tuple(f"{head}." for head in heads_of(model.config))
    return [name for name in model.state_dict() if name in parts or name.startswith(heads)]


def _beside(base: str, directory: Path) -> str | None:
    """A path to the base from an adapter's directory, so that both can move together."""
    try:
        there = Path(base)
        return Path(os.path.relpath(there.resolve(), directory)).as_posix() if there.exists() else None
    except (OSError, ValueError):  # on another drive
        return None
