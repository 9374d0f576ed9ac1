"""Nearest vectors of a table: exact while that is quick, through an index where it pays.

The index is IVF with one byte a number (LanceDB's IVF_SQ): vectors are grouped around centroids, a query looks at the
nearest groups, and the best candidates are compared again with the exact vectors. The constants are our choice;
benchmarks/case_store.py measures what they give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import cast

import numpy as np

from colipri_core.cases import Vector

if TYPE_CHECKING:
    from lancedb.query import LanceVectorQueryBuilder
    from lancedb.table import Table

INDEX_FROM_NUMBERS = 8_000_000
"""Vectors times dimension from which an index pays: below, comparing with every vector takes about as long."""

ROWS_PER_GROUP = 1024
GROUPS_LOOKED_AT = 24
REFINE = 2
"""Candidates compared exactly, for each result wanted."""

REGROUP_AT = 3
"""Growth, in rows, at which the groups are made anew (our choice)."""

ITERATIONS = 15
"""Of k-means, for the centroids (our choice)."""

_METRIC: Literal["cosine"] = "cosine"
_INDEX = "vector_idx"


def nearest(
    table: Table, vector: Vector, k: int, *, where: str | None, columns: Sequence[str], exact: bool = False
) -> list[dict[str, Any]]:
    """Return the rows nearest to a vector, nearest first, with their cosine distance as `_distance`.

    Args:
        table: With a column `vector`.
        vector: Unit vector (E,).
        k: How many rows.
        where: SQL condition that holds for each.
        columns: Columns to return.
        exact: Compare with every vector, even where there is an index.
    """
    query = cast("LanceVectorQueryBuilder", table.search(vector.astype(np.float32), vector_column_name="vector"))
    query = query.distance_type(_METRIC)
    if where is not None:
        query = query.where(where, prefilter=True)
    query = query.bypass_vector_index() if exact else query.nprobes(GROUPS_LOOKED_AT).refine_factor(REFINE)
    rows: list[dict[str, Any]] = query.select([*columns, "_distance"]).limit(k).to_list()
    return rows


def pays(rows: int, dimension: int) -> bool:
    """Whether a table is large enough for an index."""
    return rows * dimension >= INDEX_FROM_NUMBERS and rows >= 4 * ROWS_PER_GROUP


def has_index(table: Table) -> bool:
    """Whether a table has a vector index."""
    return any(index.name == _INDEX for index in table.list_indices())


def bring_up_to_date(table: Table, dimension: int) -> None:
    """Compact a table, and make its vector index or add the new rows to it, where it pays.

    The groups were made for the rows there were; once there are `REGROUP_AT` times as many they are made again.

    Args:
        table: The table.
        dimension: Length of its vectors.
    """
    rows = table.count_rows()
    stats = table.index_stats(_INDEX) if has_index(table) else None
    grouped = stats.num_indexed_rows if stats is not None else 0
    if pays(rows, dimension) and rows >= REGROUP_AT * grouped:
        from lancedb.index import IvfSq

        groups = rows // ROWS_PER_GROUP
        config = IvfSq(distance_type=_METRIC, num_partitions=groups, max_iterations=ITERATIONS)
        table.create_index("vector", config=config)
    table.optimize()
