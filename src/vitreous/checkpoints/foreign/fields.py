"""Values from JSON that somebody else wrote: of the right kind, or an error that says where."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from vitreous.errors import CheckpointError

LARGEST = 2**31 - 1


def integer(value: Any, where: str) -> int:
    """A positive whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise CheckpointError(f"{where}: wanted a positive whole number, got {value!r}")
    return value


def number(value: Any, where: str) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise CheckpointError(f"{where}: wanted a number, got {value!r}")
    return float(value)


def flag(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise CheckpointError(f"{where}: wanted true or false, got {value!r}")
    return value


def pair(value: Any, where: str) -> tuple[int, int]:
    """(height, width) from one side, two sides, or an object of height and width."""
    if isinstance(value, dict) and set(value) == {"height", "width"}:
        value = [value["height"], value["width"]]
    sides = value if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2:
        raise CheckpointError(f"{where}: wanted one side or two, got {value!r}")
    return integer(sides[0], where), integer(sides[1], where)


def section(values: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """An object inside an object; empty where it is absent or null."""
    found = values.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CheckpointError(f"{where}: {key} must be an object, got {found!r}")
    return found
