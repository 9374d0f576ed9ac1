"""Scalar volume nodes as volumes of the core, whatever their orientation and parent transforms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import VolumeGeometry
from colipri_core.volume import Volume

HOUNSFIELD = "[hnsf'U]"
"""Code of the unit "Hounsfield unit" in UCUM; Slicer's DICOM reader writes it with its brackets or without."""

TAKEN_AS_HU = "The intensities are taken as HU, because the volume does not say what they are."


def to_world(node: slicer.vtkMRMLTransformableNode) -> npt.NDArray[np.float64]:
    """The matrix from a node's own coordinates to the world, through all its parent transforms.

    Args:
        node: Any node that can be transformed.

    Returns:
        4x4, RAS+ mm -> RAS+ mm.

    Raises:
        UnsupportedVolumeError: If a parent transform is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        msg = (
            f'Expected linear parent transforms, found that "{node.GetName()}" lies under a non-linear one '
            f'("{parent.GetName()}"). Harden that transform, or take the volume out of it, and try again.'
        )
        raise UnsupportedVolumeError(msg)
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return as_array(matrix)


def ijk_to_ras(node: slicer.vtkMRMLScalarVolumeNode) -> npt.NDArray[np.float64]:
    """The volume's own voxel -> RAS+ mm matrix, 4x4, without its parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return as_array(matrix)


def as_array(matrix: vtk.vtkMatrix4x4) -> npt.NDArray[np.float64]:
    """A VTK matrix as an array, 4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def as_matrix(array: npt.NDArray[np.float64]) -> vtk.vtkMatrix4x4:
    """An array, 4x4, as a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix


def geometry_of(node: slicer.vtkMRMLScalarVolumeNode) -> VolumeGeometry:
    """Where a volume's voxels lie in the world.

    Args:
        node: The volume.

    Raises:
        UnsupportedVolumeError: If a parent transform is not linear, or the volume has no place.
    """
    try:
        return VolumeGeometry(shape=node.GetImageData().GetDimensions(), affine=to_world(node) @ ijk_to_ras(node))
    except ValueError as error:
        msg = (
            f'The volume "{node.GetName()}" cannot be placed: {error} '
            "Correct its spacing in the module Volumes, or its parent transform."
        )
        raise UnsupportedVolumeError(msg) from error


def volume_of(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """Take a volume node as a volume; the voxels are copied, so that work on them does not meet later changes.

    Args:
        node: A scalar volume.

    Raises:
        UnsupportedVolumeError: If it is no 3D single-channel image, or cannot be placed.
    """
    check_kind(node)
    kji = np.array(scalars_of(node.GetImageData()))
    unit = node.GetVoxelValueUnits()
    known = unit is not None and unit.GetCodeValue() in (HOUNSFIELD, HOUNSFIELD.strip("[]"))
    return Volume(
        voxels=kji.transpose(2, 1, 0),
        affine=geometry_of(node).affine,
        name=node.GetName() or "volume",
        metadata={"warnings": () if known else (TAKEN_AS_HU,)},
    )


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume to the scene as a scalar volume node, right-handed as Slicer's own readers make them.

    Args:
        scene: The scene.
        volume: The volume.
    """
    voxels, affine = volume.voxels, np.array(volume.affine)
    if volume.geometry.is_left_handed:
        affine[:3, 3] += affine[:3, 2] * (voxels.shape[2] - 1)
        affine[:3, 2] *= -1
        voxels = voxels[:, :, ::-1]
    kji = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(kji.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volume.name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(as_matrix(affine))
    if volume.unit == "HU":
        node.SetVoxelValueUnits(_hounsfield())
    node.CreateDefaultDisplayNodes()
    return node


def center_of(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float, float]:
    """The middle of a volume in the world, RAS+ mm."""
    r, a, s = geometry_of(node).center
    return float(r), float(a), float(s)


def check_kind(node: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Refuse what is no CT.

    Raises:
        UnsupportedVolumeError: If there is no node, or it holds labels, several channels, a single slice or nothing.
    """
    found = _unfit(node)
    if found:
        msg = f"Expected a 3D scalar volume, found {found}. Choose a CT volume."
        raise UnsupportedVolumeError(msg)


def scalars_of(image: vtk.vtkImageData) -> npt.NDArray[np.generic]:
    """The scalars of an image as an array `[k, j, i]` that shares its memory."""
    i, j, k = image.GetDimensions()
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i)


def _hounsfield() -> slicer.vtkCodedEntry:
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(HOUNSFIELD, "UCUM", "Hounsfield unit")
    return entry


def _unfit(node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    if node is None:
        return "no volume"
    name = f'"{node.GetName()}"'
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"{name}, which is a {node.GetNodeTagName()}"
    image = node.GetImageData()
    if image is None or image.GetPointData() is None or image.GetPointData().GetScalars() is None:
        return f"{name}, which has no voxels"
    if image.GetNumberOfScalarComponents() != 1:
        return f"{name}, which has {image.GetNumberOfScalarComponents()} values in each voxel"
    if min(image.GetDimensions()) < 2:
        return f"{name}, which is a single slice ({image.GetDimensions()} voxels)"
    return ""
