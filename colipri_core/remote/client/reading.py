"""Reading a volume that lies at the server, below the folder it allows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from colipri_core.errors import ProtocolError
from colipri_core.errors import UnreadableInputError
from colipri_core.io.suffixes import without_suffix
from colipri_core.progress import CancelToken
from colipri_core.progress import ProgressCallback
from colipri_core.progress import Reporter
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.protocol.arrays import DTYPES
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import decode_frame
from colipri_core.remote.protocol.frames import decode_json
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.questions import OpenPathAnswer
from colipri_core.remote.protocol.questions import OpenPathRequest
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.volume import Volume

_OPENED = 0.3
"""Part of the progress that the server's own reading takes."""


def read_there(
    transport: Transport, path: str, progress: ProgressCallback | None = None, cancel: CancelToken | None = None
) -> Volume:
    """Have a server read a volume, and fetch it.

    Args:
        transport: The server.
        path: Relative to the folder it allows, with forward slashes, as the path of a match is.
        progress: Receives (fraction, message).
        cancel: Cancels fetching.

    Raises:
        Cancelled: If the cancel token is set.
        UnreadableInputError: If the path is empty, or nothing that can be read lies there.
        NotFoundError: If the server opens no paths.
        ColipriError: If it is lost, or refuses; ValueError likewise.
    """
    if not path:
        msg = (
            "Expected the path of a scan at the server, got none: the server does not say where it lies. "
            "Have it started with --root, on a folder that holds the scans of its case stores."
        )
        raise UnreadableInputError(msg)
    report, name = Reporter(progress, cancel), PurePosixPath(path).name
    title = f"Reading {name} at the server"
    body = to_plain(OpenPathRequest(path=path))
    answer = _content(transport, report.part(0.0, _OPENED), title, "POST", f"{PREFIX}/volumes/open", body)
    found = from_plain(OpenPathAnswer, decode_json(answer))
    title, voxels = f"Fetching {name}", f"{PREFIX}/volumes/{found.volume}/voxels"
    content = _content(transport, report.part(_OPENED, 1.0), title, "GET", voxels)
    frame = decode_frame(content)
    if frame.kind is not Kind.RESULT or found.header.dtype not in DTYPES:
        msg = f"Expected the voxels of a volume, found a frame {frame.kind.name}. Try again."
        raise ProtocolError(msg)
    volume = Volume(
        voxels=frame.array("voxels", dtypes=(found.header.dtype,), shape=found.header.shape),
        affine=found.header.geometry.affine,
        unit=found.unit,
        name=without_suffix(name),
        metadata={"warnings": found.warnings} if found.warnings else {},
    )
    if volume.sha256 != found.volume:
        msg = "Expected the volume that the server read, found another one. Try again."
        raise ProtocolError(msg)
    return volume


def _content(
    transport: Transport, report: Reporter, title: str, method: str, path: str, body: dict[str, Any] | None = None
) -> bytes:
    """Make a request that may take long, such as for a folder of DICOM files, and take its answer piece by piece."""
    report(0.0, title)
    content = bytearray()
    with transport.stream(method, path, body, silence=transport.timeouts.silence) as response, transport.translating():
        length = int(response.headers.get("Content-Length", 0))
        for piece in response.iter_bytes():
            content += piece
            report(len(content) / length if length else 0.0, title)
    return bytes(content)
