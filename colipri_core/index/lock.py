"""One writer at a time: a lock file in the store's folder, which the system frees when its holder dies.

On an object store there is no such lock. Commits there are atomic, and of two writers that change the same rows one is
told to try again; give each case to one writer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from colipri_core.errors import StoreBusyError

LOCK_FILE = ".writer.lock"
WAIT_SECONDS = 60.0
"""How long a writer waits for another, which holds the lock for one batch (our choice)."""


def local_folder(address: str) -> Path | None:
    """Return the folder of a store, None for one on an object store.

    Args:
        address: A path, or a URL such as s3://bucket/store.
    """
    if "://" not in address:
        return Path(address)
    scheme, _, rest = address.partition("://")
    return Path(rest) if scheme == "file" else None


@contextlib.contextmanager
def writer_lock(address: str, *, timeout: float = WAIT_SECONDS) -> Iterator[None]:
    """Be the only writer of a store while the body runs.

    Args:
        address: The store.
        timeout: Seconds to wait for another writer.

    Raises:
        StoreBusyError: If another writer does not finish in time.
    """
    folder = local_folder(address)
    if folder is None:
        yield
        return
    import filelock

    lock = filelock.FileLock(folder / LOCK_FILE, timeout=timeout)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        msg = (
            f'Another process has been writing to the store "{address}" for more than {timeout:.0f} seconds. '
            "Wait for it to end, or end it, and try again. Nothing was changed."
        )
        raise StoreBusyError(msg) from error
    try:
        yield
    finally:
        lock.release()
