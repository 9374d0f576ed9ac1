"""Dataclasses to JSON values and back, by their annotations and strictly; the data types are their own wire format.

A value that could be of several dataclasses (`Prompt`) says which by its key "kind". Unknown keys are refused; a
missing one is allowed where the dataclass has a default.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any
from typing import NoReturn
from typing import TypeVar

from colipri_core.errors import ProtocolError

T = TypeVar("T")

_LARGEST_INTEGER = 2**63


def to_plain(value: Any) -> Any:
    """Return a value as JSON values.

    Args:
        value: A dataclass without arrays, or what one is made of.

    Raises:
        TypeError: If a value does not travel.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        kind = {"kind": value.kind} if "kind" not in names and hasattr(value, "kind") else {}
        return kind | {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime.date):
        return value.isoformat()
    msg = f"A {type(value).__name__} does not travel as JSON."
    raise TypeError(msg)


def from_plain(kind: type[T], value: Any) -> T:
    """Make a value of JSON values.

    Args:
        kind: What is expected: a dataclass, or any annotation of its fields.
        value: JSON values.

    Raises:
        ProtocolError: If it is something else.
    """
    try:
        return typing.cast("T", _read(kind, value))
    except (RecursionError, OverflowError, TypeError, ValueError) as error:
        msg = f"Expected the values of {_name(kind)}, found others ({str(error)[:200]})."
        raise ProtocolError(msg) from error


def _read(kind: Any, value: Any) -> Any:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin is not None:
        return _generic(kind, origin, value)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value)
    return _scalar(kind, value)


def _generic(kind: Any, origin: Any, value: Any) -> Any:
    if origin in {typing.Union, types.UnionType}:
        return _union(typing.get_args(kind), value)
    if origin is typing.Literal:
        return value if isinstance(value, str) and value in typing.get_args(kind) else _refuse(kind, value)
    return _tuple(kind, value) if origin is tuple else _mapping(kind, value)


def _scalar(kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else _refuse(kind, value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < _LARGEST_INTEGER else _refuse(kind, value)
    if kind in {bool, str, types.NoneType} and type(value) is kind:
        return value
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and isinstance(value, (int, str)):
        return kind(value)
    if kind is datetime.date and isinstance(value, str):
        return datetime.date.fromisoformat(value)
    return _refuse(kind, value)


def _union(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None:
        return None if types.NoneType in kinds else _refuse(kinds, value)
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    if len(kinds) == 1:
        return _read(kinds[0], value)
    by_name = {kind.kind: kind for kind in kinds}
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or value["kind"] not in by_name:
        _refuse(" or ".join(by_name), value)
    return _dataclass(by_name[value["kind"]], {key: item for key, item in value.items() if key != "kind"})


def _tuple(kind: Any, value: Any) -> Any:
    if not isinstance(value, list):
        _refuse(kind, value)
    members = typing.get_args(kind)
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(_read(members[0], item) for item in value)
    if len(members) != len(value):
        _refuse(kind, value)
    return tuple(_read(member, item) for member, item in zip(members, value, strict=True))


def _mapping(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        _refuse(kind, value)
    key_kind, item_kind = typing.get_args(kind)
    if key_kind is int and not all(key.isdecimal() and len(key) < 19 for key in value):
        _refuse(kind, value)
    return {key_kind(key): _read(item_kind, item) for key, item in value.items()}


def _dataclass(kind: Any, value: Any) -> Any:
    hints = _hints(kind)
    if not isinstance(value, dict) or not value.keys() <= hints.keys():
        _refuse(kind, value)
    return kind(**{key: _read(hints[key], item) for key, item in value.items()})


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


def _refuse(kind: Any, value: Any) -> NoReturn:
    found = f"the keys {', '.join(sorted(map(str, value)))}" if isinstance(value, dict) else repr(value)
    msg = f"Expected {_name(kind)}, found {found[:200]}."
    raise ProtocolError(msg)
