"""Small scenes that must come out right in the application and on slicer-core alike; they need no server."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from colipri_core.segmentation import Segment
from ColipriLib.scene import markups
from ColipriLib.scene import segments
from ColipriLib.scene import volumes

SHAPE = (12, 10, 8)
OBLIQUE = np.array([[-0.7, 0.2, 0.5, 10.0], [-0.2, -0.9, 0.3, 20.0], [0.1, 0.1, 2.4, -30.0], [0.0, 0.0, 0.0, 1.0]])
MOVED = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 11.0], [0.0, 0.0, 0.0, 1.0]])


def oblique_volume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a small volume with oblique axes under a transform; each voxel has a value of its own.

    Args:
        scene: The scene.
    """
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = vtk.vtkImageData()
    image.SetDimensions(*SHAPE)
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(voxels.transpose(2, 1, 0)).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "oblique")
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(volumes.as_matrix(OBLIQUE))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(volumes.as_matrix(MOVED))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def volumes_are_taken_as_they_lie(scene: slicer.vtkMRMLScene) -> None:
    """Voxels and affine of an oblique volume under a transform."""
    taken = volumes.volume_of(oblique_volume(scene))
    assert taken.shape == SHAPE
    assert taken.voxels[3, 2, 1] == (3 * SHAPE[1] + 2) * SHAPE[2] + 1
    assert np.allclose(taken.affine, MOVED @ OBLIQUE)


def labels_are_shown_as_they_are(scene: slicer.vtkMRMLScene) -> None:
    """A labelmap goes to a segmentation node and back, and an edit changes its box only."""
    node = oblique_volume(scene)
    labelmap = np.zeros(SHAPE, dtype=np.uint16)
    labelmap[2:5, 3:6, 1:4] = 1
    labelmap[6:9, 3:6, 1:4] = 2
    kinds = (Segment(label=1, name="Heart", code="SCT:80891009"), Segment(label=2, name="Liver"))
    shown = segments.add_segmentation(scene, node, "labels")
    segments.write(shown, node, labelmap, kinds)
    labelmap[4:7, 4, 2] = 2
    assert segments.write_box(shown, (4, 4, 2), labelmap[4:7, 4:5, 2:3], kinds)
    found, described = segments.read(shown, node)
    assert np.array_equal(found, labelmap)
    assert [segment.name for segment in described] == ["Heart", "Liver"]


def markups_lie_on_their_voxels(scene: slicer.vtkMRMLScene) -> None:
    """A fiducial placed on a voxel in the world is a prompt on that voxel."""
    geometry = volumes.geometry_of(oblique_volume(scene))
    points = markups.add_markup(scene, "point", positive=True)
    points.AddControlPointWorld(tuple(geometry.index_to_world((7, 5, 3))))
    (prompt,) = markups.prompts_of(points, geometry)
    assert np.allclose(geometry.world_to_index(prompt.ras), (7, 5, 3), atol=1e-6)


SCENARIOS: dict[str, Callable[[slicer.vtkMRMLScene], None]] = {
    "Volumes are taken as they lie": volumes_are_taken_as_they_lie,
    "Labels are shown as they are": labels_are_shown_as_they_are,
    "Markups lie on their voxels": markups_lie_on_their_voxels,
}
"""What is checked -> the scenario."""
