"""Volumes by path: only below one folder, whatever the path says and wherever its links lead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from pathlib import PurePosixPath

from colipri_core.errors import NotFoundError
from colipri_core.errors import UnreadableInputError

_MOST_FILES = 100_000
_REFUSED = "Expected a path below the server's allowed folder, with forward slashes, found another one."


def resolve(root: Path | None, path: str) -> Path:
    """Return the place on this host that a client's path names.

    Args:
        root: The allowed folder; None allows nothing.
        path: Relative to it, with forward slashes.

    Raises:
        NotFoundError: If paths are not allowed, or there is nothing.
        ValueError: If the path, or a link in it or below it, leads out of the folder.
    """
    if root is None:
        msg = "Expected a volume by its digest: this server opens no paths. Start it with --root to allow a folder."
        raise NotFoundError(msg)
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or any(bad in path for bad in "\\\0:"):
        raise ValueError(_REFUSED)
    base = root.resolve()
    try:
        place = (base / pure).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        msg = "Expected the path of a volume in the server's allowed folder, found nothing there. Check its spelling."
        raise UnreadableInputError(msg) from error
    for found in _tree(place):
        if not found.is_relative_to(base):
            raise ValueError(_REFUSED)
    return place


def shown(root: Path | None, path: str) -> str:
    """Return a path of this host as clients may see it: relative to the allowed folder, or empty.

    Args:
        root: The allowed folder.
        path: A path of this host.
    """
    if root is None or not path:
        return ""
    try:
        return Path(path).resolve().relative_to(root.resolve()).as_posix()
    except (OSError, RuntimeError, ValueError):
        return ""


def _tree(place: Path) -> Iterator[Path]:
    """Where a file or folder and everything below it really lies."""
    yield place
    count = 0
    for folder, names, files in os.walk(place):
        for name in (*names, *files):
            count += 1
            if count > _MOST_FILES:
                msg = f"Expected a folder of at most {_MOST_FILES} files, found more. Name the folder of one scan."
                raise ValueError(msg)
            entry = Path(folder, name)
            if entry.is_symlink():
                yield entry.resolve()
