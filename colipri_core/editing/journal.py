"""The autosave journal: every edit is appended and forced to disk before it counts, so a crash loses none that did.

The file is a sequence of records, nothing in it is ever rewritten:

    magic "CLPE" | uint32 length of the JSON | uint32 length of the payload | uint32 CRC-32 of both | JSON | payload

in little-endian order. The first record names the volume; each later one is an event: "do" (a step, its packed delta
the payload), "undo" or "redo". A process that dies while it writes leaves a torn last record, which fails its CRC: it
is cut off when the journal is opened again. A lock file beside it keeps two processes from writing to one journal.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import BinaryIO
from typing import Literal

from colipri_core.editing.step import Step
from colipri_core.errors import AutosaveError
from colipri_core.volume import Volume

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger(__name__)

SUFFIX = ".colipri-edits"
FORMAT_VERSION = 1

_NAME_BYTES = 150
"""Of a journal's name: file systems take 255 in all."""

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"CLPE"

Kind = Literal["do", "undo", "redo"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """One entry of a journal.

    Args:
        kind: "do", "undo" or "redo".
        step: What was done; None for undo and redo.
    """

    kind: Kind
    step: Step | None = None


class Journal:
    """An open journal; made by `open_journal`.

    Args:
        path: The file.
        stream: The file, open for reading and writing, at its end.
        lock: Held while the journal is open.
        events: What was read from it.

    Attributes:
        damaged: Name of the copy beside it that holds edits which could not be read; empty if all could.
    """

    def __init__(self, path: Path, stream: BinaryIO, lock: FileLock, events: tuple[Event, ...]) -> None:
        self.path = path
        self.events = events
        self.damaged = ""
        self._stream = stream
        self._lock = lock

    def append(self, event: Event) -> None:
        """Write an event and force it to disk.

        Raises:
            AutosaveError: If it cannot be written; the journal is then as it was before.
        """
        step = event.step
        document = {"event": event.kind, "step": step.to_json() if step else None}
        packed = step.delta.packed if step and step.delta else b""
        end = self._stream.tell()
        try:
            _write(self._stream, document, packed)
        except OSError as error:
            self._cut(end)
            msg = (
                f'The edit was not made, because it could not be saved to "{self.path.name}": '
                f"{error.strerror}. Free some space, then edit on."
            )
            raise AutosaveError(msg) from error

    def close(self) -> None:
        """Let go of the file. Closing twice does nothing."""
        self._stream.close()
        self._lock.release()

    def _cut(self, end: int) -> None:
        try:
            self._stream.seek(end)
            self._stream.truncate()
        except OSError:
            logger.warning(
                "The unfinished record in %s stays; it is ignored when the journal is opened", self.path.name
            )


class JournalReader:
    """Follows a journal that another editor writes; changes nothing.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0

    def read(self) -> tuple[Event, ...]:
        """Return the events written since the last call.

        Raises:
            AutosaveError: If an event cannot be understood.
            OSError: If the file cannot be read.
        """
        with self._path.open("rb") as stream:
            stream.seek(self._end)
            records = list(_records(stream.read()))
        first = self._end == 0
        self._end += records[-1][2] if records else 0
        return tuple(_event(self._path, document, packed) for document, packed, _ in records[first:])


def journal_path(folder: Path, volume: Volume) -> Path:
    """Where the journal of a volume lies in a folder, or would.

    It is found by the hash of voxels and geometry, whatever the scan is called by now; the name of the case, as it was
    when the journal was begun, is for people.

    Args:
        folder: Where journals are kept.
        volume: The volume.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in volume.name)
    name = name[:60].encode()[:_NAME_BYTES].decode(errors="ignore")
    ending = f"-{_key(volume)}{SUFFIX}"
    path = folder / f"{name or 'volume'}{ending}"
    return path if path.exists() else min(folder.glob(f"*{ending}"), default=path)


def _key(volume: Volume) -> str:
    return volume.sha256[:16]


def open_journal(folder: Path, volume: Volume) -> Journal:
    """Open the journal of a volume, or begin one; what a crash left half written is cut off.

    Args:
        folder: Where journals are kept; made if it does not exist.
        volume: The volume that is edited.

    Raises:
        AutosaveError: If another process edits this volume, the file is no journal of it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = journal_path(folder, volume)
        lock = _locked(folder / f"{_key(volume)}.lock", path)
    except OSError as error:
        msg = f'Cannot keep edits in the folder "{folder.name}": {error.strerror}. Choose one that can be written to.'
        raise AutosaveError(msg) from error
    try:
        return _opened(path, volume, lock)
    except BaseException:
        lock.release()
        raise


def _opened(path: Path, volume: Volume, lock: FileLock) -> Journal:
    try:
        stream = path.open("r+b" if path.exists() else "x+b", buffering=0)
        records, end = _read(stream)
        if records:
            _check_first(path, records[0][0], volume)
        damaged = _cut_off(path, stream, end)
        if not records:
            _write(stream, _first_record(volume), b"")
            _sync_folder(path.parent)
        events = tuple(_event(path, document, packed) for document, packed in records[1:])
    except OSError as error:
        msg = f'The journal "{path.name}" cannot be read or written: {error.strerror}. Check the disk and the rights.'
        raise AutosaveError(msg) from error
    journal = Journal(path, stream, lock, events)
    journal.damaged = damaged
    return journal


def _locked(lock_path: Path, path: Path) -> FileLock:
    from filelock import FileLock
    from filelock import Timeout

    lock = FileLock(lock_path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        msg = f'"{path.name}" is in use: another window or process edits this volume. Close it there first.'
        raise AutosaveError(msg) from error
    return lock


def _write(stream: BinaryIO, document: dict[str, Any], packed: bytes) -> None:
    text = json.dumps(document).encode()
    crc = zlib.crc32(packed, zlib.crc32(text))
    record = memoryview(_HEADER.pack(_MAGIC, len(text), len(packed), crc) + text + packed)
    while record:
        record = record[stream.write(record) :]
    os.fsync(stream.fileno())


def _read(stream: BinaryIO) -> tuple[list[tuple[dict[str, Any], bytes]], int]:
    """All whole records, and where the last one ends."""
    records = list(_records(stream.read()))
    return [(document, packed) for document, packed, _ in records], records[-1][2] if records else 0


def _records(content: bytes) -> Iterator[tuple[dict[str, Any], bytes, int]]:
    start = 0
    while len(content) - start >= _HEADER.size:
        magic, text_size, packed_size, crc = _HEADER.unpack_from(content, start)
        middle = start + _HEADER.size + text_size
        end = middle + packed_size
        text, packed = content[start + _HEADER.size : middle], content[middle:end]
        if magic != _MAGIC or end > len(content) or zlib.crc32(packed, zlib.crc32(text)) != crc:
            return
        yield json.loads(text), packed, end
        start = end


def _cut_off(path: Path, stream: BinaryIO, end: int) -> str:
    """Cut the file behind its last whole record.

    Returns:
        Name of a copy of the file, if edits that had counted were cut off; a torn last record never did.
    """
    stream.seek(end)
    tail = stream.read()
    lost = ""
    if not _is_torn(tail):
        copy = _unused(path.with_name(f"{path.name}.damaged"))
        shutil.copyfile(path, copy)
        logger.warning("%s: %d bytes could not be read; they are kept in %s", path.name, len(tail), copy.name)
        lost = copy.name
    stream.seek(end)
    stream.truncate()
    return lost


def _is_torn(tail: bytes) -> bool:
    """Whether what follows the last whole record is one that was never finished, and nothing behind it."""
    if _MAGIC in tail[len(_MAGIC) :]:
        return False
    if len(tail) < _HEADER.size:
        return _MAGIC.startswith(tail[: len(_MAGIC)])
    magic, text_size, packed_size, _ = _HEADER.unpack_from(tail)
    return bool(magic == _MAGIC and _HEADER.size + text_size + packed_size > len(tail))


def _unused(path: Path) -> Path:
    """A path nothing lies at: as given, or with a number."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain((path,), numbered) if not one.exists())


def _first_record(volume: Volume) -> dict[str, Any]:
    return {
        "format": "colipri-edits",
        "version": FORMAT_VERSION,
        "case": volume.name,
        "volume_sha256": volume.sha256,
        **volume.geometry.to_json(),
    }


def _check_first(path: Path, first: dict[str, Any], volume: Volume) -> None:
    expected = _first_record(volume)
    for key in ("format", "version", "volume_sha256"):
        if first.get(key) != expected[key]:
            msg = (
                f'Cannot go on from "{path.name}": expected {key} {expected[key]}, found {first.get(key)}. '
                "Move the file away to begin anew."
            )
            raise AutosaveError(msg)


def _event(path: Path, document: dict[str, Any], packed: bytes) -> Event:
    try:
        step = Step.from_json(document["step"], packed) if document["step"] is not None else None
        return Event(kind=document["event"], step=step)
    except (KeyError, TypeError, ValueError) as error:
        msg = f'Cannot read an edit in "{path.name}": {error}. It was written by another version; move it away.'
        raise AutosaveError(msg) from error


def _sync_folder(folder: Path) -> None:
    """Force the name of a new file to disk, where the system can (POSIX)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
