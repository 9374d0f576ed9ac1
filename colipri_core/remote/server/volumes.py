"""The volumes a server holds, by digest: on disk as they came over the wire, in memory while they are used.

A volume in memory that no session uses stays until its room is needed; a file stays until it is neither used nor
young, or its room is needed. To be used on the loop; what takes time runs in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import math
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

from colipri_core.errors import ProtocolError
from colipri_core.errors import ServerBusyError
from colipri_core.errors import ServerFullError
from colipri_core.errors import TooLargeError
from colipri_core.errors import VolumeUnknownError
from colipri_core.remote.protocol.arrays import DTYPES
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.limits import Limits as WireLimits
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.volumes import SLAB_BYTES
from colipri_core.remote.protocol.volumes import VolumeHeader
from colipri_core.remote.protocol.volumes import VolumeReceiver
from colipri_core.remote.protocol.volumes import sendable
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.remote.server.settings import Limits
from colipri_core.volume import Volume

_SUFFIX = ".volume"
_PARTIAL = ".part"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 4 << 20
_SLABS_A_FRAME = 2
"""Room for what packing adds to a slab, and for slices that are larger than one (our choice)."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class VolumeStore:
    """Volumes by digest.

    Args:
        folder: Where their files lie; made if it does not exist. What an upload left unfinished there is deleted.
        limits: Room in memory and on disk.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"*{_PARTIAL}"):
            path.unlink()
        self._folder = folder
        self._limits = limits
        self._wire = upload_limits(limits)
        self._loaded: dict[str, _Loaded] = {}
        self._reserved = 0
        self._loading = asyncio.Lock()

    @property
    def memory_bytes(self) -> int:
        """Bytes of all volumes in memory, and of those on their way."""
        return self._reserved + sum(loaded.volume.voxels.nbytes for loaded in self._loaded.values())

    @property
    def disk_bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._files())

    @property
    def is_overfull(self) -> bool:
        """Whether the files take more room than they may."""
        return self.disk_bytes > self._limits.disk_bytes

    def known(self, digest: str) -> bool:
        """Whether the volume is here."""
        return digest in self._loaded or self._path(digest).is_file()

    async def receive(self, digest: str, pieces: AsyncIterator[bytes]) -> VolumeHeader:
        """Take a volume in as it comes over the wire.

        Args:
            digest: What it must hash to.
            pieces: Its frames, cut anywhere.

        Raises:
            ProtocolError: If it is something else.
            TooLargeError: If it is larger than allowed.
            ServerBusyError: If there is no room for it in memory.
            ServerFullError: If there is none on the disk.
        """
        self._path(digest)
        with _disk():
            intake = _Intake(self._partial_path(), self._wire, self._reserve)
        try:
            with _disk():
                async for piece in pieces:
                    await intake.take(piece)
                volume = await asyncio.to_thread(intake.finish, digest)
                return self._keep(digest, volume, intake.path)
        finally:
            self._reserved -= intake.reserved
            intake.close()

    async def add(self, volume: Volume) -> str:
        """Take in a volume that was read here; returns its digest.

        Raises:
            TooLargeError: If it is larger than allowed.
            ServerBusyError: If there is no room for it in memory.
            ServerFullError: If there is none on the disk.
        """
        bare = Volume(voxels=sendable(volume).voxels, affine=volume.affine)
        VolumeHeader.of(bare).check(self._wire)
        digest = await asyncio.to_thread(lambda: bare.sha256)
        if digest in self._loaded:
            return digest
        self._reserve(bare.voxels.nbytes)
        path = self._partial_path()
        try:
            with _disk():
                await asyncio.to_thread(_write, path, bare)
                self._keep(digest, bare, path)
        finally:
            self._reserved -= bare.voxels.nbytes
            path.unlink(missing_ok=True)
        return digest

    async def get(self, digest: str) -> Volume:
        """Return a volume.

        Raises:
            VolumeUnknownError: If it is not here.
            ServerBusyError: If there is no room to load it.
        """
        async with self._loading:
            loaded = self._loaded.get(digest) or await self._load(digest)
        loaded.used = time.monotonic()
        return loaded.volume

    async def acquire(self, digest: str) -> Volume:
        """Return a volume and keep it in memory until it is released as often.

        Raises:
            VolumeUnknownError: If it is not here.
            ServerBusyError: If there is no room to load it.
        """
        volume = await self.get(digest)
        self._loaded[digest].users += 1
        return volume

    def release(self, digest: str) -> None:
        """Let go of what `acquire` gave."""
        self._loaded[digest].users -= 1

    def purge(self, *, keep: Collection[str]) -> None:
        """Delete files that nothing needs: those older than `retain_s`, then the oldest until the rest has room.

        Args:
            keep: Digests that sessions, open or saved, need.
        """
        needed = {*keep, *(digest for digest, loaded in self._loaded.items() if loaded.users)}
        spare = sorted(
            (path for path in self._files() if path.stem not in needed), key=lambda path: path.stat().st_mtime
        )
        excess = self.disk_bytes - self._limits.disk_bytes
        for path in spare:
            status = path.stat()
            if excess > 0 or time.time() - status.st_mtime > self._limits.retain_s:
                excess -= status.st_size
                path.unlink()
                self._loaded.pop(path.stem, None)

    def _keep(self, digest: str, volume: Volume, path: Path) -> VolumeHeader:
        path.replace(self._path(digest))
        self._loaded.setdefault(digest, _Loaded(volume))
        return VolumeHeader.of(volume)

    async def _load(self, digest: str) -> _Loaded:
        path = self._path(digest)
        if not path.is_file():
            raise _unknown()
        intake = _Intake(None, self._wire, self._reserve)
        try:
            async for piece in _read(path):
                await intake.take(piece)
            volume = await asyncio.to_thread(intake.finish, digest)
        except (ProtocolError, TooLargeError) as error:
            path.unlink()
            raise _unknown() from error
        finally:
            self._reserved -= intake.reserved
        await asyncio.to_thread(os.utime, path)
        loaded = self._loaded[digest] = _Loaded(volume)
        return loaded

    def _reserve(self, size: int) -> None:
        """Make room in memory, at the cost of volumes that no session uses."""
        spare = sorted((item for item in self._loaded.items() if not item[1].users), key=lambda item: item[1].used)
        for digest, _ in spare:
            if self.memory_bytes + size <= self._limits.memory_bytes:
                break
            del self._loaded[digest]
        if self.memory_bytes + size > self._limits.memory_bytes:
            msg = "Expected room for one more volume, but the server is full. Close a session, or try again later."
            raise ServerBusyError(msg)
        self._reserved += size

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            msg = "Expected a digest of 64 hexadecimal digits, found something else."
            raise ProtocolError(msg)
        return self._folder / f"{digest}{_SUFFIX}"

    def _partial_path(self) -> Path:
        return self._folder / f"{uuid.uuid4().hex}{_PARTIAL}"

    def _files(self) -> Iterable[Path]:
        return self._folder.glob(f"*{_SUFFIX}")


def wire_limits(limits: Limits) -> WireLimits:
    """What readers of frames allow on this server.

    Args:
        limits: The server's limits.
    """
    return WireLimits(frame_bytes=limits.body_bytes, array_bytes=limits.volume_voxels * 8, voxels=limits.volume_voxels)


def upload_limits(limits: Limits) -> WireLimits:
    """What readers of volumes allow: a slab may come whole, whatever other bodies may have.

    Args:
        limits: The server's limits.
    """
    wire = wire_limits(limits)
    return dataclasses.replace(wire, frame_bytes=max(wire.frame_bytes, _SLABS_A_FRAME * SLAB_BYTES))


@dataclasses.dataclass
class _Loaded:
    """A volume in memory, how many sessions use it, and when it was asked for last."""

    volume: Volume
    users: int = 0
    used: float = dataclasses.field(default_factory=time.monotonic)


class _Intake:
    """Puts one volume together from its bytes, which are also written to a file.

    Args:
        path: The file; None writes none.
        limits: What is allowed.
        reserve: Makes room in memory for so many bytes, or raises.
    """

    def __init__(self, path: Path | None, limits: WireLimits, reserve: Callable[[int], None]) -> None:
        self.path = path or Path(os.devnull)
        self.reserved = 0
        self._reader = FrameReader(limits)
        self._receiver = VolumeReceiver(limits)
        self._limits = limits
        self._reserve = reserve
        self._begun = False
        self._stream = path.open("xb") if path else None
        self._is_file = path is not None

    async def take(self, piece: bytes) -> None:
        """Take the next bytes."""
        for frame in self._reader.feed(piece):
            if not self._begun:
                self._begin(frame)
            elif any(header.unpacked_bytes > self.reserved for header, _ in frame.packed.values()):
                msg = "Expected slabs of the volume, found one that is larger than all of it. Send it again."
                raise ProtocolError(msg)
            await asyncio.to_thread(self._receiver.take, frame)
        if self._stream is not None:
            self._stream.write(piece)

    def finish(self, digest: str) -> Volume:
        """Return the volume, on disk by then."""
        self._reader.finish()
        volume = self._receiver.volume(digest)
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
        return volume

    def close(self) -> None:
        """Delete what is not finished."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # a full disk takes the last bytes no better than those before
                self._stream.close()
            self.path.unlink(missing_ok=True)

    def _begin(self, frame: Frame) -> None:
        header = from_plain(VolumeHeader, frame.body)
        header.check(self._limits)
        size = math.prod(header.shape) * DTYPES[header.dtype].itemsize
        self._reserve(size)
        self.reserved = size
        self._begun = True


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """Say what to do about a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        msg = (
            "Expected room for one more volume on the server's disk, found none. Have whoever runs it free some space "
            "or lower its --max-disk, then send the volume again."
        )
        raise ServerFullError(msg) from error


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:
        while piece := await asyncio.to_thread(stream.read, _READ_BYTES):
            yield piece


def _write(path: Path, volume: Volume) -> None:
    with path.open("xb") as stream:
        for parts in volume_frames(volume):
            stream.writelines(parts)
        stream.flush()
        os.fsync(stream.fileno())


def _unknown() -> VolumeUnknownError:
    return VolumeUnknownError("Expected the digest of a volume that is here, found none of it. Send the volume first.")
