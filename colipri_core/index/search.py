"""Searches in a store's tables: by case, by part of a case, by sentence of a report."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from colipri_core.cases import Match
from colipri_core.cases import Place
from colipri_core.cases import SentenceMatch
from colipri_core.cases import Vector
from colipri_core.index.filters import one_of
from colipri_core.index.schema import STORED
from colipri_core.index.schema import Rows
from colipri_core.index.schema import stored_case
from colipri_core.index.vectors import nearest

if TYPE_CHECKING:
    from lancedb.table import Table

_PARTS_A_RESULT = 8
"""Rows asked for at first, for each distinct result wanted; more while that is not enough (our choice)."""

_GROWTH = 4


def matches_by_case(cases: Table, vector: Vector, k: int, *, where: str | None) -> list[Match]:
    """Return the cases whose whole is nearest to a vector.

    Args:
        cases: The table of cases.
        vector: Unit vector (E,).
        k: How many.
        where: SQL condition, or None.
    """
    rows = nearest(cases, vector, k, where=where, columns=STORED)
    return _sorted([_match(row, row["_distance"]) for row in rows])


def matches_by_region(cases: Table, regions: Table, vector: Vector, k: int, where: str | None) -> list[Match]:
    """Return the cases with the part nearest to a vector, and that part.

    Args:
        cases: The table of cases.
        regions: The table of their parts.
        vector: Unit vector (E,).
        k: How many cases.
        where: SQL condition, or None.
    """

    def ask(limit: int) -> Rows:
        return nearest(regions, vector, limit, where=where, columns=("entry", "name", "center_ras"))

    best, live = _distinct(ask, cases, k, key="entry", columns=("entry", *STORED))
    return _sorted([_match(live[row["entry"]], row["_distance"], _place(row)) for row in best])


def matching_sentences(cases: Table, sentences: Table, vector: Vector, k: int) -> list[SentenceMatch]:
    """Return the distinct sentences nearest to a vector.

    Args:
        cases: The table of cases.
        sentences: The table of the sentences of their reports.
        vector: Unit vector (E,).
        k: How many.
    """

    def ask(limit: int) -> Rows:
        return nearest(sentences, vector, limit, where=None, columns=("entry", "case", "text"))

    best, _ = _distinct(ask, cases, k, key="text", columns=("entry",))
    return [SentenceMatch(text=row["text"], distance=_distance(row["_distance"]), case=row["case"]) for row in best]


def _distinct(
    ask: Callable[[int], Rows], cases: Table, k: int, *, key: str, columns: Sequence[str]
) -> tuple[Rows, dict[str, dict[str, Any]]]:
    """The first row of each value of `key`, nearest first, among entries that `cases` names; and the entries' rows."""
    limit = k * _PARTS_A_RESULT
    known: dict[str, dict[str, Any] | None] = {}
    while True:
        rows = ask(limit)
        unknown = {row["entry"] for row in rows} - set(known)
        known.update(dict.fromkeys(unknown))
        if unknown:
            query = cases.search().where(one_of("entry", sorted(unknown))).select(list(columns)).limit(None)
            known.update({row["entry"]: row for row in query.to_list()})
        best: dict[str, dict[str, Any]] = {}
        for row in rows:
            if known[row["entry"]] is not None:
                best.setdefault(row[key], row)
        if len(best) >= k or len(rows) < limit:
            live = {entry: row for entry, row in known.items() if row is not None}
            return list(best.values())[:k], live
        limit *= _GROWTH


def _match(row: dict[str, Any], distance: float, place: Place | None = None) -> Match:
    case = stored_case(row)
    values = {name: getattr(case, name) for name in case.__dataclass_fields__}
    return Match(**values, distance=_distance(distance), place=place)


def _place(row: dict[str, Any]) -> Place:
    right, anterior, superior = (float(value) for value in row["center_ras"])
    return Place(name=row["name"], center_ras=(right, anterior, superior))


def _distance(value: float) -> float:
    """Rounding makes the distance of a vector to itself a hair negative."""
    return round(max(0.0, float(value)), 6)


def _sorted(matches: list[Match]) -> list[Match]:
    return sorted(matches, key=lambda match: (match.distance, match.case))
