"""The sessions of a server: leases, the order of edits, and how a session is found again.

A session whose lease ran out, or whose server was killed, is closed but kept: asked for by its id it is opened again,
all edits with it. What its client ends is deleted, and what nobody asks for in `retain_s` as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from colipri_core.editing.change import Change
from colipri_core.editing.journal import JournalReader
from colipri_core.engine import Engine
from colipri_core.errors import AutosaveError
from colipri_core.errors import OutOfStepError
from colipri_core.errors import ProtocolError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import SessionUnknownError
from colipri_core.errors import VolumeUnknownError
from colipri_core.remote.protocol.editing import EditAnswer
from colipri_core.remote.protocol.editing import StepHeader
from colipri_core.remote.protocol.sessions import Opening
from colipri_core.remote.protocol.sessions import SessionAnswer
from colipri_core.remote.server.logs import note
from colipri_core.remote.server.records import Record
from colipri_core.remote.server.records import Records
from colipri_core.remote.server.settings import Limits
from colipri_core.remote.server.volumes import VolumeStore
from colipri_core.session import Session
from colipri_core.volume import Volume

_PURGE_S = 60.0
"""Longest time between two looks for what is old (our choice)."""


class HeldSession:
    """A session that is open.

    Args:
        record: What is kept of it.
        session: The engine's session.
        journal: Follows its journal.
        lease_s: Seconds it stays open without being asked for.
    """

    def __init__(self, record: Record, session: Session, journal: JournalReader, *, lease_s: float) -> None:
        self.record = record
        self.session = session
        self.volume: Volume = session.volume
        self.edits = asyncio.Lock()
        self._journal = journal
        self._lease_s = lease_s
        self._deadline = time.monotonic() + lease_s
        self._state = session.editing
        self._revision = len(journal.read()) - record.given
        self._last: tuple[str, EditAnswer] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.record.session

    @property
    def expired(self) -> bool:
        """Whether its lease ran out."""
        return time.monotonic() > self._deadline

    def touch(self) -> None:
        """Renew the lease."""
        self._deadline = time.monotonic() + self._lease_s

    def answer(self) -> SessionAnswer:
        """How it stands."""
        return SessionAnswer(
            session=self.id, lease_s=self._lease_s, revision=self._revision, state=self.session.editing
        )

    def make(self, act: Callable[[], Change], *, after: int, job: str) -> EditAnswer:
        """Make an edit, unless it was made before; the lock `edits` is held meanwhile.

        Args:
            act: Makes it.
            after: The revision it follows.
            job: Name of the call; empty if its client gave none, so that it cannot be repeated.

        Raises:
            OutOfStepError: If the session stands at another revision; nothing was changed.
        """
        if job and self._last is not None and self._last[0] == job:
            return self._last[1]
        if after != self._revision:
            msg = (
                f"Expected an edit that follows number {self._revision}, found one that follows {after}. "
                "Ask for the labels, then edit on."
            )
            raise OutOfStepError(msg, revision=self._revision)
        change = act()
        step = None
        for event in self._journal.read():
            self._revision += 1
            step = event.step
        answer = EditAnswer(
            change=change,
            state=self.session.editing,
            revision=self._revision,
            step=StepHeader.of(step) if step is not None else None,
        )
        self._last = (job, answer)
        return answer


class Sessions:
    """All sessions of a server. To be used on its loop; what takes time runs in threads.

    Args:
        engine: Opens them.
        volumes: Where their volumes are.
        records: Where they are kept.
        limits: Leases and numbers.
        busy: Tells how many jobs of a session wait or run.
    """

    def __init__(
        self, engine: Engine, volumes: VolumeStore, records: Records, limits: Limits, busy: Callable[[str], int]
    ) -> None:
        self._engine = engine
        self._volumes = volumes
        self._records = records
        self._limits = limits
        self._busy = busy
        self._held: dict[str, HeldSession] = {}
        self._lock = asyncio.Lock()
        self._next_purge = 0.0

    def __len__(self) -> int:
        return len(self._held)

    async def open(self, opening: Opening) -> HeldSession:
        """Open a new session.

        Args:
            opening: The volume, and the history it begins with.

        Raises:
            VolumeUnknownError: If the volume is not here.
            ServerBusyError: If there are too many sessions, or no room.
            ProtocolError: If the steps of the history do not follow from one another.
        """
        async with self._lock:
            self._check_room()
            volume = await self._volumes.acquire(opening.request.volume)
            try:
                record = await asyncio.to_thread(self._records.new, opening, volume)
            except BaseException:
                self._volumes.release(opening.request.volume)
                raise
            try:
                return await self._begin(record, volume)
            except BaseException as error:
                self._records.delete(record.session)
                if isinstance(error, AutosaveError) and record.given:
                    msg = "Expected steps that follow from one another, found others. Open the volume without them."
                    raise ProtocolError(msg) from error
                raise

    async def get(self, session: str) -> HeldSession:
        """Return a session and renew its lease; one that is closed but kept is opened again.

        Raises:
            SessionUnknownError: If there is none of this id.
            ServerBusyError: If it would have to be opened, and there is no room.
        """
        held = self._held.get(session)
        if held is None:
            async with self._lock:
                held = self._held.get(session) or await self._take_up(session)
        held.touch()
        return held

    async def end(self, session: str) -> None:
        """Close a session for good and delete what was kept of it.

        Raises:
            SessionUnknownError: If there is none of this id.
        """
        async with self._lock:
            self._records.get(session)
            await self._close(session)
            await asyncio.to_thread(self._records.delete, session)

    async def tend(self) -> None:
        """Close the sessions whose lease ran out, and delete what nobody asked for in a long time."""
        async with self._lock:
            for session in [session for session, held in self._held.items() if held.expired]:
                if self._busy(session):
                    self._held[session].touch()
                    continue
                await self._close(session)
                note("lease_ended")
            if self._volumes.is_overfull or time.monotonic() > self._next_purge:
                self._next_purge = time.monotonic() + min(_PURGE_S, self._limits.retain_s / 4)
                self._volumes.purge(keep=await asyncio.to_thread(self._delete_old, set(self._held)))

    async def close(self) -> None:
        """Close all sessions; they are kept."""
        async with self._lock:
            for session in list(self._held):
                await self._close(session)

    async def _take_up(self, session: str) -> HeldSession:
        record = self._records.get(session)
        self._check_room()
        try:
            volume = await self._volumes.acquire(record.volume)
        except VolumeUnknownError as error:
            msg = "Expected a session whose volume is here, but it was deleted. Open the volume again."
            raise SessionUnknownError(msg) from error
        note("session_taken_up")
        return await self._begin(record, volume)

    async def _begin(self, record: Record, volume: Volume) -> HeldSession:
        try:
            held = await asyncio.to_thread(self._opened, record, volume)
        except BaseException:
            self._volumes.release(record.volume)
            raise
        self._held[record.session] = held
        return held

    def _opened(self, record: Record, volume: Volume) -> HeldSession:
        session = self._engine.open(record.named(volume), autosave=self._records.folder(record.session))
        try:
            journal = self._records.journal(record, volume)
            return HeldSession(record, session, journal, lease_s=self._limits.lease_s)
        except BaseException:
            session.close()
            raise

    def _delete_old(self, held: set[str]) -> set[str]:
        """Delete the sessions nobody asked for in a long time; returns the digests the others need."""
        needed = set()
        for record in self._records.kept():
            if record.session not in held and self._records.age_s(record.session) > self._limits.retain_s:
                self._records.delete(record.session)
            else:
                needed.add(record.volume)
        return needed

    async def _close(self, session: str) -> None:
        held = self._held.pop(session, None)
        if held is None:
            return
        await asyncio.to_thread(held.session.close)
        self._records.touch(session)
        self._volumes.release(held.record.volume)

    def _check_room(self) -> None:
        if len(self._held) >= self._limits.sessions:
            msg = f"Expected at most {self._limits.sessions} open sessions. Close one, or try again later."
            raise ServerBusyError(msg)
