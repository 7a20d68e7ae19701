"""One vector for each picture, from weights that stay as they are; computed once and kept.

Neighbours, probes and whatever else is asked of frozen weights share these vectors. They are kept by the
weights that see, the preprocessing and the bytes of each picture, so that any part of a data set finds
what any other has paid for; neither a head nor a label nor a file's name makes a difference. Kept vectors may
differ in their last bits from those that other batches would give.

Shapes: n pictures; D the width of a vector.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitreous.config import to_plain
from vitreous.data.cache import cache_directory, read_cached, write_cached
from vitreous.data.collection import Sample
from vitreous.data.preprocess import Preprocess
from vitreous.data.reading import read_ahead
from vitreous.errors import PictureError, StorageError
from vitreous.models.averaging import as_classifier
from vitreous.models.config import is_classifier
from vitreous.models.layering import heads_of
from vitreous.models.model import Model

FORMAT = "features/1"  # another number makes all that was kept worthless
DIGEST = 32  # bytes of a SHA-256

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]


class Extracted(NamedTuple):
    """``features`` (n, D) float32 of the pictures that can be read; ``kept`` (n,) their places among the
    samples, in order; the errors of the others; and a sentence where the vectors could not be kept."""

    features: Floats
    kept: NDArray[np.int64]
    unreadable: tuple[PictureError, ...] = ()
    note: str = ""


def extract(
    model: Model,
    preprocess: Preprocess,
    samples: Sequence[Sample],
    *,
    device: torch.device,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Extracted:
    """What ``Model.features`` gives for each picture, computed now. The model is on ``device`` and left in
    the mode that it was in; a picture that cannot be read is named. ``progress`` is told (done, total)."""
    rows: list[Floats | PictureError] = []
    with _evaluating(model):
        for row in _rows(model, preprocess, samples, device, batch_size):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(samples))
    return _gathered(rows)


def extract_once(
    model: Model,
    preprocess: Preprocess,
    samples: Sequence[Sample],
    *,
    device: torch.device,
    batch_size: int = 64,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> Extracted:
    """``extract``, but only for pictures that these weights were not shown before; the rest is read from
    ``directory``, by default that of ``VITREOUS_CACHE``. Bytes count, not names: every file is read. What
    was computed before an error or an interrupt is kept, too."""
    path = (directory or cache_directory("features")) / f"{_key(model, preprocess, device)}.safetensors"
    known = _read(path)
    digests = [sample.digest() for sample in samples]
    rows: list[Floats | PictureError | None] = [known.get(digest or b"") for digest in digests]
    missing = [place for place, row in enumerate(rows) if row is None]
    done, fresh, note = len(samples) - len(missing), 0, ""
    try:
        with _evaluating(model):
            asked = [samples[place] for place in missing]
            for place, row in zip(missing, _rows(model, preprocess, asked, device, batch_size), strict=True):
                rows[place], digest = row, digests[place]
                if digest is not None and not isinstance(row, PictureError):
                    known[digest] = row
                    fresh += 1
                done += 1
                if progress is not None:
                    progress(done, len(samples))
    finally:
        if fresh:
            note = _keep(path, _read(path) | known)  # others may have kept some meanwhile
    return _gathered([row for row in rows if row is not None])._replace(note=note)


def _rows(
    model: Model,
    preprocess: Preprocess,
    samples: Sequence[Sample],
    device: torch.device,
    batch_size: int,
) -> Iterator[Floats | PictureError]:
    """The vector (D,) of each picture, or why it has none, in order."""
    waiting: list[Tensor | PictureError] = []
    for number, (_, view) in enumerate(read_ahead(samples, preprocess, ahead=batch_size), start=1):
        waiting.append(view)
        if len(waiting) == batch_size or number == len(samples):
            images = [view for view in waiting if isinstance(view, Tensor)]
            with torch.no_grad():  # not around a yield: it would hold for whoever asks
                vectors = model.features(torch.stack(images).to(device)) if images else torch.zeros(0, 1)
            found = iter(vectors.float().cpu().numpy())
            for view in waiting:
                yield view if isinstance(view, PictureError) else next(found)
            waiting = []


def _gathered(rows: Sequence[Floats | PictureError]) -> Extracted:
    vectors = [row for row in rows if not isinstance(row, PictureError)]
    kept = [place for place, row in enumerate(rows) if not isinstance(row, PictureError)]
    unreadable = tuple(row for row in rows if isinstance(row, PictureError))
    features = np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
    return Extracted(features, np.asarray(kept, dtype=np.int64), unreadable)


def _key(model: Model, preprocess: Preprocess, device: torch.device) -> str:
    """What vectors depend on beside the picture, as 64 hex digits."""
    config, tensors = _seeing_part(model)
    plain = {"format": FORMAT, "model": config, "preprocess": to_plain(preprocess), "device": device.type}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name},{value.dtype},{tuple(value.shape)};".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _seeing_part(model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All that ``Model.features`` depends on: the configuration as plain values, and the tensors.

    What was pretrained without classes and the classifier on the mean of its patches that it becomes have
    the same.
    """
    config, tensors = model.config, dict(model.state_dict())
    if hasattr(config, "backbone") and not is_classifier(config):
        below = {name: value for name, value in tensors.items() if name.startswith("backbone.")}
        config, tensors = as_classifier(config.backbone, below)
    if is_classifier(config):
        plain: dict[str, Any] = to_plain(config)
        for key in ("classes", "head"):
            plain.pop(key, None)
        heads = tuple(f"{name}." for name in heads_of(config))
        return plain, {name: value for name, value in tensors.items() if not name.startswith(heads)}
    return to_plain(config), tensors


def _read(path: Path) -> dict[bytes, Floats]:
    """What was kept: a picture's digest -> its vector (D,)."""
    arrays = read_cached(path)
    if arrays is None or set(arrays) != {"digests", "features"}:
        return {}
    digests, features = arrays["digests"], arrays["features"].astype(np.float32, copy=False)
    return {digest.tobytes(): row for digest, row in zip(digests, features, strict=True)}


def _keep(path: Path, known: dict[bytes, Floats]) -> str:
    """Write what is known; a sentence where that is not possible."""
    digests = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), DIGEST)
    try:
        write_cached(path, {"digests": digests, "features": np.stack(list(known.values()))})
    except StorageError as error:
        return f"the features could not be kept and will be computed again: {error}"
    return ""


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards each is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
