"""Configs as JSON: building frozen dataclasses from plain values, with every wrong or missing field named.

The annotations of a dataclass are its schema: None, bool, int, float, str, literals, tuples, unions of these, and other
dataclasses.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterable
from collections.abc import Mapping
from types import UnionType
from typing import Any
from typing import Literal
from typing import TypeVar
from typing import Union
from typing import get_args
from typing import get_origin
from typing import get_type_hints

from colipri_core.model.config import with_later

_Config = TypeVar("_Config")
_PLAIN: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}


def build(kind: type[_Config], document: Any, where: str = "") -> _Config:
    """Build a dataclass from a JSON object.

    Args:
        kind: The dataclass.
        document: The decoded object.
        where: Path of the object in the whole document, for messages.

    Raises:
        ValueError: If a key is missing or unknown, or a value does not fit its annotation; the message names it.
    """
    name = where or "config"
    if not isinstance(document, Mapping):
        msg = f"{name} must be a JSON object, got {document!r}"
        raise ValueError(msg)
    document = with_later(kind, document)
    hints = get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    missing, unknown = sorted(names - set(document)), sorted(set(document) - names)
    if missing or unknown:
        msg = f"{name} has wrong fields: missing {missing}, unknown {unknown}; it has {', '.join(sorted(names))}"
        raise ValueError(msg)
    values = {key: _value(hints[key], document[key], f"{where}.{key}".lstrip(".")) for key in names}
    try:
        return kind(**values)
    except ValueError as error:
        msg = f"{where}: {error}" if where else str(error)
        raise ValueError(msg) from error


def changed(document: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return a JSON object with some of its values replaced.

    Args:
        document: The object; left as it is.
        settings: Such as "optimizer.steps=2000"; values are JSON, or plain text where they are not.

    Raises:
        ValueError: If a setting has another form, or names a field that is not there.
    """
    result: dict[str, Any] = copy.deepcopy(dict(document))
    for setting in settings:
        path, equals, text = setting.partition("=")
        *parents, last = path.strip().split(".")
        place: Any = result
        for parent in parents:
            place = place.get(parent) if isinstance(place, Mapping) else None
        if not equals or not isinstance(place, dict) or last not in place:
            known = ", ".join(sorted(place if isinstance(place, Mapping) else result))
            msg = f'Expected a setting such as "optimizer.steps=2000", got "{setting}". Fields there: {known}.'
            raise ValueError(msg)
        place[last] = _parsed(text)
    return result


def with_settings(config: _Config, settings: Iterable[str]) -> _Config:
    """Return a config, a dataclass, with some of its fields set otherwise; see `changed`.

    Raises:
        ValueError: If there is no such field, or the value does not fit; the message names the field.
    """
    return build(type(config), changed(dataclasses.asdict(config), settings))  # type: ignore[call-overload]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(parts, value, where)
    if origin is tuple:
        return _tuple(parts, value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is Literal and value is None and "null" in parts:
        value = "null"  # as text on the command line it reads as JSON's null
    fits = (
        value in parts
        if origin is Literal
        else value is None
        if hint is type(None)
        else isinstance(value, _PLAIN[hint]) and (hint is bool or not isinstance(value, bool))
    )
    if not fits:
        expected = " or ".join(map(repr, parts)) if origin is Literal else getattr(hint, "__name__", str(hint))
        msg = f"{where} must be {expected}, got {value!r}"
        raise ValueError(msg)
    return float(value) if hint is float else value


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Build whichever of several kinds fits; an object can only be the dataclass among them."""
    if isinstance(value, Mapping):
        kinds = tuple(kind for kind in kinds if dataclasses.is_dataclass(kind)) or kinds
    problems = []
    for kind in kinds:
        try:
            return _value(kind, value, where)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        msg = f"{where} must be a list, got {value!r}"
        raise ValueError(msg)
    each = (kinds[0],) * len(value) if kinds[-1] is Ellipsis else kinds
    if len(each) != len(value):
        msg = f"{where} must have {len(each)} values, got {value!r}"
        raise ValueError(msg)
    pairs = enumerate(zip(each, value, strict=True))
    return tuple(_value(kind, item, f"{where}[{index}]") for index, (kind, item) in pairs)
