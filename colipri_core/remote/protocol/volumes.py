"""Volumes on the wire: sent once, as a header and slabs along k, and known by their digest from then on.

The digest is `Volume.sha256`, over voxels and geometry. Name and unit are said when a session is opened, since two
files may hold the same voxels. Metadata, such as DICOM identifiers, does not travel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any
from typing import Literal

import numpy as np

from colipri_core.errors import ProtocolError
from colipri_core.errors import TooLargeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.remote.protocol.arrays import DTYPES
from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.frames import encode_frame
from colipri_core.remote.protocol.limits import DEFAULT_LIMITS
from colipri_core.remote.protocol.limits import Limits
from colipri_core.remote.protocol.plain import from_plain
from colipri_core.remote.protocol.plain import to_plain
from colipri_core.volume import Volume

SLAB_BYTES = 16 << 20
"""Size of a slab before it is packed (our choice)."""

Rows = tuple[tuple[float, float, float, float], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """A volume without its voxels.

    Args:
        shape: Number of voxels along i, j, k.
        dtype: Type of the voxels.
        affine: Rows of the affine, voxel index -> RAS+ mm.
        order: Which axis runs fastest in memory: k ("C") or i ("F").
    """

    shape: tuple[int, int, int]
    dtype: str
    affine: Rows
    order: Literal["C", "F"] = "C"

    @classmethod
    def of(cls, volume: Volume) -> VolumeHeader:
        """Describe a volume."""
        flags = volume.voxels.flags
        rows: Any = tuple(tuple(row) for row in volume.affine.tolist())
        order: Literal["C", "F"] = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
        return cls(shape=volume.shape, dtype=volume.voxels.dtype.name, affine=rows, order=order)

    @property
    def geometry(self) -> VolumeGeometry:
        """Shape and affine.

        Raises:
            ValueError: If they make no grid.
        """
        return VolumeGeometry(shape=self.shape, affine=np.asarray(self.affine))

    def check(self, limits: Limits) -> None:
        """Refuse what cannot be a volume, or is too large.

        Raises:
            ProtocolError: If it makes no grid, or the voxels are no numbers.
            TooLargeError: If the limits do not allow it.
        """
        if self.dtype not in DTYPES or self.dtype == "bool":
            msg = f'Expected voxels of a numeric type, found "{self.dtype[:40]}". Convert the volume first.'
            raise ProtocolError(msg)
        count = int(np.prod(self.shape, dtype=object))
        if max(self.shape) > limits.axis or count > limits.voxels or count * 8 > limits.array_bytes * 2:
            msg = (
                f"Expected a volume of at most {limits.voxels} voxels and {limits.axis} along an axis, "
                f"found {self.shape}. Crop or resample it, or have the server's limits raised."
            )
            raise TooLargeError(msg)
        try:
            _ = self.geometry
        except ValueError as error:
            msg = f"Expected the grid of a volume ({error})"
            raise ProtocolError(msg) from error


def sendable(volume: Volume) -> Volume:
    """Return the volume as it travels: little-endian voxels of a listed type; itself if they are so already."""
    name = volume.voxels.dtype.name
    wanted = DTYPES.get(name, np.dtype("<f8"))
    return volume if volume.voxels.dtype == wanted else volume.replace_voxels(volume.voxels.astype(wanted))


def volume_frames(volume: Volume) -> Iterator[list[bytes | memoryview]]:
    """Give the frames a volume is sent as: its header, then slabs along k.

    Args:
        volume: A volume that is `sendable`.
    """
    header = VolumeHeader.of(volume)
    yield encode_frame(Kind.HEADER, to_plain(header))
    thickness = _thickness(volume)
    for start in range(0, volume.shape[2], thickness):
        slab = np.asarray(volume.voxels[:, :, start : start + thickness], order=header.order)
        yield encode_frame(Kind.SLAB, {"start": start}, {"voxels": slab}, fast=True)


def slab_count(volume: Volume) -> int:
    """Number of slabs a volume is sent as."""
    return -(-volume.shape[2] // _thickness(volume))


class VolumeReceiver:
    """Puts a volume together from its frames.

    Args:
        limits: What is allowed.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._header: VolumeHeader | None = None
        self._voxels = np.zeros((0, 0, 0))
        self._filled = 0

    def take(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            ProtocolError: If it is not the one that must come next.
            TooLargeError: If the limits do not allow the volume.
        """
        if self._header is None:
            _expect(frame, Kind.HEADER)
            header = from_plain(VolumeHeader, frame.body)
            header.check(self._limits)
            self._voxels = np.empty(header.shape, dtype=DTYPES[header.dtype], order=header.order)
            self._header = header
            return
        _expect(frame, Kind.SLAB)
        if from_plain(_Slab, frame.body).start != self._filled:
            msg = f"Expected the slab from {self._filled} on, found another one. Send the volume again."
            raise ProtocolError(msg)
        i, j, k = self._header.shape
        slab = frame.array("voxels", dtypes=(self._header.dtype,), shape=(i, j, None))
        end = self._filled + slab.shape[2]
        if not self._filled < end <= k:
            msg = f"Expected slabs up to {k}, found one up to {end}. Send the volume again."
            raise ProtocolError(msg)
        self._voxels[:, :, self._filled : end] = slab
        self._filled = end

    def volume(self, digest: str) -> Volume:
        """Return the volume, once all its frames were taken.

        Args:
            digest: What its voxels and geometry must hash to.

        Raises:
            ProtocolError: If slabs are missing, or it is another volume.
        """
        if self._header is None or self._filled != self._header.shape[2]:
            msg = f"Expected slabs of a whole volume, found them up to {self._filled}. Send it again."
            raise ProtocolError(msg)
        volume = Volume(voxels=self._voxels, affine=np.asarray(self._header.affine))
        if volume.sha256 != digest:
            msg = f"Expected a volume of digest {digest[:16]}..., found {volume.sha256[:16]}... Send it again."
            raise ProtocolError(msg)
        return volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Slab:
    start: int


def _thickness(volume: Volume) -> int:
    return max(1, SLAB_BYTES // max(1, volume.voxels[:, :, :1].nbytes))


def _expect(frame: Frame, kind: Kind) -> None:
    if frame.kind is not kind:
        msg = f"Expected a frame {kind.name}, found {frame.kind.name}. Send the volume again."
        raise ProtocolError(msg)
