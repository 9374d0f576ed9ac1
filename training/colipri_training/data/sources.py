"""Reading one volume of a manifest in Hounsfield units, or saying why it cannot be used for training.

One scan in wrong units is worth less than none, so doubts that are a warning elsewhere are a refusal here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from einops import rearrange

from colipri_core.errors import UnreadableInputError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.errors import VolumeWarning
from colipri_core.io import check_volume
from colipri_core.io import read_volume
from colipri_core.io.checks import intensity_doubts
from colipri_core.io.checks import refusal
from colipri_core.io.voxels import rescale
from colipri_core.volume import Volume
from colipri_training.data.manifest import Correction
from colipri_training.data.manifest import Entry

_SOFT_TISSUE_HU = (-150, 150)
_LEAST_SOFT_TISSUE = 0.02
_RAD_CHESTCT_AFFINE = np.diag([-0.8, -0.8, -0.8, 1.0])
_BLOCK = 2**20


def read_source(entry: Entry) -> Volume:
    """Read a volume and bring it to Hounsfield units.

    Args:
        entry: Which; its correction is applied.

    Returns:
        The volume; its metadata's "warnings" hold what `check_volume` says.

    Raises:
        InputError: If it cannot be read, or its intensities cannot be Hounsfield units of a chest.
    """
    if entry.image.suffix == ".npz":
        volume = _read_rad_chestct(entry.image)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VolumeWarning)
            volume = read_volume(entry.image)
    if entry.correction is not None:
        volume = _corrected(volume, entry.correction)
    doubts = intensity_doubts(volume.voxels) or _tissue_doubts(volume.voxels)
    if not doubts and volume.unit != "HU":
        doubts = check_volume(volume)[:1]
    if doubts:
        remedy = "Correct slope and intercept in the manifest, or name the right version of the data set."
        found = doubts[0][0].lower() + doubts[0][1:].rstrip(".")
        message = refusal(entry.image.name, expected="Hounsfield units", found=found, remedy=remedy)
        raise UnsupportedVolumeError(message)
    return volume


def fingerprint(entry: Entry) -> list[float | str]:
    """Tell cheaply whether a source has changed: bytes, newest change (s), correction; empty if it is not there."""
    files = _files(entry.image)
    if not files:
        return []
    states = [file.stat() for file in files]
    fix = "" if entry.correction is None else repr(dataclasses.astuple(entry.correction))
    return [float(sum(state.st_size for state in states)), max(state.st_mtime for state in states), fix]


def source_sha256(entry: Entry) -> str:
    """Hash of the bytes of a file, or of all files of a folder in the order of their names."""
    digest = hashlib.sha256()
    for file in _files(entry.image):
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _files(image: Path) -> list[Path]:
    if image.is_dir():
        return sorted(path for path in image.rglob("*") if path.is_file())
    return [image] if image.is_file() else []


def _read_rad_chestct(path: Path) -> Volume:
    """Read an array of RAD-ChestCT: axes to inferior, posterior, left (see `layouts.rad_chestct`)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = archive["ct"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        remedy = "Download it again."
        message = refusal(path.name, expected="an .npz with the array ct", found=f"{error}", remedy=remedy)
        raise UnreadableInputError(message) from error
    if stored.ndim != 3 or stored.dtype.kind not in "if":
        found = f"an array of {stored.dtype} of shape {stored.shape}"
        message = refusal(path.name, expected="a 3D array of HU", found=found, remedy="Download it again.")
        raise UnsupportedVolumeError(message)
    return Volume(voxels=rearrange(stored, "k j i -> i j k"), affine=_RAD_CHESTCT_AFFINE, name=path.stem)


def _corrected(volume: Volume, fix: Correction) -> Volume:
    affine = volume.affine
    if fix.affine is not None:
        affine = rearrange(np.array(fix.affine), "(row column) -> row column", row=4)
    voxels = rescale(volume.voxels, fix.slope, fix.intercept)
    try:
        return dataclasses.replace(volume, voxels=voxels, affine=affine, unit="HU")
    except ValueError as error:
        message = refusal(volume.name, expected="an affine", found=f"another matrix ({error})", remedy="Correct it.")
        raise UnsupportedVolumeError(message) from error


def _tissue_doubts(voxels: npt.NDArray[Any]) -> tuple[str, ...]:
    """Say if hardly anything is as dense as soft tissue, as when the offset was applied twice to a tight crop."""
    low, high = _SOFT_TISSUE_HU
    sample = voxels[::4, ::4, ::4]
    share = float(((sample >= low) & (sample <= high)).mean())
    if share >= _LEAST_SOFT_TISSUE:
        return ()
    return (f"only {share:.1%} of the voxels lie between {low} and {high}, where soft tissue is",)
