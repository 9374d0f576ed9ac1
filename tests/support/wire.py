"""A bare client of the server for tests: it says what it is told to say, right or wrong, and shows what comes back."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any
from typing import Self

import httpx2
import numpy as np

from colipri_core.editing.edits import Edit
from colipri_core.editing.step import Step
from colipri_core.prompts import Point
from colipri_core.remote.protocol.editing import EditAnswer
from colipri_core.remote.protocol.editing import EditRequest
from colipri_core.remote.protocol.editing import answer_from
from colipri_core.remote.protocol.editing import edit_parts
from colipri_core.remote.protocol.errors import error_from_body
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import frame_bytes
from colipri_core.remote.protocol.results import segmentation_from
from colipri_core.remote.protocol.sessions import OpenRequest
from colipri_core.remote.protocol.sessions import opening_frames
from colipri_core.remote.protocol.streams import FrameReader
from colipri_core.remote.protocol.version import FRAME_TYPE
from colipri_core.remote.protocol.version import JOB_HEADER
from colipri_core.remote.protocol.version import PROTOCOL_HEADER
from colipri_core.remote.protocol.volumes import sendable
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.volume import Volume

_TIMEOUT_S = 60


class Caller:
    """One client of a server.

    Args:
        url: The server.
        token: Its token; empty sends none.
    """

    def __init__(self, url: str, *, token: str = "") -> None:
        headers = {PROTOCOL_HEADER: "1", **({"Authorization": f"Bearer {token}"} if token else {})}
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, volume: Volume) -> str:
        """Send a volume; returns its digest."""
        content = b"".join(b"".join(parts) for parts in volume_frames(sendable(volume)))
        answer = self.http.put(f"/v1/volumes/{volume.sha256}", content=content)
        answer.raise_for_status()
        return volume.sha256

    def open(self, digest: str, *, done: tuple[Step, ...] = (), undone: tuple[Step, ...] = (), **asked: Any) -> str:
        """Open a session; returns its id."""
        return str(self.try_open(digest, done=done, undone=undone, **asked).raise_for_status().json()["session"])

    def try_open(
        self, digest: str, *, done: tuple[Step, ...] = (), undone: tuple[Step, ...] = (), **asked: Any
    ) -> httpx2.Response:
        """Ask for a session."""
        frames = opening_frames(OpenRequest(volume=digest, **asked), done=done, undone=undone)
        return self.http.post("/v1/sessions", content=b"".join(b"".join(parts) for parts in frames))

    @contextlib.contextmanager
    def call(
        self, session: str, verb: str, body: dict[str, Any] | bytes | None = None, *, job: str = ""
    ) -> Iterator[Iterator[Frame]]:
        """Make a long call; yields its frames as they come, and hangs up at the end of the body."""
        headers = {JOB_HEADER: job or str(uuid.uuid4())}
        content: dict[str, Any] = {"json": body or {}}
        if isinstance(body, bytes):
            content = {"content": body}
            headers["Content-Type"] = FRAME_TYPE
        with self.http.stream("POST", f"/v1/sessions/{session}/{verb}", headers=headers, **content) as answer:
            if answer.status_code != httpx2.codes.OK:
                answer.read()
                raise error_from_body(answer.json())
            yield _frames(answer)

    def ask(self, session: str, verb: str, body: dict[str, Any] | bytes | None = None, *, job: str = "") -> list[Frame]:
        """Make a long call; returns all its frames.

        Raises:
            Exception: What an ERROR frame or answer says.
        """
        with self.call(session, verb, body, job=job) as frames:
            found = list(frames)
        if found[-1].kind is Kind.ERROR:
            raise error_from_body(found[-1].body)
        return found

    def edit(self, session: str, edit: Edit, *, after: int, shape: tuple[int, int, int], job: str = "") -> EditAnswer:
        """Make an edit."""
        body, arrays = edit_parts(EditRequest(edit=edit, after=after))
        frames = self.ask(session, "edit", frame_bytes(Kind.REQUEST, body, arrays), job=job)
        return answer_from(frames[-1], shape=shape)

    def point(
        self, session: str, volume: Volume, index: Any, *, after: int, job: str = "", label: int = 1
    ) -> EditAnswer:
        """Click on a voxel."""
        r, a, s = (float(value) for value in volume.geometry.index_to_world(np.asarray(index)))
        body = {"prompt": {"kind": "point", "ras": Point(ras=(r, a, s)).ras}, "after": after, "label": label}
        return answer_from(self.ask(session, "prompt", body, job=job)[-1], shape=volume.shape)

    def labels(self, session: str, shape: tuple[int, int, int]) -> np.ndarray:
        """The labels of a session."""
        answer = self.http.get(f"/v1/sessions/{session}/segmentation").raise_for_status()
        *_, last = _frames_of(answer.content)
        return segmentation_from(last, shape=shape).labelmap

    def state(self, session: str) -> dict[str, Any]:
        """How a session stands.

        Raises:
            Exception: What an error says.
        """
        answer = self.http.get(f"/v1/sessions/{session}")
        if answer.status_code != httpx2.codes.OK:
            raise error_from_body(answer.json())
        return dict(answer.json())


def _frames(answer: httpx2.Response) -> Iterator[Frame]:
    reader = FrameReader()
    for piece in answer.iter_bytes():
        yield from reader.feed(piece)
    reader.finish()


def _frames_of(content: bytes) -> Iterator[Frame]:
    reader = FrameReader()
    yield from reader.feed(content)
    reader.finish()
