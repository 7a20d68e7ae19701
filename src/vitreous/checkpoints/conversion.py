"""From one layout to another: what was read, what had to be assumed, what was written."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vitreous.checkpoints import file, source
from vitreous.checkpoints.adapter import WEIGHTS, find_adapter
from vitreous.checkpoints.destination import OURS, write_any, writer_for
from vitreous.checkpoints.directory import MANIFEST, Prove, read_json, refuse_overlap, sha256
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.passport import catalog_name
from vitreous.checkpoints.source import read_any
from vitreous.config import to_plain
from vitreous.data.preprocess import Preprocess
from vitreous.errors import CheckpointError, VitreousError
from vitreous.models.config import ConvNetConfig, DVAEConfig, ModelConfig, family_of

HALF = (torch.float16, torch.bfloat16)
# What it means that a setting is another library's.
_ELSEWHERE = "at other picture sizes than the native one the answers differ"
MEANING = {
    "position_resize": _ELSEWHERE,
    "bias_resize": _ELSEWHERE,
    "positions": _ELSEWHERE,
    "cut_edges": "pictures that are no multiple of the patch end otherwise",
    "rotary_step": "angles are rounded otherwise, in the seventh digit",
}
JSON_FILES = ("config.json", "preprocessor_config.json")


class Origin(NamedTuple):
    """Where a checkpoint was read from.

    ``said`` is what the user called it, ``name`` the architecture that was given; ``files`` hold it, the
    weights first; ``assumed`` is what they do not say, ``dtypes`` the types in which they are stored.
    """

    said: str
    name: str | None
    layout: str
    family: str
    files: tuple[Path, ...]
    assumed: tuple[str, ...]
    dtypes: tuple[str, ...]
    checkpoint: Checkpoint

    @property
    def model(self) -> str | None:
        """The catalog's name of a model of this size, if it has one."""
        return catalog_name(self.checkpoint.model.config)

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(value.numel() for value in self.checkpoint.model.parameters())

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file."""
        return {path.name: sha256(path) for path in self.files}


class Written(NamedTuple):
    """What a conversion left: the class that it is for, its files with their SHA-256, and what is not
    as it was."""

    holder: str
    sha256: dict[str, str]
    changed: tuple[str, ...]


class Differences(NamedTuple):
    """What a conversion has lost, which is a fault, and what it has changed because the other layout cannot
    say it, as sentences; ``exact`` where every tensor is what it was, bit for bit; ``rounded`` where answers
    may differ in the last digits."""

    lost: tuple[str, ...]
    changed: tuple[str, ...]
    exact: bool
    rounded: bool


class Lost(VitreousError):
    """What was written does not say what was read, so it was not left there."""


class _Rounded(Exception):
    """Weights were folded into others, and the product rounded to half precision."""


def open_origin(said: str, name: str | None = None) -> Origin:
    """Read whatever ``said`` is; weights keep the type in which they are stored.

    Raises:
        CheckpointError: as ``read_any``.
    """
    path = source.place(said)
    ours = source.find_ours(path)
    checkpoint = read_any(said, name, dtype=None)
    kinds = (str(value.dtype).removeprefix("torch.") for value in checkpoint.model.parameters())
    dtypes = tuple(dict.fromkeys(kinds))
    own = ours or find_adapter(path)
    if own is not None:
        whole = file.locate(own) or own
        files: tuple[Path, ...] = (whole / (file.WEIGHTS if ours else WEIGHTS), whole / file.CONFIG)
        family = family_of(checkpoint.model.config)
        return Origin(said, name, OURS, family, files, (), dtypes, checkpoint)
    found = source.find_foreign(path, said)
    beside = path if path.is_dir() else path.parent
    told = [beside / name for name, values in zip(JSON_FILES, found[1:], strict=True) if values is not None]
    lineage = checkpoint.lineage
    files = (*found.stored.files, *told)
    assumed = tuple(lineage.get("assumed", ()))
    return Origin(said, name, lineage["layout"], lineage["family"], files, assumed, dtypes, checkpoint)


def convert(
    origin: Origin, destination: str | os.PathLike[str], layout: str, *, prove: Prove | None = None
) -> Written:
    """Write what was read as a directory in another layout, whole or not at all.

    Weights keep their type, unless something has to be folded into weights of half precision: that makes
    them float32. ``prove`` is shown the directory before it takes its place, and returns files to add to
    it (see ``vitreous.checkpoints.verify``); if it raises, nothing is written. Without it the directory
    is read again, and must say what was read.

    Raises:
        Lost: it does not.
        CheckpointError: an unknown layout, or one that has no place for a part of the model.
        StorageError: the disk is full, a permission is missing, or something else stands there.
        InputError: source and destination overlap.
    """
    refuse_overlap(origin.said, destination)
    name, model = os.fspath(destination), origin.checkpoint.model
    changed: list[str] = []

    def read_again(place: Path) -> Mapping[str, bytes]:
        found = differences(origin.checkpoint, _read_again(place, name))
        if not found.exact and next(model.parameters()).dtype in HALF:
            raise _Rounded
        changed.extend(found.changed)
        if prove is not None:
            return prove(place)
        if found.lost:
            raise Lost(f"{name}: not written, {found.lost[0]} on the way ({len(found.lost)} in all)")
        return {}

    try:
        write_any(destination, origin.checkpoint, layout, prove=read_again)
    except _Rounded:
        changed.append(f"{origin.dtypes[0]} became float32, so that what is folded in is not rounded")
        model.float()
        write_any(destination, origin.checkpoint, layout, prove=read_again)
    holder = OURS if layout == OURS else writer_for(model.config, layout).library
    return Written(holder, written_digests(Path(destination)), tuple(changed))


def _read_again(place: Path, name: str) -> Checkpoint:
    try:
        return source.read_any(place, dtype=None)
    except CheckpointError as error:
        reason = str(error).replace(os.fspath(place), name)
        raise Lost(f"{name}: not written, it could not be read again: {reason}") from error


def differences(before: Checkpoint, after: Checkpoint) -> Differences:
    """What became of a checkpoint, both with the types in which they are stored."""
    lost, changed = [], []
    if before.classes != after.classes:
        lost.append(f"{len(before.classes)} class names became others")
    if before.answers != after.answers:
        lost.append(f"answers {before.answers} became {after.answers}")
    for name, (old, new) in _unlike(before.preprocess, after.preprocess).items():
        text = f"preprocessing {name} {old} became {new}"
        if name == "crop_rounding":
            cut = before.preprocess.shorter or before.preprocess.squashed
            changed += [f"{text}: at some picture sizes the crop lies one pixel off"] if cut else []
        else:
            lost.append(text)
    for name in ("image_size", "channels", "classes"):
        sizes = [getattr(checkpoint.model.config, name) for checkpoint in (before, after)]
        lost += [f"{name} {sizes[0]} became {sizes[1]}"] if sizes[0] != sizes[1] else []
    then, now = _settings(before.model.config), _settings(after.model.config)
    unlike = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    for name in unlike:
        text = f"{name} {then.get(name)} became {now.get(name)}"
        if name in ("norm_eps", "activation"):
            lost.append(text)
        elif name in MEANING:
            changed.append(f"{text}: {MEANING[name]}")
        elif name not in ("layer_scale", "drop_path"):  # folded in, and of no use but in training
            changed.append(text)
    if before.temperature != after.temperature:
        changed.append(f"temperature {before.temperature:.4g} divides the head's weights now")
    ours, theirs = before.model.state_dict(), after.model.state_dict()
    exact = ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    if not exact:
        changed.append("weights: some were folded into others, or brought to another form")
    return Differences(tuple(lost), tuple(changed), exact, not exact or "rotary_step" in unlike)


def _settings(config: ModelConfig) -> dict[str, Any]:
    """The values of a configuration under their last names."""
    if isinstance(config, ConvNetConfig):
        return {}
    if isinstance(config, DVAEConfig):
        values = to_plain(config)
        return {key: value for key, value in values.items() if key not in ("image_size", "channels")}
    backbone = to_plain(config.backbone)
    encoder = backbone.pop("encoder", {})
    return {**backbone, **encoder}


def _unlike(before: Preprocess, after: Preprocess) -> dict[str, tuple[Any, Any]]:
    names = (field.name for field in fields(before))
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def written_digests(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file of a directory that we wrote, from its manifest."""
    entries = read_json(directory / MANIFEST, MANIFEST)["files"]
    return {name: entry["sha256"] for name, entry in entries.items()}
