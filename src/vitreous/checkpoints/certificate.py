"""The certificate of a conversion: what was compared, with what, and how far apart it was."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from vitreous.errors import VitreousError

CERTIFICATE = "parity.json"
FORMAT = "vitreous-parity/1"

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison. ``absolute`` is in the model's own numbers, or in levels of 255 for pixels;
    ``relative`` the share of the largest answer; ``bound`` None where it is told and held to nothing."""

    part: str
    against: str
    what: str
    size: Size | None
    dtype: str
    pictures: int
    absolute: float | None
    relative: float | None = None
    bound: float | None = None
    passed: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What was compared, with what, and how far apart it was."""

    format: str = FORMAT
    verdict: str
    date: str
    versions: dict[str, str]
    platform: str
    source: dict[str, Any]
    destination: dict[str, Any]
    pictures: list[dict[str, Any]]
    bounds: dict[str, float]
    checks: list[Check]
    changed: list[str]
    not_run: list[str]

    @property
    def passed(self) -> bool:
        """Whether every bound was kept."""
        return self.verdict == "passed"


class NotTheSame(VitreousError):
    """A check failed, so that nothing was written; the certificate says which."""

    def __init__(self, message: str, certificate: Certificate) -> None:
        super().__init__(message)
        self.certificate = certificate


def compared(mine: Tensor, theirs: Tensor, bound: float) -> Check:
    """Two sets of answers, a picture on each row; ``theirs`` give the scale."""
    check = Check(
        part="kept",
        against="vitreous",
        what="logits",
        size=None,
        dtype="",
        pictures=0,
        absolute=None,
        bound=bound,
    )
    if mine.shape != theirs.shape:
        note = f"{tuple(theirs.shape)} numbers there, {tuple(mine.shape)} here"
        return replace(check, passed=False, note=note)
    if not theirs.any() or (len(theirs) > 1 and torch.equal(theirs, theirs[:1].expand_as(theirs))):
        return replace(
            check, passed=False, note="the answers are the same for every picture: nothing is proven"
        )
    absolute, scale = (mine - theirs).abs().max().item(), theirs.abs().max().item()
    relative = absolute / scale
    return replace(check, absolute=finite(absolute), relative=finite(relative), passed=relative < bound)


def failed(part: str, against: str, what: str, note: str) -> Check:
    """A comparison that could not be made; ``note`` says why."""
    return Check(
        part=part,
        against=against,
        what=what,
        size=None,
        dtype="",
        pictures=0,
        absolute=None,
        passed=False,
        note=note,
    )


def verdict(certificate: Certificate, destination: str) -> str:
    """One line on the first check that failed, and how many did."""
    missed = [check for check in certificate.checks if not check.passed]
    worst = missed[0]
    how = worst.note
    if worst.absolute is not None and worst.bound is not None:
        apart = worst.absolute if worst.relative is None else worst.relative
        unit = "levels" if worst.relative is None else "of the scale"
        size = f" at {times(worst.size)}" if worst.size else ""
        how = f"{worst.what}{size} in {worst.dtype} differ by {apart:.1e} {unit}, more than {worst.bound:.0e}"
    elif worst.bound is not None and not how:
        how = f"{worst.what} are not finite"
    return (
        f"{destination}: not written, {len(missed)} of {len(certificate.checks)} checks failed;"
        f" {worst.part}, against {worst.against}: {how}"
    )


def times(size: Sequence[int]) -> str:
    """(48, 32) -> 48x32."""
    return f"{size[0]}x{size[1]}"


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return value if isfinite(value) else None
