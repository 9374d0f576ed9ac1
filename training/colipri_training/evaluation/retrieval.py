"""Retrieval between volumes and their reports: recall at k and mean reciprocal rank, both directions.

The rank of the right item counts every other item that is at least as near, so a model that embeds everything alike
finds nothing. Figures mean something only beside the size of the pool, which is therefore part of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from colipri_training.evaluation.bootstrap import Counts
from colipri_training.evaluation.bootstrap import mean_of_cases

DEPTHS = (1, 5, 10, 50, 100)

Floats = npt.NDArray[np.float64]


def ranks(similarity: Floats) -> npt.NDArray[np.intp]:
    """(N,) rank, from 1, of item i among all for query i; ties count against it.

    Args:
        similarity: (N, N) of queries (rows) and items; row i belongs to column i.
    """
    return np.asarray((similarity >= np.diag(similarity)[:, None]).sum(axis=1))


def describe(volumes: Tensor, reports: Tensor, counts: Counts) -> dict[str, Any]:
    """Return the figures of both directions as plain values.

    Args:
        volumes: (N, E) unit vectors.
        reports: (N, E) unit vectors; report i belongs to volume i.
        counts: (R, N) from `bootstrap.resample_patients`; queries are resampled, the pool stays.
    """
    similarity = (volumes.double() @ reports.double().T).numpy()
    return {
        "pool": len(similarity),
        "volume_to_report": _direction(ranks(similarity), counts),
        "report_to_volume": _direction(ranks(similarity.T), counts),
    }


def _direction(found: npt.NDArray[np.intp], counts: Counts) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for depth in DEPTHS:
        if depth <= len(found):
            recall = mean_of_cases((found <= depth).astype(np.float64), counts).to_json()
            figures[f"recall_at_{depth}"] = recall | {"chance": round(depth / len(found), 5)}
    figures["mean_reciprocal_rank"] = mean_of_cases(1.0 / found, counts).to_json()
    figures["median_rank"] = float(np.median(found))
    return figures
