"""Which cases are searched, by name or address of their store, and how the scan of a match is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from colipri_core.cases import CaseSearch
from colipri_core.engine import Engine
from colipri_core.errors import StoreError
from colipri_core.errors import UnreadableInputError
from colipri_core.io import read_volume
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.remote.client.engine import RemoteEngine
from colipri_core.report import SentenceStore
from colipri_core.volume import Volume


class Archive(CaseSearch, SentenceStore, Protocol):
    """A case store as those who search it see it."""


def offered_stores(engine: Engine) -> Sequence[str]:
    """Return the names of the stores that an engine's server offers; none for an engine in this process."""
    return engine.stores if isinstance(engine, RemoteEngine) else ()


def store_for(engine: Engine, address: str) -> Archive:
    """Open a store.

    Args:
        engine: The model that asks.
        address: Name of a store of the engine's server, else a folder or the URL of an object store, which are opened
            from here.

    Raises:
        StoreError: If there is no such store, or it is damaged or of a newer format.
        MissingDependencyError: If LanceDB is needed and not installed.
    """
    if isinstance(engine, RemoteEngine) and engine.stores:
        if address in engine.stores:
            return engine.store(address)
        if "://" not in address and not Path(address).exists():
            names = ", ".join(engine.stores)
            msg = f'Expected a case store of the server ({names}) or the folder of one, got "{address}".'
            raise StoreError(msg)
    from colipri_core.index import open_store

    return open_store(address)


def read_match(
    engine: Engine,
    address: str,
    path: str,
    *,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Volume:
    """Read the scan of a match from where its store says it lies.

    Args:
        engine: The model that asked.
        address: Name or address of the store, as for `store_for`.
        path: Path of the match; relative to the server's folder if the store is the server's own.
        progress: Receives (fraction, message) while the server's is fetched.
        cancel: Cancels fetching.

    Raises:
        Cancelled: If the cancel token is set.
        UnreadableInputError: If the path is empty, or nothing that can be read lies there.
    """
    if isinstance(engine, RemoteEngine) and address in engine.stores:
        return engine.read(path, progress=progress, cancel=cancel)
    if not path:
        msg = "Expected the path of the scan, found none in the store. Add the case anew with `colipri index add`."
        raise UnreadableInputError(msg)
    return read_volume(path)
