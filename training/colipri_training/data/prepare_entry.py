"""One volume of a manifest on its way into a prepared data set: read, resampled, stored, or refused."""

from __future__ import annotations

import dataclasses
import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import ColipriError
from colipri_core.errors import InputError
from colipri_core.geometry import Affine
from colipri_core.io.atomic import atomic_file
from colipri_core.preprocess import model_grid
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.resample import resample
from colipri_core.volume import Volume
from colipri_training.data.manifest import Entry
from colipri_training.data.prepared import HU_RANGE
from colipri_training.data.prepared import PreparedVolume
from colipri_training.data.prepared import Record
from colipri_training.data.prepared import Storage
from colipri_training.data.prepared import body_of
from colipri_training.data.prepared import encode
from colipri_training.data.prepared import hash_voxels
from colipri_training.data.prepared import place_of
from colipri_training.data.prepared import read_record
from colipri_training.data.sources import fingerprint
from colipri_training.data.sources import read_source
from colipri_training.data.sources import source_sha256

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_VOXELS = 2**31


class PreparationStoppedError(ColipriError):
    """Preparing stopped before its end; what was finished is kept, and the same command goes on."""

    exit_code = 3
    code = "preparation-stopped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A volume that could not be used: its id, the error's code, and the reason."""

    id: str
    code: str
    reason: str


Outcome = tuple[PreparedVolume | Refusal, bool]
"""The result for a volume, and whether it was made now."""


def prepare_volume(volume: Volume, spec: PreprocessSpec) -> tuple[npt.NDArray[np.int16], Affine]:
    """Bring a whole volume to a model's orientation and spacing.

    Args:
        volume: A CT in HU.
        spec: Orientation and spacing wanted.

    Returns:
        int16 HU, clamped to `HU_RANGE`, and its affine.

    Raises:
        InputError: If it would have more voxels than fit an index of 31 bits.
    """
    target = model_grid(volume.geometry, spec).resampled
    if math.prod(target.shape) > _MOST_VOXELS:
        msg = f'"{volume.name}" would have {target.shape} voxels at {spec.spacing_mm} mm: its header is wrong.'
        raise InputError(msg)
    values = resample(volume.voxels, volume.geometry, target, order=1, fill=HU_RANGE[0])
    np.clip(np.rint(values, out=values), *HU_RANGE, out=values)
    return np.ascontiguousarray(values, dtype=np.int16), target.affine


def prepare_entry(entry: Entry, *, folder: Path, spec: PreprocessSpec, storage: Storage) -> Outcome:
    """Prepare a volume, unless that was done before.

    Args:
        entry: Which.
        folder: The prepared data set.
        spec: Orientation and spacing.
        storage: Chunks and compression.

    Returns:
        Its line for the index or why it was refused, and whether it was made now.

    Raises:
        PreparationStoppedError: If the disk is full.
    """
    path = folder / place_of(entry.id)
    try:
        state = tuple(fingerprint(entry))
        record = read_record(path)
        if record is not None and state in (record.fingerprint, ()):  # a source may be deleted once it is prepared
            return _line(entry, record), False
        hu, record = _make(entry, spec, state)
    except (ColipriError, OSError, ValueError, MemoryError) as error:
        code = error.code if isinstance(error, ColipriError) else type(error).__name__
        return Refusal(id=entry.id, code=code, reason=str(error) or type(error).__name__), False
    frame = encode(hu, record, storage)
    with stops_when_full(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, path.suffix) as temporary:
            temporary.write_bytes(frame)
    return _line(entry, record), True


def _make(entry: Entry, spec: PreprocessSpec, state: tuple[Any, ...]) -> tuple[npt.NDArray[np.int16], Record]:
    volume = read_source(entry)
    hu, affine = prepare_volume(volume, spec)
    x, y, z = hu.shape
    record = Record(
        shape=(x, y, z),
        affine=tuple(affine.ravel().tolist()),
        body=body_of(hu),
        minimum_hu=int(hu.min()),
        source_sha256=source_sha256(entry),
        voxels_sha256=hash_voxels(hu),
        fingerprint=state,
        notes=tuple(volume.metadata.get("warnings", ())),
        source_spacing_mm=tuple(float(mm) for mm in volume.geometry.reoriented("RAS").spacing),
    )
    return hu, record


@contextmanager
def stops_when_full(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that says what to do.

    Args:
        folder: What is being filled.

    Raises:
        PreparationStoppedError: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        msg = (
            f'No room is left where "{folder.name}" lies ({error.strerror}). Finished volumes are kept, nothing is '
            "half-written. Free some space and run the same command again; it goes on."
        )
        raise PreparationStoppedError(msg) from error


def _line(entry: Entry, record: Record) -> PreparedVolume:
    return PreparedVolume(
        id=entry.id,
        patient=entry.patient,
        split=entry.split,
        report=entry.report,
        labels=dict(entry.labels),
        file=place_of(entry.id),
        record=record,
        study=entry.study,
    )
