"""Sending a volume: once a server, in slabs, with progress."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from colipri_core.errors import TooLargeError
from colipri_core.errors import VolumeUnknownError
from colipri_core.progress import Reporter
from colipri_core.remote.client.transport import Transport
from colipri_core.remote.protocol.version import PREFIX
from colipri_core.remote.protocol.volumes import slab_count
from colipri_core.remote.protocol.volumes import volume_frames
from colipri_core.volume import Volume


def send_volume(transport: Transport, volume: Volume, report: Reporter) -> None:
    """Send a volume unless the server holds it.

    Args:
        transport: The server.
        volume: A volume that is `sendable`.
        report: Told of the progress; what it raises ends the sending.

    Raises:
        TooLargeError: If the server allows no volume of this size.
        ColipriError: If the server refuses it, or is lost.
    """
    report(0.0, f"Looking for the volume at {transport.host}")
    path = f"{PREFIX}/volumes/{volume.sha256}"
    with contextlib.suppress(VolumeUnknownError):
        transport.json("GET", path)
        return

    def content() -> Iterator[bytes]:
        slabs = slab_count(volume)
        for sent, parts in enumerate(volume_frames(volume)):
            report(sent / (slabs + 1), f"Sending the volume to {transport.host}")
            yield b"".join(parts)

    transport.json("PUT", path, content())
    report(1.0, f"Sent the volume to {transport.host}")


def check_size(volume: Volume, *, voxels: int, host: str) -> None:
    """Refuse a volume that the server would refuse after it was sent.

    Args:
        volume: The volume.
        voxels: Most voxels the server allows.
        host: Its name, for people.

    Raises:
        TooLargeError: If it is too large.
    """
    if volume.voxels.size > voxels:
        msg = (
            f"Expected a volume of at most {voxels} voxels, which the server at {host} takes, got {volume.shape}. "
            "Crop or resample it, or ask whoever runs the server to raise its limit."
        )
        raise TooLargeError(msg)
