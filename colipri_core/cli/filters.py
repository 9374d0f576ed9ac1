"""Filters of cases as command line text: ranges are FIRST..LAST, and either end may be left out."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import TypeVar

from colipri_core.cases import CaseFilter

_SEXES = ("F", "M", "O")
_Value = TypeVar("_Value", float, datetime.date)


def case_filter(*, finding: str, tag: str, sex: str, age: str, date: str) -> CaseFilter:
    """Return which cases of a store to look at.

    Args:
        finding: A finding they have, or empty.
        tag: One of their tags, or empty.
        sex: "F", "M" or "O" in either case, or empty.
        age: Years, such as "40..70", "40..", "..70" or "55"; or empty.
        date: Days of the study, such as "2024-01-01..2024-12-31", with ends as those of `age`; or empty.

    Raises:
        ValueError: If one cannot be understood; the message shows how it is written.
    """
    if sex and sex.upper() not in _SEXES:
        msg = f'Expected --sex {", ".join(_SEXES)}, got "{sex}".'
        raise ValueError(msg)
    ages = _range(age, _years, "--age 40..70, 40.., ..70 or 55, in years")
    dates = _range(date, datetime.date.fromisoformat, "--date 2024-01-01..2024-12-31, with either end or one day")
    return CaseFilter(finding=finding, tag=tag, sex=sex.upper(), age=ages, dates=dates)


def _range(text: str, value: Callable[[str], _Value], form: str) -> tuple[_Value | None, _Value | None]:
    if not text.strip():
        return None, None
    first, dots, last = (part.strip() for part in text.partition(".."))
    try:
        low, high = (value(part) if part else None for part in (first, last if dots else first))
    except ValueError as error:
        raise _misspelt(text, form) from error
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        raise _misspelt(text, form)
    return low, high


def _years(text: str) -> float:
    years = float(text)
    if not math.isfinite(years):
        raise ValueError(text)
    return years


def _misspelt(text: str, form: str) -> ValueError:
    return ValueError(f'Expected {form}, got "{text}".')
