"""What opens a session, and what a server says of itself and of a session.

`POST /v1/sessions` takes a stream: a HEADER frame with an `OpenRequest`, then `done + undone` STEP frames of the
history to begin with, oldest first (those that can be redone last, the next one at the very end).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence

from colipri_core.editing.change import EditingState
from colipri_core.editing.step import Step
from colipri_core.engine import Capabilities
from colipri_core.errors import ProtocolError
from colipri_core.provenance import ModelCard
from colipri_core.remote.protocol.editing import step_from
from colipri_core.remote.protocol.editing import step_parts
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import encode_frame
from colipri_core.remote.protocol.limits import DEFAULT_LIMITS
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """What a client must know of a server's limits.

    Args:
        voxels: Most voxels of a volume.
        body_bytes: Longest body of a request, as it travels.
        sessions: Most sessions at once.
    """

    voxels: int
    body_bytes: int
    sessions: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """Answer to `GET /v1/model`, as JSON.

    Args:
        card: Identity of the model.
        capabilities: What it can do.
        device: Device it runs on.
        limits: What the server allows.
        stores: Names of its case stores.
        version: Version of the server's package.
        versions: Package name -> version of what runs the model.
    """

    card: ModelCard
    capabilities: Capabilities
    device: str
    limits: ServerLimits
    stores: tuple[str, ...] = ()
    version: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenRequest:
    """First frame of `POST /v1/sessions`.

    Args:
        volume: Digest of a volume the server holds.
        name: Name of the case.
        unit: Meaning of the intensities.
        done: Number of steps that can be undone.
        undone: Number of steps that can be redone.
    """

    volume: str
    name: str = "volume"
    unit: str = "HU"
    done: int = 0
    undone: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SessionAnswer:
    """Answer to `POST /v1/sessions`, `GET /v1/sessions/{id}` and its heartbeat, as JSON.

    Args:
        session: Its id.
        lease_s: Seconds after which it is closed, unless something is asked of it or a heartbeat comes.
        revision: Number of edits, undos and redos made; 0 after opening with a history.
        state: How its editor stands.
    """

    session: str
    lease_s: float
    revision: int
    state: EditingState


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Opening:
    """All that opens a session.

    Args:
        request: What is asked.
        done: Steps that can be undone, oldest first.
        undone: Steps that can be redone, the next one last.
    """

    request: OpenRequest
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()


def opening_frames(
    request: OpenRequest, *, done: Sequence[Step] = (), undone: Sequence[Step] = ()
) -> Iterator[list[bytes | memoryview]]:
    """Give the frames that open a session.

    Args:
        request: What is asked; the numbers of steps are filled in.
        done: Steps that can be undone, oldest first.
        undone: Steps that can be redone, the next one last.
    """
    counted = dataclasses.replace(request, done=len(done), undone=len(undone))
    yield encode_frame(Kind.HEADER, to_plain(counted))
    for step in (*done, *undone):
        body, arrays = step_parts(step)
        yield encode_frame(Kind.STEP, body, arrays)


class OpeningReceiver:
    """Puts together what opens a session from its frames.

    Args:
        limits: What is allowed.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._request: OpenRequest | None = None
        self._steps: list[Step] = []

    @property
    def request(self) -> OpenRequest | None:
        """The first frame, once it came."""
        return self._request

    def take(self, frame: Frame, *, shape: tuple[int, int, int] | None = None) -> None:
        """Take the next frame.

        Args:
            frame: What came.
            shape: Shape of the volume that the first frame named; needed from the second on.

        Raises:
            ProtocolError: If it is not the one that must come next.
        """
        if self._request is None:
            request = from_plain(OpenRequest, frame.body)
            if frame.kind is not Kind.HEADER or min(request.done, request.undone) < 0:
                msg = f"Expected what opens a session, found a frame {frame.kind.name}."
                raise ProtocolError(msg)
            if request.done + request.undone > self._limits.steps:
                msg = f"Expected at most {self._limits.steps} steps, found {request.done + request.undone}."
                raise ProtocolError(msg)
            self._request = request
            return
        if (
            frame.kind is not Kind.STEP
            or shape is None
            or len(self._steps) >= self._request.done + self._request.undone
        ):
            msg = f"Expected {self._request.done + self._request.undone} steps, found another frame {frame.kind.name}."
            raise ProtocolError(msg)
        self._steps.append(step_from(frame, shape=shape))

    def finish(self) -> Opening:
        """Return all of it.

        Raises:
            ProtocolError: If frames are missing.
        """
        if self._request is None or len(self._steps) != self._request.done + self._request.undone:
            msg = "Expected what opens a session with all its steps, found less. Send it again."
            raise ProtocolError(msg)
        done = self._request.done
        return Opening(request=self._request, done=tuple(self._steps[:done]), undone=tuple(self._steps[done:]))
