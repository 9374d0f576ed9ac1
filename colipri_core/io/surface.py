"""Surfaces of segments as STL or OBJ, in RAS+ millimetres of the patient.

Neither format has a field for the frame. 3D Slicer, whose convention this is, looks for `SPACE=RAS` in the header of
an STL file and in a comment of an OBJ file, and takes LPS where there is none.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import MissingDependencyError
from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import apply_affine
from colipri_core.io.atomic import atomic_file
from colipri_core.io.names import letters_and_digits
from colipri_core.io.suffixes import SURFACE_SUFFIXES
from colipri_core.io.suffixes import matching_suffix
from colipri_core.prompts.crop import bounding_box
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation

_HEADER = "SPACE=RAS, millimetres. Research use only, not for diagnosis."
_STL_HEADER_BYTES = 80
_NAME_BYTES = 80
"""How much of a segment's name goes into that of its file, which holds 255 bytes, the labelmap's name among them."""

Mesh = tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]
"""Vertices (N, 3) in RAS+ mm, and triangles (M, 3) of vertex numbers, counter-clockwise seen from outside."""


def surface(segmentation: Segmentation, label: int) -> Mesh:
    """Return the closed surface half way between the voxels of a segment and the others.

    Marching cubes (Lewiner et al. 2003, scikit-image) on the segment's own grid, so that an oblique or anisotropic
    segment keeps its shape in the patient; nothing is smoothed.

    Args:
        segmentation: The labelmap.
        label: The segment.

    Raises:
        UnsupportedVolumeError: If the segment has no voxel.
        MissingDependencyError: If scikit-image is not installed.
    """
    mask = segmentation.labelmap == label
    box = bounding_box(mask)
    if box is None:
        msg = f"Expected voxels of label {label} to draw a surface around, found none. Segment something first."
        raise UnsupportedVolumeError(msg)
    padded = np.pad(mask[box], 1).astype(np.float32)
    vertices, faces, _, _ = _marching_cubes()(padded, 0.5, allow_degenerate=False)
    indices = vertices - 1.0 + [part.start for part in box]
    positions = apply_affine(segmentation.geometry.affine, indices)
    if not segmentation.geometry.is_left_handed:  # marching cubes turns its triangles for a left-handed grid
        faces = faces[:, ::-1]
    return positions, faces.astype(np.intp)


def write_surface(segmentation: Segmentation, path: str | os.PathLike[str], *, label: int) -> Path:
    """Write the surface of one segment.

    Args:
        segmentation: The labelmap.
        path: File ending in .stl (binary) or .obj.
        label: The segment.

    Returns:
        The path written.

    Raises:
        UnsupportedVolumeError: If the segment has no voxel.
        MissingDependencyError: If scikit-image or trimesh is not installed.
        ValueError: If the suffix is unknown or the folder does not exist.
    """
    target = Path(path)
    suffix = matching_suffix(target, SURFACE_SUFFIXES)
    content = _stl(surface(segmentation, label)) if suffix == ".stl" else _obj(surface(segmentation, label))
    with atomic_file(target, suffix) as temporary:
        temporary.write_bytes(content)
    return target


def write_surfaces(segmentation: Segmentation, beside: Path, *, suffix: str) -> tuple[Path, ...]:
    """Write the surface of each segment that has voxels, beside a labelmap: `mask_Nodule.stl`, and so on.

    Args:
        segmentation: The labelmap.
        beside: The labelmap's file, without its suffix.
        suffix: ".stl" or ".obj".

    Returns:
        The paths written.

    Raises:
        MissingDependencyError: If scikit-image or trimesh is not installed.
        ValueError: If the suffix is unknown or the folder does not exist.
    """
    files = surface_files(segmentation, beside, suffix=suffix)
    return tuple(write_surface(segmentation, path, label=label) for label, path in files.items())


def surface_files(segmentation: Segmentation, beside: Path, *, suffix: str) -> dict[int, Path]:
    """Return the files that `write_surfaces` writes, by label; no two are one, also where case does not count.

    Args:
        segmentation: The labelmap.
        beside: The labelmap's file, without its suffix.
        suffix: ".stl" or ".obj".
    """
    present = [segment for segment in segmentation.segments if (segmentation.labelmap == segment.label).any()]
    names = [_file_name(segment) for segment in present]
    counts = Counter(name.casefold() for name in names)
    files: dict[int, Path] = {}
    taken: set[str] = set()
    for name, segment in zip(names, present, strict=True):
        unique = name if counts[name.casefold()] == 1 else f"{name}{segment.label}"
        while unique.casefold() in taken:
            unique = f"{unique}{segment.label}"
        taken.add(unique.casefold())
        files[segment.label] = beside.with_name(f"{beside.name}_{unique}{suffix}")
    return files


def _file_name(segment: Segment) -> str:
    letters = letters_and_digits(segment.name).encode()[:_NAME_BYTES].decode(errors="ignore")
    return letters or f"label{segment.label}"


def _stl(mesh: Mesh) -> bytes:
    content: bytes = _trimesh(mesh).export(file_type="stl")
    return _HEADER.encode().ljust(_STL_HEADER_BYTES) + content[_STL_HEADER_BYTES:]


def _obj(mesh: Mesh) -> bytes:
    text: str = _trimesh(mesh).export(file_type="obj", header=_HEADER, include_normals=False)
    return text.encode()


def _trimesh(mesh: Mesh) -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise _missing("trimesh") from error
    vertices, faces = mesh
    return trimesh.Trimesh(vertices=vertices, faces=faces, process=False)


def _marching_cubes() -> Any:
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise _missing("scikit-image") from error
    return marching_cubes


def _missing(package: str) -> MissingDependencyError:
    msg = f"Surfaces need {package}, which is not installed: pip install 'napari-colipri[surface]'."
    return MissingDependencyError(msg)
