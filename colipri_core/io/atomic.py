"""Writing a file so that it is either whole or not there: a temporary file in the same folder, then one rename."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colipri_core.errors import OutputError


@contextmanager
def atomic_file(path: Path, suffix: str) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it takes the place of `path`, on failure it is removed.

    Args:
        path: The file to be written; what stands there stays until the new file is complete on disk.
        suffix: Suffix of the temporary file, by which writers choose their format.

    Yields:
        The temporary path, in the same folder.

    Raises:
        ValueError: If the folder does not exist.
        OutputError: If the operating system refuses: a full disk, no permission, a folder at that place.
    """
    if not path.parent.is_dir():
        msg = f'Cannot write "{path.name}": its folder "{path.parent.name}" does not exist. Create it first.'
        raise ValueError(msg)
    try:
        with _replacing(path, suffix) as temporary:
            yield temporary
    except OSError as error:
        msg = (
            f'Cannot write "{path}": expected room and permission to write, found "{error.strerror or error}". '
            "Free some space or choose another folder. What stood there before is unchanged."
        )
        raise OutputError(msg, error) from error


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document, indented, atomically."""
    with atomic_file(path, ".json") as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path, suffix: str) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=".colipri-", suffix=suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
