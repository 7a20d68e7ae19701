"""Frozen dataclasses to plain JSON values and back: the one way in which configurations are stored.

Unknown keys and values of another type raise, with the nearest known key; nothing is guessed.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vitreous.errors import ConfigError, nearest

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """A configuration as JSON values: dataclasses become objects, tuples become lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], values: Any, where: str = "") -> T:
    """The inverse of ``to_plain`` for a dataclass ``kind``; ``where`` is the path of keys so far.

    Raises:
        ConfigError: unknown or missing keys, or a value of another type than the field's.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or kind.__name__}: wanted an object, got {values!r}")
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"unknown key {_join(where, str(key))!r}{nearest(str(key), known)}")
    for field in fields(kind):  # type: ignore[arg-type]
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in values:
            raise ConfigError(f"missing key {_join(where, field.name)!r}")
    return kind(**{key: convert(hints[key], item, _join(where, key)) for key, item in values.items()})


def convert(kind: Any, value: Any, where: str) -> Any:
    """A plain value as the type of a field: tuples from lists, floats from integers, the rest checked."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return from_plain(kind, value, where)  # type: ignore[arg-type]
    if origin is Literal:
        if value in arguments:
            return value
        choices = ", ".join(str(choice) for choice in arguments)
        raise ConfigError(
            f"{where}: wanted one of {choices}; got {value!r}{nearest(str(value), map(str, arguments))}"
        )
    if origin in (Union, UnionType):
        return _convert_union(arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_tuple(arguments, value, where)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    plain = kind in (int, str, bool) and isinstance(value, kind)
    if plain and not (kind is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: wanted {_name(kind)}, got {value!r}")


def _convert_union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in choices:
        return None
    objects = [choice for choice in choices if is_dataclass(choice)]
    if isinstance(value, Mapping) and objects:
        # Whichever is of the kind that is said, or else knows most of the keys, is meant; what does not fit
        # it is then said in its words.
        meant = max(objects, key=lambda choice: (_is_kind(choice, value), _known(choice, value)))
        return from_plain(meant, value, where)  # type: ignore[arg-type]
    errors: list[ConfigError] = []
    for choice in choices:
        if choice is NoneType:
            continue
        try:
            return convert(choice, value, where)
        except ConfigError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    wanted = " or ".join(_name(choice) for choice in choices)
    raise ConfigError(f"{where}: wanted {wanted}, got {value!r}")


def _is_kind(choice: Any, value: Mapping[str, Any]) -> bool:
    """Whether a dataclass has a field ``kind`` that allows what ``value`` says."""
    return value.get("kind", ...) in get_args(get_type_hints(choice).get("kind"))


def _known(choice: Any, value: Mapping[str, Any]) -> int:
    return sum(field.name in value for field in fields(choice))


def _convert_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(convert(kinds[0], item, where) for item in value)
    if len(value) != len(kinds):
        raise ConfigError(f"{where}: wanted {len(kinds)} values, got {len(value)}")
    return tuple(convert(kind, item, where) for kind, item in zip(kinds, value, strict=True))


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _name(kind: Any) -> str:
    if kind is NoneType:
        return "null"
    return getattr(kind, "__name__", str(kind)) if get_origin(kind) is None else str(kind)
