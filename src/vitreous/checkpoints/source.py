"""Whatever a model comes as: one way in, which looks at contents and not at names."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vitreous.checkpoints import file, stored, strangers
from vitreous.checkpoints.adapter import find_adapter, read_adapter
from vitreous.checkpoints.directory import MANIFEST, read_json, verify_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import PROBLEM, SEVERAL
from vitreous.checkpoints.foreign.plan import Found, Plan, Reader
from vitreous.checkpoints.foreign.readers import READERS
from vitreous.checkpoints.shards import INDEX, shard_of
from vitreous.checkpoints.strangers import looks_like
from vitreous.checkpoints.weights import first_line
from vitreous.errors import CheckpointError
from vitreous.models.config import is_classifier

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", MANIFEST)
HUB_PICKLES = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
PIXEL_LIMIT = 2**26  # of a picture as the model sees it, 8192 x 8192
HUB_PATIENCE = 4  # seconds until a Hub that does not answer is given up
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
# What Python and torch raise where a value is of another kind than the code that meets it expects.
STRANGE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
# Errors of the Hub's client, the ones that say most first.
REFUSALS: Mapping[str, str] = {
    "GatedRepoError": "its files are given out on request; ask for access there and run hf auth login",
    "RepositoryNotFoundError": "it has no such repository, or a private one; check the name, or run"
    " hf auth login",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE forbids to ask it, and no copy is in the cache",
    "ConnectError ConnectionError ProxyError gaierror": "there is no connection to it, and no copy is in"
    " the cache; download the files elsewhere and give their directory",
    "TimeoutException ReadTimeout Timeout": "it does not answer, and no copy is in the cache; try again, or"
    " download the files elsewhere and give their directory",
    "LocalEntryNotFoundError": "it cannot be reached, and no copy is in the cache; download the files"
    " elsewhere and give their directory",
}


def read_any(
    source: str | os.PathLike[str], name: str | None = None, *, dtype: torch.dtype | None = torch.float32
) -> Checkpoint:
    """Read a model from whatever ``source`` is:

    a model directory of ours; a run directory (its ``best``, else its ``last``); a directory of an adapter,
    which is merged into its base; a directory of transformers or timm; a file of weights of timm, torchvision
    or Google; or a Hub id "owner/name".
    ``name`` says the architecture where a file of weights cannot. ``dtype`` is what the weights become;
    None keeps what is stored.

    Raises:
        CheckpointError: nothing is there, it is damaged or unsafe, or no layout explains it.
    """
    return _read(os.fspath(source), name, dtype, ())


def _read(said: str, name: str | None, dtype: torch.dtype | None, above: tuple[Path, ...]) -> Checkpoint:
    """``above`` are the adapters whose base this is."""
    path = place(said)
    ours, adapter = find_ours(path), find_adapter(path)
    if name is not None and (ours is not None or adapter is not None):
        raise CheckpointError(f"{said}: says its own architecture; leave out name={name!r}")
    if ours is not None:
        return file.read(ours, dtype=dtype, name=said)
    if adapter is not None:
        here = adapter.resolve()
        if here in above:
            raise CheckpointError(f"{said}: an adapter that is the base of itself")
        return read_adapter(
            adapter,
            said,
            lambda base: _read(os.fspath(base), None, torch.float32, (*above, here)),
            dtype=dtype,
        )
    found = find_foreign(path, said)
    plan = plan_for(found, name)
    lineage = {"source": Path(said).name, **found.stored.wrapping.lineage()}
    try:
        return plan.build(found.stored.load(), said, lineage, dtype)
    except STRANGE as error:
        raise strange(found, plan, error) from error


def place(source: str) -> Path:
    """The file or directory that a source stands for; a Hub id is downloaded, or found in its cache."""
    path = Path(source)
    try:
        if path.exists() or find_ours(path) is not None or find_adapter(path) is not None:
            return path
    except (OSError, ValueError):  # a name that no file can have
        pass
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
    """Weights in another library's layout, and the JSON beside them.

    Raises:
        CheckpointError: no weights are there, they are damaged or unsafe, or shards are missing.
    """
    place = path if path.is_dir() else path.parent
    name = said if path.is_dir() else str(Path(said).parent)
    shard = None if path.is_dir() else shard_of(path.name)
    if path.is_dir():
        if (path / MANIFEST).is_file():
            _verify_written(path, said)
        held = stored.open_directory(path, said)
    elif path.name.endswith(INDEX):
        held = stored.open_index(place, path.name, name)
    elif shard is not None:
        held = stored.open_shard(place, shard, name)
    else:
        held = stored.open_file(path, said)
        if path.name not in stored.WEIGHT_FILES or not (place / CONFIG).is_file():
            return Found(stored.peeled(held), None, None)
    config, processor = (_json(place, file, name) for file in (CONFIG, PROCESSOR))
    return Found(stored.peeled(held._replace(name=name)), config, processor)


def plan_for(found: Found, name: str | None) -> Plan:
    """Which layout explains the tensors, and how. CheckpointError where none does."""
    reader = recognise(found)
    if reader is None:
        raise CheckpointError(f"{found.name}: {unexplained(found)}")
    try:
        _refuse_code(found)
        plan = reader.plan(found, name)
        if is_classifier(plan.config) and (found.config or {}).get(PROBLEM) == SEVERAL:
            plan = replace(plan, answers="several")
        _refuse_huge(plan)
    except CheckpointError as error:
        said = str(error) if str(error).startswith(found.name) else f"{found.name}: {error}"
        kind = looks_like(found.stored.described)
        raise CheckpointError(f"{said}; it looks like {kind}" if kind else said) from error
    except STRANGE as error:
        raise strange(found, reader, error) from error
    return plan


def strange(found: Found, kind: Reader | Plan, error: Exception) -> CheckpointError:
    """The error for values or shapes of a kind that nobody expected, which ended in Python's own error."""
    return CheckpointError(
        f"{found.name}: its configuration or its tensors are not what {kind.layout}'s {kind.family} has:"
        f" {first_line(error)}"
    )


def recognise(found: Found) -> Reader | None:
    """The reader for the names that the tensors have; None where nobody has such names."""
    return next((reader for reader in READERS if reader.recognises(found)), None)


def unexplained(found: Found) -> str:
    """Why no reader takes a file: its first tensors, and the kind whose names come nearest."""
    return strangers.unexplained(found.stored.described, found.model_type, READERS)


def _refuse_code(found: Found) -> None:
    """CheckpointError where code beside the weights defines the model or its preprocessing, or another
    library would fetch some, whatever the model calls itself."""
    attention = ("attn_implementation", "_attn_implementation")
    for part, values in ((CONFIG, found.config or {}), (PROCESSOR, found.preprocessor or {})):
        named = [key for key in ("auto_map", "trust_remote_code") if values.get(key)]
        # A name with a slash is a kernel on the Hub, which transformers loads and runs.
        named += [key for key in attention if "/" in str(values.get(key))]
        if named:
            raise CheckpointError(
                f"{found.name}/{part}: says that code of its own defines the model ({named[0]}), and such"
                " code is not run; if it is a plain model, delete that key"
            )
        if values.get("quantization_config"):
            raise CheckpointError(
                f"{found.name}/{part}: quantised weights (quantization_config) are not read;"
                " give the ones that they were made from"
            )


def _refuse_huge(plan: Plan) -> None:
    """CheckpointError for pictures that no memory holds, which would only be noticed at the first one."""
    for what, (height, width) in (
        ("the model", plan.config.image_size),
        ("preprocessing", plan.preprocess.size),
    ):
        if height * width > PIXEL_LIMIT:
            raise CheckpointError(
                f"{what} wants {height}x{width} pixels, more than {PIXEL_LIMIT} are refused"
            )


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
    """The files of a Hub repository, weights as safetensors if it has them; from the cache where the Hub
    does not answer."""
    from huggingface_hub import HfApi, snapshot_download

    silence: Exception | None = None
    try:
        # snapshot_download asks this, too, but waits for minutes where nobody answers.
        HfApi().model_info(identifier, timeout=HUB_PATIENCE)
    except Exception as error:  # the client raises its own, its transport's and the system's
        silence = error
    try:
        alone = silence is not None
        folder = Path(snapshot_download(identifier, allow_patterns=list(HUB_FILES), local_files_only=alone))
        if not any(folder.glob("*.safetensors")):
            patterns = [*HUB_FILES, *HUB_PICKLES]
            folder = Path(snapshot_download(identifier, allow_patterns=patterns, local_files_only=alone))
    except Exception as error:
        raise CheckpointError(
            f"{identifier}: no such path here, and the Hub did not give it: {_refusal(silence or error)}"
        ) from error
    return folder


def _refusal(error: Exception) -> str:
    """Why the Hub gave nothing, and what to do. Its client's errors are told by name, which needs no
    import and holds in all its versions."""
    kinds = {kind.__name__ for link in _causes(error) for kind in type(link).__mro__}
    for names, reason in REFUSALS.items():
        if kinds & set(names.split()):
            return reason
    return first_line(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
