"""Opening a case for a page: one that lies on this host, or a NIfTI file that is sent."""

from __future__ import annotations

import asyncio
import math
import tempfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import Request

from colipri_core.errors import TooLargeError
from colipri_core.errors import UnreadableInputError
from colipri_core.io import read_volume
from colipri_core.io.checks import check_volume
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.remote.protocol.sessions import Opening
from colipri_core.remote.protocol.sessions import OpenRequest
from colipri_core.remote.server.bodies import pieces
from colipri_core.remote.server.service import Service
from colipri_core.remote.server.sessions import HeldSession
from colipri_core.remote.server.settings import Limits
from colipri_core.remote.web.words import rounded_place
from colipri_core.volume import Volume

NAME_HEADER = "Colipri-Name"
"""Carries the name of a file that is sent, percent-encoded; addresses end up in logs, names of patients must not."""

_BYTES_PER_VOXEL = 2
_HEADER_BYTES = 2**20
_LONGEST_NAME = 200


async def open_volume(service: Service, volume: Volume) -> HeldSession:
    """Take in a volume that was read here and open a session on it.

    Args:
        service: The server.
        volume: The volume.

    Raises:
        ServerBusyError: If there is no room.
    """
    digest = await service.volumes.add(volume)
    request = OpenRequest(volume=digest, name=volume.name, unit=volume.unit)
    return await service.sessions.open(Opening(request=request))


async def read_place(place: Path) -> Volume:
    """Read a volume that lies on this host.

    Raises:
        InputError: If it cannot be read.
    """
    return await asyncio.to_thread(read_volume, place)


async def read_upload(request: Request, *, folder: Path, limits: Limits) -> Volume:
    """Read the NIfTI file that is the body of a request; no copy stays.

    Args:
        request: The request.
        folder: Where the file lies meanwhile.
        limits: The server's limits.

    Raises:
        TooLargeError: If the file or its volume is too large.
        InputError: If it cannot be read.
    """
    name = _file_name(unquote(request.headers.get(NAME_HEADER, "")))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="upload-") as temporary:
        path = Path(temporary, name)
        await _receive(request, path, limit=upload_bytes(limits))
        await asyncio.to_thread(_check_size, path, limits.volume_voxels)
        return await read_place(path)


def upload_bytes(limits: Limits) -> int:
    """Return how long a file that is sent may be: the largest volume, uncompressed, in 16 bit."""
    return limits.volume_voxels * _BYTES_PER_VOXEL + _HEADER_BYTES


def case_document(held: HeldSession) -> dict[str, Any]:
    """Return what the page must know of an open case; a look at some of the voxels, so call it in a thread.

    Args:
        held: Its session.
    """
    volume = held.volume
    center = [(size - 1) / 2 for size in volume.shape]
    return {
        **to_plain(held.answer()),
        "name": volume.name,
        "unit": volume.unit,
        "shape": list(volume.shape),
        "spacing": [round(value, 4) for value in volume.spacing],
        "orientation": volume.orientation,
        "center_ras": rounded_place(volume.geometry, (center[0], center[1], center[2])),
        "warnings": list(check_volume(volume)),
    }


async def _receive(request: Request, path: Path, *, limit: int) -> None:
    size = 0
    with path.open("xb") as stream:
        async for piece in pieces(request):
            size += len(piece)
            if size > limit:
                msg = (
                    f"Expected a file of at most {limit} bytes, found a longer one. "
                    "Crop it, or put it below the server's --root and choose it there."
                )
                raise TooLargeError(msg)
            stream.write(piece)


def _file_name(name: str) -> str:
    """The last part of a file's name, if it is one of NIfTI; nothing of it reaches another folder."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    suffix = next((suffix for suffix in sorted(NIFTI_SUFFIXES, key=len)[::-1] if last.lower().endswith(suffix)), None)
    if suffix is None or last == suffix:
        msg = (
            f'Expected a NIfTI file (.nii or .nii.gz), found "{last[:_LONGEST_NAME]}". '
            "Convert it with: colipri convert SOURCE ct.nii.gz"
        )
        raise UnreadableInputError(msg)
    return last if len(last.encode()) <= _LONGEST_NAME else f"ct{suffix}"


def _check_size(path: Path, most: int) -> None:
    """Refuse a header that announces too many voxels, before anything is unpacked."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    damage = (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, zlib.error, ValueError, TypeError)
    try:
        shape = nibabel.load(path).shape  # type: ignore[attr-defined]
    except damage:
        return  # read_volume says in words what is wrong
    if math.prod(shape) > most:
        msg = f"Expected a volume of at most {most} voxels, found {math.prod(shape)}. Crop or resample it first."
        raise TooLargeError(msg)
