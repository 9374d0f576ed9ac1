"""What is kept of a session on disk: a folder with its record and the journal of its edits."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from colipri_core.editing.journal import Event
from colipri_core.editing.journal import JournalReader
from colipri_core.editing.journal import journal_path
from colipri_core.editing.journal import open_journal
from colipri_core.errors import AutosaveError
from colipri_core.errors import OutputError
from colipri_core.errors import ProtocolError
from colipri_core.errors import SessionUnknownError
from colipri_core.io.atomic import write_json
from colipri_core.remote.protocol.editing import steps_to
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.sessions import Opening
from colipri_core.volume import Volume

_RECORD = "session.json"
_ID = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What a session must be opened with again.

    Args:
        session: Its id.
        volume: Digest of its volume.
        name: Name of the case.
        unit: Meaning of the intensities.
        given: Events of its journal that its client opened it with, which are none of its revision.
    """

    session: str
    volume: str
    name: str
    unit: str
    given: int = 0

    def named(self, volume: Volume) -> Volume:
        """The volume as this session shows it."""
        named = dataclasses.replace(volume, name=self.name, unit=self.unit)
        vars(named)["sha256"] = self.volume  # it covers neither name nor unit, and takes a while to compute
        return named


class Records:
    """The folders of all sessions of a server.

    Args:
        folder: Where they lie; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def new(self, opening: Opening, volume: Volume) -> Record:
        """Keep a new session with the history it begins with; returns its record.

        Args:
            opening: What opens it.
            volume: Its volume.

        Raises:
            AutosaveError: If it cannot be written.
        """
        events = steps_to(opening.done, opening.undone)
        asked = opening.request
        session = uuid.uuid4().hex
        record = Record(session=session, volume=asked.volume, name=asked.name, unit=asked.unit, given=len(events))
        self.folder(session).mkdir(mode=0o700)
        try:
            journal = open_journal(self.folder(session), record.named(volume))
            try:
                for kind, step in events:
                    journal.append(Event(kind="undo" if kind == "undo" else "do", step=step))
            finally:
                journal.close()
            self._write(session, record)
        except BaseException:
            self.delete(session)
            raise
        return record

    def get(self, session: str) -> Record:
        """Return the record of a session.

        Raises:
            SessionUnknownError: If there is none.
        """
        msg = "Expected a session that is open or saved, found none of this id. Open the volume again."
        if not _ID.fullmatch(session):
            raise SessionUnknownError(msg)
        try:
            document = json.loads((self.folder(session) / _RECORD).read_text(encoding="utf-8"))
            return from_plain(Record, document)
        except (OSError, ProtocolError, ValueError) as error:
            raise SessionUnknownError(msg) from error

    def journal(self, record: Record, volume: Volume) -> JournalReader:
        """Return a reader of a session's journal.

        Args:
            record: The session.
            volume: Its volume.
        """
        return JournalReader(journal_path(self.folder(record.session), record.named(volume)))

    def folder(self, session: str) -> Path:
        """Where a session is kept."""
        return self._folder / session

    def touch(self, session: str) -> None:
        """Note that a session was in use until now."""
        os.utime(self.folder(session))

    def _write(self, session: str, record: Record) -> None:
        try:
            write_json(self.folder(session) / _RECORD, to_plain(record))
        except OutputError as error:  # whose text names a path of this host
            msg = f"The session was not opened, because it could not be saved: {error.strerror}. Try again later."
            raise AutosaveError(msg) from error

    def delete(self, session: str) -> None:
        """Delete what is kept of a session."""
        shutil.rmtree(self.folder(session), ignore_errors=True)

    def kept(self) -> Iterator[Record]:
        """All sessions on disk."""
        for folder in self._folder.iterdir():
            try:
                yield self.get(folder.name)
            except SessionUnknownError:
                continue

    def age_s(self, session: str) -> float:
        """Seconds since a session was in use."""
        return time.time() - self.folder(session).stat().st_mtime
