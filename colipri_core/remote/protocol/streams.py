"""Reading frames one after another from bytes that come in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator

from colipri_core.errors import ProtocolError
from colipri_core.remote.protocol.frames import PREAMBLE
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Preamble
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.limits import DEFAULT_LIMITS
from colipri_core.remote.protocol.limits import Limits


class FrameReader:
    """Takes pieces of a stream and gives its frames; holds at most one frame.

    Args:
        limits: What is allowed.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._waiting = bytearray()
        self._wanted = PREAMBLE.size
        self._preamble: Preamble | None = None

    def feed(self, piece: bytes | memoryview) -> Iterator[Frame]:
        """Take the next piece and give the frames that are whole with it.

        The frames must be taken out before the next piece is fed.

        Raises:
            ProtocolError: If a frame breaks a rule.
            TooLargeError: If one announces more than the limits allow.
        """
        left = memoryview(piece)
        while left:
            missing = self._wanted - len(self._waiting)
            self._waiting += left[:missing]
            left = left[missing:]
            if len(self._waiting) < self._wanted:
                return
            if self._preamble is None:
                self._preamble = Preamble.of(self._waiting, self._limits)
                self._wanted += self._preamble.header_bytes + self._preamble.array_bytes
                if len(self._waiting) < self._wanted:
                    continue
            yield self._take()

    def finish(self) -> None:
        """Say that no more comes.

        Raises:
            ProtocolError: If a frame was cut off.
        """
        if self._waiting:
            msg = f"Expected a frame of {self._wanted} bytes, found its first {len(self._waiting)}. Send it again."
            raise ProtocolError(msg)

    def _take(self) -> Frame:
        content, self._waiting = bytes(self._waiting), bytearray()
        self._wanted, self._preamble = PREAMBLE.size, None
        return decode_frame(content, self._limits)
