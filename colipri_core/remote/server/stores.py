"""The case stores a server may search, by the names it was given; opened when they are first asked for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path

from colipri_core.cases import Match
from colipri_core.errors import NotFoundError
from colipri_core.errors import StoreError
from colipri_core.index import CaseStore
from colipri_core.index import open_store
from colipri_core.remote.server.paths import shown

_MOST = 1000


class Stores:
    """Case stores by name. Any thread may call it.

    Args:
        addresses: Name -> address.
        root: The folder whose volumes may be opened by path.
    """

    def __init__(self, addresses: Mapping[str, str], root: Path | None) -> None:
        self._addresses = addresses
        self._root = root
        self._open: dict[str, CaseStore] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(sorted(self._addresses))

    def check_all(self) -> None:
        """Open each store once, so that a wrong address is found before anyone asks.

        Raises:
            StoreError: If one cannot be opened; the message names its address.
        """
        for address in self._addresses.values():
            open_store(address)

    def check(self, name: str) -> None:
        """Refuse a name of no store.

        Raises:
            NotFoundError: If there is none of this name.
        """
        if name not in self._addresses:
            msg = f"Expected the name of a case store, found another. There are: {', '.join(self.names) or 'none'}."
            raise NotFoundError(msg)

    def get(self, name: str) -> CaseStore:
        """Return a store.

        Raises:
            NotFoundError: If there is none of this name.
            StoreError: If it cannot be opened.
        """
        self.check(name)
        with self._lock:
            if name not in self._open:
                self._open[name] = self._opened(name)
            return self._open[name]

    def _opened(self, name: str) -> CaseStore:
        try:
            return open_store(self._addresses[name])
        except StoreError as error:  # whose message names the address
            msg = f'Expected the case store "{name}" to be there, but it cannot be opened. Ask whoever runs the server.'
            raise StoreError(msg) from error

    def shown(self, matches: list[Match]) -> list[Match]:
        """Matches as clients may see them: paths below the allowed folder, relative to it, and no others."""
        return [dataclasses.replace(match, path=shown(self._root, match.path)) for match in matches]


def check_count(k: int) -> None:
    """Refuse a search for no cases, or for more than anyone reads.

    Raises:
        ValueError: If `k` is not between 1 and 1000.
    """
    if not 1 <= k <= _MOST:
        msg = f"Expected a number of results from 1 to {_MOST}, found {k}."
        raise ValueError(msg)
