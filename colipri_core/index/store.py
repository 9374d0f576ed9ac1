"""The case store: add, change, remove and search cases.

Any number of processes may read while one writes. A reader sees whole batches: what a batch adds becomes visible in
one commit, and a writer that is killed leaves the batches it finished.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

from colipri_core.cases import CaseFilter
from colipri_core.cases import CaseRecord
from colipri_core.cases import Embedding
from colipri_core.cases import Match
from colipri_core.cases import SentenceMatch
from colipri_core.cases import StoredCase
from colipri_core.errors import StoreError
from colipri_core.index.about import About
from colipri_core.index.database import Database
from colipri_core.index.filters import condition
from colipri_core.index.filters import one_of
from colipri_core.index.lock import local_folder
from colipri_core.index.lock import writer_lock
from colipri_core.index.schema import CASES
from colipri_core.index.schema import KINDS
from colipri_core.index.schema import REGIONS
from colipri_core.index.schema import SENTENCES
from colipri_core.index.schema import STORED
from colipri_core.index.schema import stored_case
from colipri_core.index.search import matches_by_case
from colipri_core.index.search import matches_by_region
from colipri_core.index.search import matching_sentences
from colipri_core.index.vectors import bring_up_to_date
from colipri_core.index.vectors import has_index
from colipri_core.index.writing import NextGeneration
from colipri_core.index.writing import check_vectors
from colipri_core.index.writing import write_records
from colipri_core.provenance import ModelCard

if TYPE_CHECKING:
    from lancedb.table import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store holds.

    Args:
        address: Where it is.
        format: Version of its format.
        model: The model of its vectors; None while it is empty.
        cases: Number of cases.
        regions: Number of vectors of parts of cases.
        sentences: Number of sentences of reports.
        indexed: Tables that have a vector index.
    """

    address: str
    format: int
    model: ModelCard | None
    cases: int
    regions: int
    sentences: int
    indexed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        model = self.model.to_json() if self.model is not None else None
        return {**dataclasses.asdict(self), "model": model, "indexed": list(self.indexed)}


def open_store(
    address: str | os.PathLike[str],
    mode: Literal["r", "r+", "w"] = "r",
    *,
    storage_options: Mapping[str, str] | None = None,
) -> CaseStore:
    """Open a case store.

    Args:
        address: A folder, or a URL of an object store such as s3://bucket/cases.
        mode: "r" to search; "r+" to change it as well; "w" also makes an empty store where there is nothing.
        storage_options: Credentials and the like of an object store, as LanceDB takes them.

    Raises:
        StoreError: If there is no store, or it is damaged or of a newer format, or the folder holds other files.
        MissingDependencyError: If LanceDB is not installed.
        ValueError: If the mode is none of these.
    """
    if mode not in {"r", "r+", "w"}:
        msg = f'Expected the mode "r", "r+" or "w", got "{mode}".'
        raise ValueError(msg)
    text = os.fspath(address)
    database = Database(text if "://" in text else str(Path(text)), create=mode == "w", storage_options=storage_options)
    return CaseStore(database, writable=mode != "r")


class CaseStore:
    """Cases with their vectors; made by `open_store`. Implements `colipri_core.cases.CaseSearch`.

    Args:
        database: Its tables.
        writable: Whether it may be changed.
    """

    def __init__(self, database: Database, *, writable: bool) -> None:
        self._database = database
        self._writable = writable
        database.about()  # a store of a newer format is refused now, not at the first search

    @property
    def address(self) -> str:
        """Where the store is."""
        return self._database.address

    @property
    def about(self) -> About:
        """What the store says of itself now: its model, and the length of its vectors."""
        return self._database.about()

    def __len__(self) -> int:
        return self._count(CASES, self._database.about())

    def info(self) -> StoreInfo:
        """Return what the store holds.

        Raises:
            StoreError: If it cannot be read.
        """
        about = self._database.about()
        cases, regions, sentences = (self._count(kind, about) for kind in KINDS)
        tables = ((kind, self._database.table(kind, about.generation)) for kind in KINDS)
        return StoreInfo(
            address=self.address,
            format=about.format,
            model=about.card,
            cases=cases,
            regions=regions,
            sentences=sentences,
            indexed=tuple(kind for kind, table in tables if table is not None and has_index(table)),
        )

    def paths(self) -> dict[str, str]:
        """Return the names of all cases and where their scans were."""
        table = self._database.table(CASES, self._database.about().generation)
        if table is None:
            return {}
        with self._database.translated():
            return dict(zip(*columns_of(table, "case", "path"), strict=True))

    def cases(self, where: CaseFilter | None = None) -> Iterator[StoredCase]:
        """Yield the stored cases, in no particular order.

        Args:
            where: Which of them; None for all.
        """
        table = self._database.table(CASES, self._database.about().generation)
        if table is None:
            return
        query = table.search().select(list(STORED)).limit(None)
        filtered = condition(where)
        with self._database.translated():
            for batch in (query if filtered is None else query.where(filtered)).to_batches():
                yield from (stored_case(row) for row in batch.to_pylist())

    def search(
        self, query: Embedding, k: int = 5, *, where: CaseFilter | None = None, by_region: bool = False
    ) -> list[Match]:
        """Return the nearest cases, nearest first; fewer than `k` if the store has fewer that fit.

        Args:
            query: Vector of a volume, of a part of one, or of a text.
            k: How many cases at most.
            where: Which cases to look at; None for all.
            by_region: Compare with the parts of the cases, and take the nearest part of each.

        Raises:
            StoreModelError: If the query is of other weights than the store.
            StoreError: If the query holds NaN, or the store cannot be read.
            ValueError: If `k` is not positive.
        """
        about = self._about_for(query, k)
        cases = self._database.table(CASES, about.generation)
        with self._database.translated():
            if cases is None:
                return []
            if not by_region:
                return matches_by_case(cases, query.vector, k, where=condition(where))
            regions = self._database.table(REGIONS, about.generation)
            return [] if regions is None else matches_by_region(cases, regions, query.vector, k, condition(where))

    def sentences(self, query: Embedding, k: int = 5) -> list[SentenceMatch]:
        """Return the sentences of stored reports that are nearest to a vector, nearest first, each once.

        Args:
            query: Vector of a volume, of a part of one, or of a text.
            k: How many at most.

        Raises:
            StoreModelError: If the query is of other weights than the store.
            StoreError: If the query holds NaN, or the store cannot be read.
            ValueError: If `k` is not positive.
        """
        about = self._about_for(query, k)
        cases, sentences = (self._database.table(kind, about.generation) for kind in (CASES, SENTENCES))
        if cases is None or sentences is None:
            return []
        with self._database.translated():
            return matching_sentences(cases, sentences, query.vector, k)

    def add(self, records: Sequence[CaseRecord]) -> None:
        """Add cases in one batch: all become visible at once, or none.

        Args:
            records: The cases.

        Raises:
            StoreError: If a name is taken, or a vector holds NaN or is of another length.
            StoreModelError: If they are of other weights than the store.
            StoreBusyError: If another writer does not finish in time.
        """
        with self._writing() as about:
            table = self._database.table(CASES, about.generation)
            names = [record.source.case for record in records]
            taken = {name for name, count in collections.Counter(names).items() if count > 1}
            if table is not None and names:
                rows = table.search().where(one_of("case", names)).select(["case"]).limit(None).to_list()
                taken |= {row["case"] for row in rows}
            if taken:
                msg = (
                    f"Expected new cases, found names that are taken: {_listed(taken)}. "
                    "Update or remove them first, or name the new cases otherwise. Nothing was added."
                )
                raise StoreError(msg)
            if records:
                write_records(self._database, about, records)

    def update(self, records: Sequence[CaseRecord]) -> None:
        """Put cases in the place of those of the same names, or add them, in one batch.

        Args:
            records: The cases.

        Raises:
            StoreError: If a vector holds NaN or is of another length.
            StoreModelError: If they are of other weights than the store.
            StoreBusyError: If another writer does not finish in time.
        """
        with self._writing() as about:
            former = self._entries(about, [record.source.case for record in records])
            if records:
                write_records(self._database, about, records, replace=True)
            if former:
                self._delete_parts(about, one_of("entry", former))

    def remove(self, cases: Collection[str]) -> None:
        """Remove cases.

        Args:
            cases: Their names.

        Raises:
            StoreError: If one is not in the store; nothing is removed then.
            StoreBusyError: If another writer does not finish in time.
        """
        with self._writing() as about:
            missing = set(cases) - set(self.paths())
            if missing:
                msg = f"Expected names of stored cases, got {_listed(missing)}. See: colipri index list STORE."
                raise StoreError(msg)
            self._delete(about, one_of("case", cases) if cases else "false")

    def tidy(self) -> None:
        """Compact the store, make or extend vector indexes where they pay, and drop what unfinished writers left."""
        with self._writing() as about:
            table = self._database.table(CASES, about.generation)
            if table is None:
                return
            if local_folder(self.address) is not None:  # elsewhere another writer may be in the midst of a batch
                self._drop_orphans(about, table)
            for kind in KINDS:
                found = self._database.table(kind, about.generation)
                if found is not None:
                    bring_up_to_date(found, about.dimension)

    def next_generation(self, card: ModelCard, dimension: int) -> NextGeneration:
        """Begin to write all cases again, for another model; nothing is visible before `NextGeneration.use`.

        Args:
            card: The model.
            dimension: Length of its vectors.
        """
        with self._writing() as about:
            coming = About(generation=about.generation + 1, dimension=dimension, card=card)
            self._database.drop(coming.generation)
        return NextGeneration(self._database, coming)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[About]:
        if not self._writable:
            msg = 'The store was opened to be read. Open it with open_store(address, "r+") to change it.'
            raise ValueError(msg)
        with writer_lock(self.address), self._database.translated():
            yield self._database.about()

    def _entries(self, about: About, names: Collection[str]) -> list[str]:
        table = self._database.table(CASES, about.generation)
        if table is None or not names:
            return []
        rows = table.search().where(one_of("case", names)).select(["entry"]).limit(None).to_list()
        return [row["entry"] for row in rows]

    def _delete(self, about: About, where: str) -> None:
        table = self._database.table(CASES, about.generation)
        if table is not None:
            table.delete(where)
        self._delete_parts(about, where)

    def _delete_parts(self, about: About, where: str) -> None:
        for kind in (REGIONS, SENTENCES):
            table = self._database.table(kind, about.generation)
            if table is not None:
                table.delete(where)

    def _drop_orphans(self, about: About, cases: Table) -> None:
        live = set(columns_of(cases, "entry")[0])
        for kind in (REGIONS, SENTENCES):
            table = self._database.table(kind, about.generation)
            dead = sorted(set(columns_of(table, "entry")[0]) - live) if table is not None else []
            if table is not None and dead:
                table.delete(one_of("entry", dead))

    def _about_for(self, query: Embedding, k: int) -> About:
        if k < 1:
            msg = f"Expected a number of results of at least 1, got {k}."
            raise ValueError(msg)
        about = self._database.about()
        about.check_model(query.provenance.model, self.address)
        check_vectors("the query", [query.vector], about.dimension or len(query.vector))
        return about

    def _count(self, kind: str, about: About) -> int:
        table = self._database.table(kind, about.generation)
        with self._database.translated():
            return table.count_rows() if table is not None else 0


def columns_of(table: Table, *names: str) -> tuple[list[str], ...]:
    """Return whole columns of text."""
    rows = table.search().select(list(names)).limit(None).to_arrow()
    return tuple(rows[name].to_pylist() for name in names)


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
