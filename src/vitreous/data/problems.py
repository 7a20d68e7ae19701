"""What is wrong with annotations: collected while they are read, told all at once."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vitreous.errors import DataError

LISTED = 20  # problems in one message
OVERHANG = 2.0  # pixels that a box may reach beyond its picture, by rounding
OVERHANG_SHARE = 0.01  # or this share of the side, if that is more

KINDS = {
    "annotation_json": "file of annotations beyond reading",
    "annotation_category": "object of an unknown class",
    "annotation_area": "object without area",
    "annotation_outside": "box outside the picture",
    "annotation_mask": "mask at odds with the picture",
    "annotation_class": "mask with a class beyond the list",
    "annotation_missing": "picture with annotations, missing or unreadable",
    "annotation_duplicate": "case of an id or a picture told twice",
    "annotation_size": "picture of another size than annotated",
    "annotation_value": "annotation with values that mean nothing",
}


class Problem(NamedTuple):
    """One thing that is wrong: its kind, one of ``KINDS``, and a line that says where and what."""

    kind: str
    text: str


class Problems:
    """Everything that was found wrong so far, in the order of reading."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, kind: str, text: str) -> None:
        """One more."""
        self.found.append(Problem(kind, text))

    def refuse(self, name: str) -> None:
        """DataError where there are any: one line for each, at most ``LISTED``."""
        if not self.found:
            return
        lines = [problem.text for problem in self.found[:LISTED]]
        if len(self.found) > LISTED:
            lines.append(f"and {len(self.found) - LISTED} more; vitreous doctor --json lists all")
        many = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise DataError(
            f"{name}: {many} in the annotations; correct or remove them:\n  " + "\n  ".join(lines)
        )


def read_json(path: Path, name: str, problems: Problems) -> Any:
    """What a file of JSON holds; None, and a problem, where it cannot be read: where it breaks, by line and
    column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add("annotation_json", f"{name}: not UTF-8 text (byte {error.start})")
        return None
    except OSError as error:
        problems.add("annotation_json", f"{name}: cannot be read ({error.strerror})")
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        problems.add("annotation_json", f"{name}: broken JSON at {where}: {error.msg}")
    except RecursionError:
        problems.add("annotation_json", f"{name}: broken JSON: lists in lists without end")
    return None


def numbers(values: Any, count: int | None = None) -> list[float] | None:
    """Finite numbers, as many as wanted; None for anything else."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return None
    if count is not None and len(values) != count:
        return None
    good = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
    return [float(value) for value in values] if good else None


def checked_box(
    corners: Sequence[float], size: tuple[int, int], where: str, problems: Problems
) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom within a picture of (H, W); None, and a problem, where it has no area or
    reaches further out than rounding explains."""
    height, width = size
    left, top, right, bottom = corners
    told = f"{left:g} {top:g} {right:g} {bottom:g}"
    if not (right > left and bottom > top):
        problems.add("annotation_area", f"{where}: box {told} has no area")
        return None
    across, down = (max(OVERHANG, OVERHANG_SHARE * side) for side in (width, height))
    if left < -across or top < -down or right > width + across or bottom > height + down:
        problems.add(
            "annotation_outside", f"{where}: box {told} is outside its picture of {width} x {height}"
        )
        return None
    left, right = max(0.0, left), min(float(width), right)
    top, bottom = max(0.0, top), min(float(height), bottom)
    if not (right > left and bottom > top):
        problems.add(
            "annotation_area", f"{where}: box {told} has no area in its picture of {width} x {height}"
        )
        return None
    return left, top, right, bottom
