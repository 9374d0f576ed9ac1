"""Writing batches of cases: checked as a whole first, and visible as a whole last."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from colipri_core.cases import CaseRecord
from colipri_core.errors import StoreError
from colipri_core.index.about import About
from colipri_core.index.database import Database
from colipri_core.index.lock import writer_lock
from colipri_core.index.schema import CASES
from colipri_core.index.schema import KINDS
from colipri_core.index.schema import REGIONS
from colipri_core.index.schema import SENTENCES
from colipri_core.index.schema import rows_of


class NextGeneration:
    """Tables that are being filled for another model; made by `CaseStore.next_generation`.

    Args:
        database: The store's tables.
        about: What the store will say of itself.
    """

    def __init__(self, database: Database, about: About) -> None:
        self._database = database
        self._about = about

    def write(self, records: Sequence[CaseRecord]) -> None:
        """Write one batch of cases.

        Args:
            records: The cases, none of them written before.
        """
        write_records(self._database, self._about, records)

    def use(self) -> None:
        """Let the store be these tables from now on; the former ones stay for readers until the next rebuild."""
        with writer_lock(self._database.address), self._database.translated():
            self._database.set_about(self._about)
            self._database.drop_before(self._about.generation - 1)


def write_records(database: Database, about: About, records: Sequence[CaseRecord], *, replace: bool = False) -> None:
    """Write one batch of cases, `cases` last.

    Args:
        database: The store's tables.
        about: What the store says of itself, or will say.
        records: The cases, at least one.
        replace: Put them in the place of those of the same names, if there are any.

    Raises:
        StoreError: If a vector holds NaN or is of another length.
        StoreModelError: If they are of other weights.
    """
    if about.card is None:
        first = records[0].embedding
        about = dataclasses.replace(about, card=first.provenance.model, dimension=len(first.vector))
    for record in records:
        about.check_model(record.embedding.provenance.model, database.address)
        vectors = [record.embedding.vector, *(region.vector for region in record.regions), *record.sentences.values()]
        check_vectors(f'the case "{record.source.case}"', vectors, about.dimension)
    written = [rows_of(record, uuid.uuid4().hex) for record in records]
    rows = {kind: [row for one in written for row in one[kind]] for kind in KINDS}
    if database.about().card is None:
        database.set_about(about)
    database.append(REGIONS, about, rows[REGIONS])
    database.append(SENTENCES, about, rows[SENTENCES])
    (database.replace if replace else database.append)(CASES, about, rows[CASES])


def check_vectors(whose: str, vectors: Iterable[np.ndarray[Any, Any]], dimension: int) -> None:
    """Refuse vectors that are none.

    Args:
        whose: Where they come from, for the message.
        vectors: The vectors.
        dimension: Length each must have.

    Raises:
        StoreError: If one is of another length, or holds NaN or infinity.
    """
    for vector in vectors:
        if vector.shape != (dimension,) or not np.isfinite(vector).all():
            found = f"shape {vector.shape}" if vector.shape != (dimension,) else "NaN or infinity"
            msg = (
                f"Expected vectors of {dimension} finite numbers, found {found} in {whose}. "
                "Check the scan and the model; nothing was stored."
            )
            raise StoreError(msg)
