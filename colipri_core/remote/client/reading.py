"""Reading a volume that lies at the server, below the folder it allows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from colipri_core.errors import ProtocolError
from colipri_core.errors import UnreadableInputError
from colipri_core.io.suffixes import without_suffix
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


def read_there(transport: Transport, path: str) -> Volume:
    """Have a server read a volume, and fetch it.

    Args:
        transport: The server.
        path: Relative to the folder it allows, with forward slashes, as the path of a match is.

    Raises:
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
    body = to_plain(OpenPathRequest(path=path))
    found = from_plain(OpenPathAnswer, decode_json(_content(transport, "POST", f"{PREFIX}/volumes/open", body)))
    content = _content(transport, "GET", f"{PREFIX}/volumes/{found.volume}/voxels")
    frame = decode_frame(content)
    if frame.kind is not Kind.RESULT or found.header.dtype not in DTYPES:
        msg = f"Expected the voxels of a volume, found a frame {frame.kind.name}. Try again."
        raise ProtocolError(msg)
    voxels = frame.array("voxels", dtypes=(found.header.dtype,), shape=found.header.shape)
    volume = Volume(
        voxels=voxels,
        affine=found.header.geometry.affine,
        unit=found.unit,
        name=without_suffix(PurePosixPath(path).name),
        metadata={"warnings": found.warnings} if found.warnings else {},
    )
    if volume.sha256 != found.volume:
        msg = "Expected the volume that the server read, found another one. Try again."
        raise ProtocolError(msg)
    return volume


def _content(transport: Transport, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    """Make a request that may take long, such as for a folder of DICOM files."""
    with transport.stream(method, path, body, silence=transport.timeouts.silence) as response, transport.translating():
        content: bytes = response.read()
    return content
