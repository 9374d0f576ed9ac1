"""Writing volumes and evidence maps, and converting between formats. Every file is written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import OutputError
from colipri_core.findings import EvidenceMap
from colipri_core.geometry import VolumeGeometry
from colipri_core.io.atomic import atomic_file
from colipri_core.io.atomic import write_json
from colipri_core.io.itk import save
from colipri_core.io.nifti import write_nifti
from colipri_core.io.read import read_volume
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import VOLUME_SUFFIXES
from colipri_core.io.suffixes import matching_suffix
from colipri_core.io.suffixes import without_suffix
from colipri_core.io.voxels import compact
from colipri_core.volume import Volume

_DESCRIBES = "describes"
"""Key of a sidecar under which the name of its image file stands."""
_STORED_AS_IS = ("uint8", "int16", "uint16", "int32", "float32")


def write_volume(volume: Volume, path: str | os.PathLike[str]) -> Path:
    """Write a volume with its true affine.

    Args:
        volume: The volume.
        path: File ending in .nii.gz, .nii, .nrrd or .mha.

    Returns:
        The path written.

    Raises:
        ValueError: If the suffix is unknown or the folder does not exist.
    """
    target = Path(path)
    suffix = matching_suffix(target, VOLUME_SUFFIXES)
    write_array(target, suffix, volume.voxels, volume.geometry)
    return target


def check_map_output(path: str | os.PathLike[str]) -> str:
    """Refuse a file that `write_map` would refuse, before there is a map.

    Args:
        path: File to be written.

    Returns:
        Its suffix.

    Raises:
        ValueError: If the suffix is unknown.
        OutputError: If a JSON file of this name holds something else.
    """
    suffix = matching_suffix(Path(path), VOLUME_SUFFIXES)
    check_sidecar(Path(path))
    return suffix


def write_map(evidence: EvidenceMap, path: str | os.PathLike[str]) -> Path:
    """Write an evidence map as float32, with a JSON file beside it that says what it shows and what made it.

    Args:
        evidence: The map.
        path: File ending in .nii.gz, .nii, .nrrd or .mha.

    Returns:
        The path written; the JSON file has the same name, ending in .json.

    Raises:
        ValueError: If the suffix is unknown or the folder does not exist.
        OutputError: If a JSON file of this name holds something else, or the disk is full.
    """
    target = Path(path)
    suffix = check_map_output(target)
    write_array(target, suffix, evidence.values.astype(np.float32, copy=False), evidence.geometry)
    write_sidecar(target, evidence.to_json())
    return target


def convert(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, series: str | int | None = None
) -> Volume:
    """Read a volume and write it in another format, without resampling.

    Args:
        source: What `read_volume` reads.
        target: File ending in .nii.gz, .nii, .nrrd or .mha.
        series: Which DICOM series, where there are several.

    Returns:
        The volume.

    Raises:
        InputError: If the source cannot be read.
        ValueError: If the target's suffix is unknown or its folder does not exist.
    """
    matching_suffix(Path(target), VOLUME_SUFFIXES)
    volume = read_volume(source, series=series)
    write_volume(volume, target)
    return volume


def write_array(
    target: Path,
    suffix: str,
    voxels: npt.NDArray[Any],
    geometry: VolumeGeometry,
    *,
    fields: dict[str, str] | None = None,
) -> None:
    """Write an array atomically, in the format of the suffix.

    Args:
        target: File to be written.
        suffix: Its suffix, which names the format.
        voxels: Array `[i, j, k]`.
        geometry: Its grid.
        fields: Text fields for an NRRD header.
    """
    stored = voxels if voxels.dtype.name in _STORED_AS_IS else compact(voxels)
    with atomic_file(target, suffix) as temporary:
        if suffix in NIFTI_SUFFIXES:
            write_nifti(temporary, stored, geometry.affine, orthogonal=geometry.is_orthogonal)
        else:
            save(temporary, stored, geometry, fields=fields)


def sidecar(path: Path) -> Path:
    """The JSON file that goes with an image file."""
    return path.with_name(f"{without_suffix(path.name)}.json")


def write_sidecar(path: Path, document: dict[str, Any]) -> None:
    """Write the JSON file that goes with an image file, which it names.

    Args:
        path: The image file.
        document: What is said of it.

    Raises:
        OutputError: If a file of this name goes with something else, or the disk is full.
    """
    check_sidecar(path)
    write_json(sidecar(path), {_DESCRIBES: path.name, **document})


def check_sidecar(path: Path) -> None:
    """Refuse an image file whose JSON file would take the place of another, such as a report.

    Raises:
        OutputError: If there is a file of this name that does not say that it goes with this image file.
    """
    beside = sidecar(path)
    if not beside.exists() or _described_in(beside) == path.name:
        return
    msg = (
        f'Cannot write "{path}": it needs "{beside.name}" beside it for what it shows, and found a file of that name '
        "that goes with something else. Choose another name, or move that file away."
    )
    raise OutputError(msg)


def _described_in(beside: Path) -> str | None:
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return None
    return document.get(_DESCRIBES) if isinstance(document, dict) else None
