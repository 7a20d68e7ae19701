"""A proof that a conversion changed nothing: both sides run on real pictures, and what differs is measured.

Three parts: ``source``, what the library that the file comes from answers, and what we do; ``kept``, what
we answer before and after; ``destination``, what we answer of the written directory, and what the
other library does through its own loader. All of it goes into the certificate ``parity.json``.

Shapes: B pictures; C channels; h w pixels; P patches.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vitreous.backbones.config import MiTConfig, SwinConfig
from vitreous.backbones.convnet_config import ConvNetBackboneConfig
from vitreous.checkpoints import source
from vitreous.checkpoints.certificate import (
    CERTIFICATE,
    Certificate,
    Check,
    NotTheSame,
    Size,
    compared,
    failed,
    finite,
    times,
    verdict,
)
from vitreous.checkpoints.conversion import Differences, Origin, differences, written_digests
from vitreous.checkpoints.destination import OURS
from vitreous.checkpoints.directory import to_json
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.peer import Hidden, NotRun, Peer, Transform, quiet
from vitreous.checkpoints.peer_dall_e import answer_of
from vitreous.checkpoints.peers import peer_of_directory, peer_of_file
from vitreous.checkpoints.weights import first_line
from vitreous.config import to_plain
from vitreous.data.photographs import Photograph
from vitreous.data.preprocess import Preprocess
from vitreous.models.config import (
    ConvNetConfig,
    DetrConfig,
    DVAEConfig,
    MAEConfig,
    MaskedTokensConfig,
    ModelConfig,
    SimMIMConfig,
    YolosConfig,
)

BOUNDS = {torch.float32: 1e-4, torch.float64: 1e-9}  # of the largest answer
ROUNDED = {torch.float32: 1e-4, torch.float64: 1e-6}  # where something had to be rounded to float32
LEVELS = 1.0  # of 255, before normalisation
FEW = 2  # pictures at other sizes and in float64; all of them at the native size in float32
AT_ONCE = 8  # pictures in one batch

Progress = Callable[[int, int], None]


class _Inputs(NamedTuple):
    """The pictures of a comparison, and which of them count."""

    photographs: Sequence[Photograph]
    progress: Callable[[], None]


class _Findings(NamedTuple):
    checks: list[Check]
    changed: list[str]
    not_run: list[str]
    libraries: dict[str, str]


def prover(
    origin: Origin,
    destination: str,
    layout: str,
    photographs: Sequence[Photograph],
    progress: Progress = lambda *_: None,
) -> Callable[[Path], Mapping[str, bytes]]:
    """What ``convert`` shows the written directory to: it returns the certificate as a file of it.

    ``progress`` is called with the number of comparisons that are done, and of all.

    Raises, when called:
        NotTheSame: a bound was missed, or the other library does not load what was written.
        MissingPackage: a library that should be asked is not installed.
    """

    def prove(place: Path) -> Mapping[str, bytes]:
        certificate = verify(origin, destination, layout, place, photographs, progress)
        if not certificate.passed:
            raise NotTheSame(verdict(certificate, destination), certificate)
        return {CERTIFICATE: to_json(to_plain(certificate))}

    return prove


def verify(
    origin: Origin,
    destination: str,
    layout: str,
    place: Path,
    photographs: Sequence[Photograph],
    progress: Progress = lambda *_: None,
) -> Certificate:
    """Compare what was read with what was written at ``place``, and both with the other libraries. The
    weights of ``origin`` are float64 afterwards."""
    found = _Findings([], [], [], {})
    inputs = _Inputs(photographs, _counted(progress, 2 + 8 * (origin.layout != OURS) + 8 * (layout != OURS)))
    again = source.read_any(place, dtype=None)
    kept = differences(origin.checkpoint, again)  # before the weights change their type
    _source(origin, inputs, found)
    _kept(origin.checkpoint, again, kept, inputs, found)
    if layout != OURS:
        _destination(layout, place, again, inputs, found)
    versions = {name: version(name) for name in ("vitreous", "torch", "pillow")}
    return Certificate(
        verdict="passed" if all(check.passed for check in found.checks) else "failed",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions | {"python": platform.python_version()} | found.libraries,
        platform=platform.platform(),
        source={
            "name": origin.said,
            "layout": origin.layout,
            "family": origin.family,
            "model": origin.model,
            "types": list(origin.dtypes),
            "assumed": list(origin.assumed),
            "sha256": origin.digests(),
        },
        destination={"name": destination, "layout": layout, "sha256": written_digests(place)},
        pictures=[
            {"name": name, "size": [picture.height, picture.width], "sha256": digest}
            for name, picture, digest in photographs
        ],
        bounds={"float32": BOUNDS[torch.float32], "float64": BOUNDS[torch.float64], "levels": LEVELS},
        checks=found.checks,
        changed=found.changed,
        not_run=found.not_run,
    )


def _source(origin: Origin, inputs: _Inputs, found: _Findings) -> None:
    """The library that a foreign file comes from, beside us."""
    if origin.layout == OURS:
        found.not_run.append("source: a model of vitreous, which no other library loads")
        return
    weights = origin.files[0]
    try:
        if any(path.name == "config.json" for path in origin.files):
            peer = peer_of_directory(origin.layout, weights.parent, origin.checkpoint)
        else:
            peer = peer_of_file(origin.layout, weights, origin.checkpoint, origin.name)
    except NotRun as reason:
        found.not_run.append(f"source: {reason}")
        return
    if any(part.startswith("preprocessing") for part in origin.assumed):
        # Where a file does not say it, there is nothing to be true to.
        transforms = tuple(transform._replace(exact=False) for transform in peer.transforms)
        peer = peer._replace(transforms=transforms)
    _beside("source", origin.checkpoint, peer, inputs, found)


def _destination(layout: str, place: Path, again: Checkpoint, inputs: _Inputs, found: _Findings) -> None:
    """What was written, in the other library's hands; one that does not load it has failed."""
    try:
        peer = peer_of_directory(layout, place, again, ours=True)
    except NotRun as reason:
        found.checks.append(failed("destination", layout, "logits", str(reason)))
        return
    _beside("destination", again, peer, inputs, found)


def _beside(part: str, ours: Checkpoint, peer: Peer, inputs: _Inputs, found: _Findings) -> None:
    """All comparisons of one model of ours with one of another library."""
    found.libraries[peer.library] = peer.version
    against = f"{peer.library} {peer.kind}"
    native, *others = sizes_of(ours.model.config)
    refused: set[Size] = set()
    for dtype, bound in BOUNDS.items():
        ours.model.to(dtype)
        peer.model.to(dtype)
        taken = 0
        for size in (native, *others):
            if taken == 3:
                break
            if size in refused:
                continue
            first = size == native and dtype == torch.float32
            views = _views(ours.preprocess, size, inputs.photographs[: None if first else FEW])
            try:
                theirs = _answers(views, dtype, ours.model.config, peer.answer)
            except Exception as error:  # what a library does not take it refuses in its own words
                reason = f"{type(error).__name__}, {first_line(error)}"
                if first:
                    found.checks.append(failed(part, against, "logits", f"it does not run: {reason}"))
                    return
                refused.add(size)
                what = f"{times(size)}" + (" in float64" if dtype == torch.float64 else "")
                found.not_run.append(f"{part}: {against} does not take pictures of {what} ({reason})")
                continue
            taken += 1
            check = compared(_answers(views, dtype, ours.model.config, _asked(ours)), theirs, bound)
            found.checks.append(
                replace(check, part=part, against=against, size=size, dtype=_name(dtype), pictures=len(views))
            )
            inputs.progress()
    if not peer.transforms:
        found.not_run.append(f"{part}: preprocessing, {peer.without_transforms}")
    for transform in peer.transforms:
        against = f"{peer.library} {transform.name}"
        found.checks.append(_pixels(part, against, ours.preprocess, transform, inputs.photographs))
        inputs.progress()


def _pixels(
    part: str, against: str, ours: Preprocess, theirs: Transform, photographs: Sequence[Photograph]
) -> Check:
    """How far apart the pixels are that two ways make of the same pictures, in levels of 255."""
    levels = torch.tensor(ours.std)[:, None, None] * 255
    apart = []
    for name, picture, _ in photographs:
        mine = ours(picture).image
        try:
            with quiet():
                other = theirs.apply(picture)
        except Exception as error:  # another library's own words
            return failed(part, against, "pixels", f"{name}: {type(error).__name__}, {first_line(error)}")
        if mine.shape != other.shape:
            shapes = f"{name}: {tuple(other.shape)} there, {tuple(mine.shape)} here"
            return failed(part, against, "pixels", shapes)
        apart.append(((mine - other.to(mine)).abs() * levels).max())
    most, place = torch.stack(apart).max(0)
    bound = LEVELS if theirs.exact else None
    return Check(
        part=part,
        against=against,
        what="pixels",
        size=ours.size,
        dtype="levels of 255",
        pictures=len(photographs),
        absolute=finite(most.item()),
        bound=bound,
        passed=bound is None or most.item() < bound,
        note="" if most < 1e-3 else f"most in {photographs[int(place)].name}",
    )


def _kept(
    before: Checkpoint, after: Checkpoint, kept: Differences, inputs: _Inputs, found: _Findings
) -> None:
    """What was read beside what was written, both in our hands."""
    found.changed.extend(kept.changed)
    for reason in kept.lost:
        found.checks.append(failed("kept", "vitreous", "settings", reason))
    if before.preprocess != after.preprocess:
        # What is lost has failed already; a crop that starts a pixel off is told.
        changed = Transform("", lambda picture: after.preprocess(picture).image, exact=False)
        found.checks.append(_pixels("kept", "vitreous", before.preprocess, changed, inputs.photographs))
    size = after.model.config.image_size
    for dtype in BOUNDS:
        before.model.to(dtype)
        after.model.to(dtype)
        views = _views(before.preprocess, size, inputs.photographs[: None if dtype == torch.float32 else FEW])
        mine = _answers(views, dtype, before.model.config, _asked(before))
        check = compared(
            _answers(views, dtype, after.model.config, _asked(after)),
            mine,
            (ROUNDED if kept.rounded else BOUNDS)[dtype],
        )
        note = "every tensor bit for bit" if kept.exact else "rounded once"
        found.checks.append(
            replace(check, size=size, dtype=_name(dtype), pictures=len(views), note=check.note or note)
        )
        inputs.progress()


def sizes_of(config: ModelConfig) -> tuple[Size, ...]:
    """The native picture size and others: square, not square, and one more square for those who take no
    other."""
    height, width = config.image_size
    if isinstance(config, ConvNetConfig):
        step = 32
    elif isinstance(config, DVAEConfig):
        step = config.stride
    elif isinstance(config.backbone, SwinConfig):
        step = config.backbone.patch * 2 ** (len(config.backbone.depths) - 1)
    elif isinstance(config.backbone, MiTConfig | ConvNetBackboneConfig):
        step = config.backbone.strides[-1]
    else:
        step = config.backbone.patch
    shorter = height - step if height > step else height + step
    larger = [(height + add * step, width + add * step) for add in (2, 4)]
    return ((height, width), larger[0], (shorter, width + 3 * step), larger[1])


def _asked(checkpoint: Checkpoint) -> Callable[[Tensor, Hidden], Tensor]:
    """What a model of ours answers; the fitted temperature is part of it."""
    model = checkpoint.model

    def answer(images: Tensor, hidden: Hidden) -> Tensor:
        if isinstance(model.config, MAEConfig):
            return model(images, hidden.noise)[0]
        if isinstance(model.config, MaskedTokensConfig | SimMIMConfig):
            return model(images, hidden.mask)[0]
        if isinstance(model.config, DVAEConfig):
            return answer_of(model, images)
        if isinstance(model.config, DetrConfig | YolosConfig):
            return torch.cat(model(images)[:2], dim=-1)
        return model(images)[0] / checkpoint.temperature

    return answer


def _views(preprocess: Preprocess, size: Size, photographs: Sequence[Photograph]) -> Tensor:
    """(B, C, h, w) float32: as the model sees them, or squashed to another size than its own."""
    if size != preprocess.size or preprocess.longest is not None:  # else every picture has a size of its own
        preprocess = replace(preprocess, size=size, shorter=None, longest=None, multiple=1, squashed=None)
    return torch.stack([preprocess(photograph.picture).image for photograph in photographs])


def _answers(
    views: Tensor, dtype: torch.dtype, config: ModelConfig, answer: Callable[[Tensor, Hidden], Tensor]
) -> Tensor:
    hidden = _hidden(config, views)
    parts = []
    with torch.inference_mode(), quiet():
        for start in range(0, len(views), AT_ONCE):
            chosen = slice(start, start + AT_ONCE)
            noise, mask = hidden.noise[chosen].to(dtype), hidden.mask[chosen]
            parts.append(answer(views[chosen].to(dtype), Hidden(noise, mask)))
    return torch.cat(parts)


def _hidden(config: ModelConfig, views: Tensor) -> Hidden:
    """The same for both sides: numbers (B, P) for every patch, 40% of which BEiT hides."""
    patch = 1
    if not isinstance(config, ConvNetConfig | DVAEConfig):
        backbone = config.backbone
        patch = 1 if isinstance(backbone, ConvNetBackboneConfig) else backbone.patch
    patches = (views.shape[-2] // patch) * (views.shape[-1] // patch)
    noise = torch.rand(len(views), patches, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Hidden(noise, noise > 0.6)


def _counted(progress: Progress, total: int) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done, max(done, total))

    return count


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
