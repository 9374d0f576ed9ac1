"""Writes DICOM CT series for tests: any orientation, any order of files, and every defect a reader must notice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.dataset import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage
from pydicom.uid import EnhancedCTImageStorage
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.uid import generate_uid

from colipri_core.geometry import ras_to_lps


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """How a series is written.

    Args:
        modality: Modality.
        number: Series Number.
        slope: Rescale Slope; None leaves both tags out.
        intercept: Rescale Intercept.
        order: File names are given to slices in this order; None keeps it.
        edit: Called with (k, data set) before each file is written; returning False leaves the file out.
    """

    modality: str = "CT"
    number: int = 3
    slope: float | None = 1.0
    intercept: float = -1024.0
    order: tuple[int, ...] | None = None
    edit: Callable[[int, Dataset], bool | None] | None = None


def write_series(folder: Path, hu: np.ndarray, affine: np.ndarray, options: SeriesOptions | None = None) -> list[Path]:
    """Write one single-frame CT image a slice.

    Args:
        folder: Where to; created if needed.
        hu: Values `[i, j, k]` after rescaling.
        affine: Voxel -> RAS+ mm; k must be at right angles to i and j for a regular series.
        options: How.

    Returns:
        The files, in the order of k.
    """
    options = options or SeriesOptions()
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    order = options.order or tuple(range(hu.shape[2]))
    files = []
    for k in range(hu.shape[2]):
        dataset = _image(CTImageStorage, options)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.InstanceNumber = k + 1
        place = _placement(affine, k)
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing = place
        if options.slope is not None:
            dataset.RescaleSlope, dataset.RescaleIntercept = options.slope, options.intercept
        _set_pixels(dataset, stored(hu[:, :, k], options).T)
        keep = options.edit(k, dataset) if options.edit else True
        path = folder / f"IM{order[k]:04d}"
        if keep is not False:
            dataset.save_as(path, enforce_file_format=True)
            files.append(path)
    return files


def write_multiframe(path: Path, hu: np.ndarray, affine: np.ndarray, *, order: tuple[int, ...]) -> None:
    """Write one enhanced CT image.

    Args:
        path: The file.
        hu: Values `[i, j, k]`.
        affine: Voxel -> RAS+ mm.
        order: Which k each frame shows.
    """
    options = SeriesOptions()
    dataset = _image(EnhancedCTImageStorage, options)
    dataset.NumberOfFrames = len(order)
    shared, frames = Dataset(), []
    _, orientation, spacing = _placement(affine, 0)
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=orientation)])
    shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=spacing, SliceThickness=1.0)])
    rescaling = _item(RescaleSlope=1.0, RescaleIntercept=options.intercept, RescaleType="HU")
    shared.PixelValueTransformationSequence = Sequence([rescaling])
    for k in order:
        item = Dataset()
        item.PlanePositionSequence = Sequence([_item(ImagePositionPatient=_placement(affine, k)[0])])
        frames.append(item)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    _set_pixels(dataset, np.stack([stored(hu[:, :, k], options).T for k in order]))
    dataset.save_as(path, enforce_file_format=True)


def stored(hu: np.ndarray, options: SeriesOptions) -> np.ndarray:
    """Stored values of HU values."""
    slope = options.slope or 1.0
    return np.round((hu - options.intercept) / slope).astype(np.uint16)


def _image(sop_class: Any, options: SeriesOptions) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = "Secret^Person", "0815"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "120000", "1"
    dataset.Manufacturer = "Test"
    dataset.Modality, dataset.SeriesNumber = options.modality, options.number
    dataset.SeriesDescription = f"Chest {options.number}"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return dataset


def _placement(affine: np.ndarray, k: int) -> tuple[list[float], list[float], list[float]]:
    lps = ras_to_lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    rows_and_columns = (lps[:3, :2] / spacing[:2]).T.ravel()
    position = lps[:3, 3] + k * lps[:3, 2]
    # A decimal string holds 16 characters.
    return (
        [float(f"{value:.9g}") for value in position],
        [float(f"{value:.9g}") for value in rows_and_columns],
        [float(f"{value:.9g}") for value in (spacing[1], spacing[0])],
    )


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _set_pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
