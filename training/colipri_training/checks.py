"""Checks of a config's fields: each names the field, what it must be, and what it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST_CONVOLVED = 3
"""oneDNN's bfloat16 gradients of 3 x 3 x 3 kernels on 2 x 2 x 2 cells hold uninitialised memory (torch 2.13)."""


def expect(field: str, value: object, expected: str, *, fits: bool) -> None:
    """Refuse a value that does not fit.

    Args:
        field: Its name.
        value: What was found.
        expected: What it must be.
        fits: Whether it is.

    Raises:
        ValueError: If it does not fit.
    """
    if not fits:
        msg = f"{field} must be {expected}, got {value!r}"
        raise ValueError(msg)


def at_least(config: object, least: float, *fields: str) -> None:
    """Refuse fields that are not finite numbers of at least so much."""
    for field in fields:
        value = getattr(config, field)
        expect(field, value, f"at least {least:g}", fits=math.isfinite(value) and value >= least)


def positive(config: object, *fields: str) -> None:
    """Refuse fields that are not above 0; infinity is."""
    for field in fields:
        value = getattr(config, field)
        expect(field, value, "above 0", fits=value > 0)


def shares(config: object, *fields: str) -> None:
    """Refuse fields that are not between 0 and 1; both are."""
    for field in fields:
        value = getattr(config, field)
        expect(field, value, "between 0 and 1", fits=0 <= value <= 1)


def multiples(field: str, values: Sequence[int], of: int, what: str) -> None:
    """Refuse sizes that are not multiples of another one.

    Args:
        field: Their name.
        values: One for each axis.
        of: The other one.
        what: What it is.
    """
    fits = all(value > 0 and value % of == 0 for value in values)
    expect(field, tuple(values), f"multiples of {what}, {of}", fits=fits)


def at_most(field: str, value: float, most: float, what: str) -> None:
    """Refuse a value that is larger than another one.

    Args:
        field: Its name.
        value: What was found.
        most: The other one.
        what: What that is.
    """
    expect(field, value, f"at most {what}, {most}", fits=value <= most)


def convolved_in_bfloat16(cells: int | None) -> None:
    """Refuse maps whose bfloat16 gradients are wrong on a CPU.

    Args:
        cells: Along the shortest axis of the smallest map that a 3 x 3 x 3 convolution reads; None if none does.

    Raises:
        ValueError: If they are too few.
    """
    if cells is not None and cells < LEAST_CONVOLVED:
        msg = (
            f"in bfloat16 on a CPU the deepest maps that are convolved must have at least {LEAST_CONVOLVED} cells "
            f"along each axis, for their gradients are wrong else, got {cells}; set bf16=false, or a larger crop"
        )
        raise ValueError(msg)
