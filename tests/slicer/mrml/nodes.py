"""Volumes and transforms to put into scenes: of real files with another orientation, or small ones made here."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import slicer

from ColipriLib.scene import volumes


def rotation(degrees: float, axis: int) -> np.ndarray:
    """A rotation about a world axis, 4x4."""
    angle = np.deg2rad(degrees)
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


SHAPE = (14, 12, 10)
AFFINE = rotation(20.0, 2) @ rotation(-10.0, 0) @ np.diag([-0.8, 0.9, 2.5, 1.0])
"""An oblique, left-handed affine for volumes of `SHAPE`."""

MOVED = rotation(33.0, 1) + np.array([[0, 0, 0, 8.0], [0, 0, 0, -4.0], [0, 0, 0, 3.0], [0, 0, 0, 0]])
"""A parent transform."""


def write_oblique(source: Path, target: Path, *, left_handed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Write a scan anew as if it had been acquired obliquely: turned about two axes and shifted.

    It is also made a little smaller: its field of view is a whole number of the model's voxels, and by the last digit
    of its spacing, in which readers differ, one of them more or less would be looked at.

    Args:
        source: The scan.
        target: Where to write it.
        left_handed: Store it with left-handed axes, which Slicer's reader turns round, instead of right-handed ones.

    Returns:
        Its voxels `[i, j, k]` and its affine.
    """
    image = nib.load(source)
    affine = rotation(17.0, 2) @ rotation(-9.0, 0) @ image.affine @ np.diag([0.97, 0.97, 0.97, 1.0])
    affine[:3, 3] += (12.0, -30.0, 55.0)
    voxels = np.asarray(image.dataobj).astype(np.int16)
    if bool(np.linalg.det(affine[:3, :3]) < 0) != left_handed:
        affine = affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
        affine[:3, 3] -= affine[:3, 0] * (voxels.shape[0] - 1)
        voxels = voxels[::-1]
    written = nib.Nifti1Image(voxels, affine)
    written.set_sform(affine, code=1)
    written.set_qform(affine, code=1)
    nib.save(written, target)
    return voxels, affine


def load(path: Path) -> slicer.vtkMRMLScalarVolumeNode:
    """Load a file as the application does."""
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), path.name.partition(".")[0])
    assert node is not None, f"{path} was not loaded"
    return node


def add_volume(scene: slicer.vtkMRMLScene, voxels: np.ndarray, affine: np.ndarray) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume of voxels `[i, j, k]`."""
    import vtk
    from vtk.util import numpy_support

    kji = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(kji.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "made here")
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(volumes.as_matrix(affine))
    return node


def put_under(node: slicer.vtkMRMLTransformableNode, matrix: np.ndarray) -> slicer.vtkMRMLLinearTransformNode:
    """Put a node under a linear transform."""
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(volumes.as_matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
