"""From the planes of a DICOM series to one regular grid, or the reason why they do not form one.

Slices are sorted by where they lie along the normal of their plane, never by name or instance number. The tolerances
are our choice: a plane may lie a fifth of a slice (or 0.1 mm) from its place in the grid, and the stack may lean by a
quarter of a degree.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import Affine
from colipri_core.geometry import Points
from colipri_core.geometry import ras_to_lps
from colipri_core.io.checks import check_affine
from colipri_core.io.checks import check_shape
from colipri_core.io.checks import refusal
from colipri_core.io.dicom_headers import Frame

_SAME_PLACE_MM = 1e-3
_GAP = 1.5
_UNEVEN = 0.2
_UNEVEN_MM = 0.1
_MAX_TILT_DEGREES = 0.25
_SPACING_TOLERANCE = 1e-3
_UNIT_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Planes in the order of a regular grid.

    Args:
        frames: One plane for each k.
        affine: Voxel -> RAS+ mm; i runs along rows, j along columns.
        shape: Columns, rows, planes.
        warnings: What was dropped on the way.
    """

    frames: tuple[Frame, ...]
    affine: Affine
    shape: tuple[int, int, int]
    warnings: tuple[str, ...]


def stack_frames(name: str, frames: Sequence[Frame]) -> Stack:
    """Sort planes into a regular grid.

    Args:
        name: Name of the series, for messages.
        frames: Planes of one orientation.

    Raises:
        UnsupportedVolumeError: If sizes or spacings are mixed, slices are missing, doubled or uneven, or the gantry was
            tilted.
    """
    _check_same(name, [frame.size for frame in frames], "size", "{0[1]} x {0[0]}")
    spacings = [(round(float(f.pixel_spacing[0]), 3), round(float(f.pixel_spacing[1]), 3)) for f in frames]
    _check_same(name, spacings, "pixel spacing", "{0[1]} x {0[0]} mm")
    normal = _normal(name, frames[0])
    ordered = sorted(frames, key=lambda frame: float(frame.position @ normal))
    ordered, warnings = _without_copies(name, ordered, normal)
    rows, columns = ordered[0].size
    shape = check_shape(name, (columns, rows, len(ordered)))
    positions = np.array([frame.position for frame in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    _check_gaps(name, positions @ normal)
    _check_tilt(name, step, normal)
    _check_regular(name, positions, step)
    affine = check_affine(name, ras_to_lps(_lps_affine(ordered[0], step)), shape)
    return Stack(frames=tuple(ordered), affine=affine, shape=shape, warnings=warnings)


def _lps_affine(frame: Frame, step: Points) -> Affine:
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns): along j first, then along i.
    affine[:3, 0] = frame.orientation[:3] / np.linalg.norm(frame.orientation[:3]) * frame.pixel_spacing[1]
    affine[:3, 1] = frame.orientation[3:] / np.linalg.norm(frame.orientation[3:]) * frame.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = frame.position
    return affine


def _normal(name: str, frame: Frame) -> Points:
    row, column = frame.orientation[:3], frame.orientation[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE or abs(row @ column) > _UNIT_TOLERANCE:
        message = refusal(
            name,
            expected="rows and columns at right angles (Image Orientation (Patient))",
            found=f"the directions {row.round(4).tolist()} and {column.round(4).tolist()}",
            remedy="Export the series from the archive again.",
        )
        raise UnsupportedVolumeError(message)
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def _check_same(name: str, values: Sequence[tuple[float, float]], what: str, form: str) -> None:
    counts = Counter(values)
    common = counts.most_common(1)[0][0]
    if all(max(abs(a - b) for a, b in zip(value, common, strict=True)) <= _SPACING_TOLERANCE for value in counts):
        return
    found = ", ".join(f"{form.format(value)} ({count})" for value, count in counts.most_common(4))
    remedy = "Move the slices that do not belong to the scan out of the folder, or export the series again."
    raise UnsupportedVolumeError(refusal(name, expected=f"slices of one {what}", found=found, remedy=remedy))


def _without_copies(name: str, ordered: list[Frame], normal: Points) -> tuple[list[Frame], tuple[str, ...]]:
    """Drop second copies of the same image; refuse different images at the same place."""
    kept: list[Frame] = []
    copies = clashes = 0
    for frame in ordered:
        if kept and abs((frame.position - kept[-1].position) @ normal) < _SAME_PLACE_MM:
            uid = frame.instance.text("SOPInstanceUID")
            if uid and uid == kept[-1].instance.text("SOPInstanceUID") and frame.index == kept[-1].index:
                copies += 1
            else:
                clashes += 1
            continue
        kept.append(frame)
    if clashes:
        message = refusal(
            name,
            expected="one image at each slice position",
            found=f"{clashes} positions or more with several different images (time points, phases or reconstructions)",
            remedy="Export one phase or reconstruction alone.",
        )
        raise UnsupportedVolumeError(message)
    return kept, (f"{copies} files are copies of others and were left out.",) if copies else ()


def _check_gaps(name: str, depths: npt.NDArray[np.float64]) -> None:
    steps = np.diff(depths)
    # The lower quartile: where few slices are left, gaps may be as many as steps.
    usual = float(np.sort(steps)[(len(steps) - 1) // 4])
    gaps = np.flatnonzero(steps > _GAP * usual)
    if len(gaps) == 0:
        return
    missing = int(np.round(steps[gaps] / usual - 1).sum())
    message = refusal(
        name,
        expected=f"a slice every {usual:.3g} mm",
        found=f"{len(gaps)} gaps, about {missing} slices missing (first after slice {gaps[0] + 1} of {len(depths)})",
        remedy="Copy or export the whole series again.",
    )
    raise UnsupportedVolumeError(message)


def _check_tilt(name: str, step: Points, normal: Points) -> None:
    along = float(step @ normal)
    tilt = np.degrees(np.arctan2(np.linalg.norm(step - along * normal), along))
    if tilt <= _MAX_TILT_DEGREES:
        return
    message = refusal(
        name,
        expected="slices stacked at right angles to their plane",
        found=f"a stack that leans by {tilt:.1f} degrees (gantry tilt)",
        remedy="Correct the tilt first, for instance with dcm2niix, and read its tilt-corrected NIfTI file.",
    )
    raise UnsupportedVolumeError(message)


def _check_regular(name: str, positions: Points, step: Points) -> None:
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    worst = float(np.linalg.norm(positions - expected, axis=1).max())
    allowed = max(_UNEVEN * float(np.linalg.norm(step)), _UNEVEN_MM)
    if worst <= allowed:
        return
    message = refusal(
        name,
        expected="evenly spaced slices in line",
        found=f"slices up to {worst:.2f} mm away from an even spacing of {np.linalg.norm(step):.3g} mm",
        remedy="The series joins several scans or lost slices: export one reconstruction alone.",
    )
    raise UnsupportedVolumeError(message)
