"""Filters as SQL conditions, with every value quoted."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from typing import TypeVar

from colipri_core.cases import CaseFilter
from colipri_core.vocabulary.findings import find_concept

Bound = TypeVar("Bound")


def condition(where: CaseFilter | None) -> str | None:
    """Return the SQL condition of a filter, None for one that lets everything through.

    Args:
        where: The filter.
    """
    if where is None:
        return None
    parts = [
        _has("findings", known_name(where.finding)),
        _has("tags", where.tag),
        f"sex = {quoted(where.sex)}" if where.sex else "",
        *_between("age", where.age, str),
        *_between("date", where.dates, lambda day: f"date '{day.isoformat()}'"),
    ]
    return " AND ".join(part for part in parts if part) or None


def one_of(column: str, values: Iterable[str]) -> str:
    """Return the SQL condition that a column holds one of some values, at least one."""
    return f"{column} IN ({', '.join(quoted(value) for value in values)})"


def known_name(finding: str) -> str:
    """Return the name of a known finding by any of its terms; other text as it stands, without outer spaces."""
    concept = find_concept(finding)
    return concept.name if concept is not None else finding.strip()


def quoted(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _has(column: str, value: str) -> str:
    return f"array_has({column}, {quoted(value)})" if value else ""


def _between(column: str, ends: tuple[Bound | None, Bound | None], literal: Callable[[Bound], str]) -> list[str]:
    low, high = ends
    return [f"{column} {sign} {literal(end)}" for sign, end in ((">=", low), ("<=", high)) if end is not None]
