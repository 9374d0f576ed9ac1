"""A store's tables in LanceDB: the only module that calls it, so that its errors become ours here."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from colipri_core.errors import MissingDependencyError
from colipri_core.errors import StoreError
from colipri_core.index.about import About
from colipri_core.index.lock import LOCK_FILE
from colipri_core.index.lock import local_folder
from colipri_core.index.schema import KINDS
from colipri_core.index.schema import schema
from colipri_core.index.schema import table_of

if TYPE_CHECKING:
    import lancedb
    from lancedb.table import Table

logger = logging.getLogger(__name__)

_ABOUT = "about"
_MISSING = "was not found"
_ALWAYS_LATEST = datetime.timedelta(0)


class Database:
    """Connection to the tables of one store.

    Args:
        address: A folder, or a URL such as s3://bucket/store.
        create: Make an empty store if there is nothing at the address.
        storage_options: Credentials and the like of an object store, as LanceDB takes them.

    Raises:
        StoreError: If there is no store at the address, or it cannot be read.
        MissingDependencyError: If LanceDB is not installed.
    """

    def __init__(self, address: str, *, create: bool, storage_options: Mapping[str, str] | None = None) -> None:
        self.address = address
        self._tables: dict[str, Table] = {}
        self._about: tuple[int, About] | None = None
        if not create:
            _check_there(address)
        self._connection = _connect(address, storage_options)
        if create and self._table(_ABOUT) is None:
            _check_empty(address)
            self.set_about(About())

    def about(self) -> About:
        """Return what the store says of itself now.

        Raises:
            StoreError: If there is no store, or it is of a newer format or damaged.
        """
        table = self._table(_ABOUT)
        if table is None:
            raise StoreError(_no_store(self.address))
        with self.translated():
            version = table.version
            if self._about is None or self._about[0] != version:
                rows = table.search().limit(1).to_list()
                self._about = version, About.from_row(rows[0] if rows else {}, self.address)
        return self._about[1]

    def set_about(self, about: About) -> None:
        """Replace what the store says of itself, in one commit."""
        import pyarrow as pa

        table = self._table(_ABOUT)
        row = pa.Table.from_pylist([about.to_row()])
        with self.translated():
            if table is None:
                self._connection.create_table(_ABOUT, data=row)
            else:
                table.add(row, mode="overwrite")

    def table(self, kind: str, generation: int) -> Table | None:
        """Return a table of cases, None if nothing was written to it yet.

        Args:
            kind: One of `schema.KINDS`.
            generation: See `about`.
        """
        return self._table(f"{kind}_{generation}")

    def append(self, kind: str, about: About, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows in one commit; none does nothing.

        Args:
            kind: One of `schema.KINDS`.
            about: Which generation, and how long the vectors are.
            rows: The rows.
        """
        if rows:
            with self.translated():
                self._for_writing(kind, about).add(table_of(rows, schema(kind, about.dimension)))

    def replace(self, kind: str, about: About, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put rows in the place of those of the same cases, or add them, in one commit.

        Args:
            kind: A table with one row a case.
            about: See `append`.
            rows: The rows, at least one.
        """
        data = table_of(rows, schema(kind, about.dimension))
        with self.translated():
            merge = self._for_writing(kind, about).merge_insert("case")
            merge.when_matched_update_all().when_not_matched_insert_all().execute(data)

    def drop_before(self, generation: int) -> None:
        """Remove the tables of generations older than one.

        Args:
            generation: The oldest to keep.
        """
        self._drop(lambda number: number < generation)

    def drop(self, generation: int) -> None:
        """Remove the tables of one generation, left over from a rebuild that did not end."""
        self._drop(lambda number: number == generation)

    def _drop(self, chosen: Callable[[int], bool]) -> None:
        with self.translated():
            for name in self._names():
                kind, _, number = name.rpartition("_")
                if kind in KINDS and number.isdecimal() and chosen(int(number)):
                    self._connection.drop_table(name)
                    self._tables.pop(name, None)

    def _names(self) -> list[str]:
        names: list[str] = []
        page = self._connection.list_tables()
        while page.tables:
            names += page.tables
            if not page.page_token:
                break
            page = self._connection.list_tables(page_token=page.page_token)
        return names

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what LanceDB raises for damaged or unreachable data into `StoreError`."""
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            found = str(error).splitlines()[0][:300]
            msg = (
                f'The case store "{self.address}" cannot be read or written: {found} '
                "Check that it is whole, reachable, and that there is free space."
            )
            raise StoreError(msg) from error

    def _table(self, name: str) -> Table | None:
        """An open table; it follows what other processes write to it."""
        try:
            if name not in self._tables:
                self._tables[name] = self._connection.open_table(name)
            return self._tables[name]
        except ValueError as error:
            if _MISSING not in str(error):
                raise StoreError(f'The table "{name}" of "{self.address}" cannot be opened: {error}') from error
            return None

    def _for_writing(self, kind: str, about: About) -> Table:
        name = f"{kind}_{about.generation}"
        return self._table(name) or self._connection.create_table(name, schema=schema(kind, about.dimension))


def _connect(address: str, storage_options: Mapping[str, str] | None) -> lancedb.DBConnection:
    os.environ.setdefault("LANCEDB_LOG", "error")  # its advice on clusters of vectors is not for who adds scans
    try:
        import lancedb
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"lancedb", "lance_namespace", "pyarrow"}:
            raise
        msg = (
            f"Case stores need the package {error.name}, which is not installed. "
            'Install it with: pip install "napari-colipri[index]"'
        )
        raise MissingDependencyError(msg) from error
    options = dict(storage_options) if storage_options else None
    try:
        return lancedb.connect(address, storage_options=options, read_consistency_interval=_ALWAYS_LATEST)
    except (ValueError, RuntimeError, OSError) as error:
        msg = f'Expected a folder or an object store at "{address}", found none that can be used ({error}).'
        raise StoreError(msg) from error


def _check_there(address: str) -> None:
    """LanceDB makes the folder it is pointed to; a reader must not."""
    folder = local_folder(address)
    if folder is not None and not folder.is_dir():
        raise StoreError(_no_store(address))


def _check_empty(address: str) -> None:
    """A new store takes an empty folder, or one in which the making of a store was cut short."""
    folder = local_folder(address)
    ours = {LOCK_FILE, f"{_ABOUT}.lance"}
    if folder is not None and folder.is_dir() and any(path.name not in ours for path in folder.iterdir()):
        msg = (
            f'Expected a case store or an empty folder at "{address}", found a folder with other files. '
            "Name another folder; nothing was changed in this one."
        )
        raise StoreError(msg)


def _no_store(address: str) -> str:
    return (
        f'Expected a case store at "{address}", found none. Check the path, or make one: colipri index add STORE CT...'
    )
