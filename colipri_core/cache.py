"""An on-disk cache of arrays, such as encoded features: bounded in size, safe for several processes.

One entry is one `.npz` file named by its key. It is written to a temporary file and moved into place, so that a reader
sees a whole entry or none; the CRCs of the format find a damaged one, which is dropped and computed again. Reading an
entry renews its time stamp, and the entries not read for longest go first when the cache outgrows its limit. No lock is
needed: two processes that write the same key write the same content, and a file that vanishes is a miss.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs

logger = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[Any]]

DEFAULT_MAX_BYTES = 4 * 1024**3
"""Size the cache may reach on disk (our choice: about 160 volumes of the published model)."""

_SHRINK_TO = 0.9
_STALE_SECONDS = 3600.0
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError)


class ArrayCache:
    """A folder of cached arrays.

    Args:
        folder: Where the entries live, made on first use; None for `default_folder()`.
        max_bytes: Size the folder may reach; None for COLIPRI_CACHE_GB or 4 GiB. 0 switches the cache off.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.max_bytes = _limit_from_environment() if max_bytes is None else max_bytes

    def load(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays stored under a key, or None.

        Args:
            key: As given to `store`; see `cache_key`.
        """
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("The cache entry %s cannot be read (%s); computing it again", path.name, error)
            return None
        except _DAMAGE as error:
            logger.warning("The cache entry %s is damaged (%s); computing it again", path.name, error)
            path.unlink(missing_ok=True)
            return None
        return arrays

    def store(self, key: str, arrays: Arrays) -> bool:
        """Store arrays under a key and drop the oldest entries if the cache became too large.

        A full or read-only disk costs the entry, never the result: it is logged.

        Args:
            key: Name of the entry, letters and digits.
            arrays: What to store.

        Returns:
            Whether the arrays are stored.
        """
        if sum(array.nbytes for array in arrays.values()) > self.max_bytes:
            return False
        path = self._path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_atomically(path, arrays)
        except OSError as error:
            logger.warning("Encoded features could not be cached in %s (%s)", self.folder, error)
            return False
        self._shrink(keep=path)
        return True

    def clear(self) -> None:
        """Remove every entry."""
        for path, _ in self._entries():
            path.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Return how much the entries take on disk."""
        return sum(status.st_size for _, status in self._entries())

    def __len__(self) -> int:
        return sum(1 for _ in self._entries())

    def _path(self, key: str) -> Path:
        if not key.isalnum():
            msg = f'A cache key has letters and digits only, got "{key}". Use cache_key().'
            raise ValueError(msg)
        return self.folder / f"{key}.npz"

    def _entries(self, pattern: str = "*.npz") -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob(pattern):
            try:
                yield path, path.stat()
            except FileNotFoundError:  # another process dropped it
                continue

    def _shrink(self, *, keep: Path) -> None:
        for path, status in self._entries("*.tmp"):
            if time.time() - status.st_mtime > _STALE_SECONDS:  # left by a process that was killed
                path.unlink(missing_ok=True)
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        total = sum(status.st_size for _, status in entries)
        if total <= self.max_bytes:
            return
        for path, status in entries:
            if total <= self.max_bytes * _SHRINK_TO:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total -= status.st_size


def cache_key(**parts: object) -> str:
    """Return a key that changes when any part does.

    Args:
        **parts: JSON values that determine the content, such as hashes and the preprocessing spec.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def default_folder() -> Path:
    """Return COLIPRI_CACHE_DIR, or the user's cache folder of this package."""
    wanted = os.environ.get("COLIPRI_CACHE_DIR")
    return Path(wanted) if wanted else platformdirs.user_cache_path("colipri", appauthor=False) / "features"


def _limit_from_environment() -> int:
    wanted = os.environ.get("COLIPRI_CACHE_GB", "")
    if not wanted:
        return DEFAULT_MAX_BYTES
    try:
        gigabytes = float(wanted)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        msg = f'COLIPRI_CACHE_GB must be a number of gigabytes, 0 to switch the cache off, got "{wanted}".'
        raise ValueError(msg)
    return int(gigabytes * 1024**3)


def _write_atomically(path: Path, arrays: Arrays) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem[:16]}-", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            np.savez(stream, allow_pickle=False, **dict(arrays))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
