"""Reads widgets where PythonQt in Slicer and PySide6 in the tests differ."""

from __future__ import annotations

from typing import Any


def read(thing: Any, name: str) -> Any:
    """A value of a widget or item: PythonQt has it as an attribute, PySide6 as a method.

    Args:
        thing: The widget or item.
        name: Such as "text".
    """
    value = getattr(thing, name)
    return value() if callable(value) else value
