"""Markups as prompts: fiducials are points, open curves scribbles, closed curves lassos, ROIs boxes; in world RAS."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import slicer

from colipri_core.geometry import VolumeGeometry
from colipri_core.geometry import apply_affine
from colipri_core.prompts import Box
from colipri_core.prompts import Lasso
from colipri_core.prompts import Point
from colipri_core.prompts import Prompt
from colipri_core.prompts import Scribble
from colipri_core.prompts import SpatialPrompt
from ColipriLib.scene import volumes

Positions = npt.NDArray[np.float64]

KINDS = {
    "point": "vtkMRMLMarkupsFiducialNode",
    "scribble": "vtkMRMLMarkupsCurveNode",
    "lasso": "vtkMRMLMarkupsClosedCurveNode",
    "box": "vtkMRMLMarkupsROINode",
}
"""Tool -> class of the markups node that is drawn with it."""

POSITIVE_COLOR, NEGATIVE_COLOR = (0.0, 0.62, 0.45), (0.84, 0.37, 0.0)
"""Green and vermilion of Okabe and Ito, which colour-blind readers can tell apart."""


def add_markup(scene: slicer.vtkMRMLScene, tool: str, *, positive: bool) -> slicer.vtkMRMLMarkupsNode:
    """Add an empty markups node to draw a prompt with.

    Args:
        scene: The scene.
        tool: One of `KINDS`.
        positive: Whether it shows what belongs to the object.
    """
    sign = "+" if positive else "-"
    node = scene.AddNewNodeByClass(KINDS[tool], f"Colipri {sign} {tool}")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetSelectedColor(*(POSITIVE_COLOR if positive else NEGATIVE_COLOR))
        display.SetPointLabelsVisibility(False)
    return node


def placed(node: slicer.vtkMRMLMarkupsNode) -> Positions:
    """World positions (N, 3) of the control points that have been placed; one that follows the mouse is none."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    numbers = [
        number
        for number in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(number) == defined
    ]
    positions = np.zeros((len(numbers), 3))
    for row, number in enumerate(numbers):
        node.GetNthControlPointPositionWorld(number, positions[row])
    return positions


def prompts_of(
    node: slicer.vtkMRMLMarkupsNode, geometry: VolumeGeometry, *, positive: bool = True
) -> tuple[SpatialPrompt, ...]:
    """The prompts a markups node means; none if too little of it was placed.

    Args:
        node: Fiducials, a curve, a closed curve or an ROI.
        geometry: The volume's grid in the world; a box runs along its axes, a scribble has its default width.
        positive: Whether they show what belongs to the object.

    Raises:
        ValueError: If the node is of another kind.
    """
    if node.IsA("vtkMRMLMarkupsROINode"):
        return _box(node, geometry, positive=positive)
    if node.IsA("vtkMRMLMarkupsFiducialNode"):
        return tuple(Point(ras=_position(place), positive=positive) for place in placed(node))
    if node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        corners = tuple(_position(place) for place in _along(node))
        return (Lasso(ras=corners, positive=positive),) if len(placed(node)) >= 3 else ()
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        path = tuple(_position(place) for place in _along(node))
        return (Scribble(ras=path, positive=positive),) if path else ()
    msg = f"Expected fiducials, a curve, a closed curve or an ROI, got a {node.GetNodeTagName()}."
    raise ValueError(msg)


def show_points(node: slicer.vtkMRMLMarkupsNode, prompts: Iterable[Prompt], *, positive: bool) -> None:
    """Make a fiducial node show the point prompts of an object, and nothing else.

    Args:
        node: The fiducials.
        prompts: The object's prompts.
        positive: Which of them to show.
    """
    wanted = [prompt.ras for prompt in prompts if isinstance(prompt, Point) and prompt.positive is positive]
    shown = placed(node)
    if len(wanted) == len(shown) and np.allclose(shown, np.reshape(wanted, (-1, 3))):
        return
    was_modifying = node.StartModify()
    node.RemoveAllControlPoints()
    for r, a, s in wanted:
        node.AddControlPointWorld((r, a, s))
    node.EndModify(was_modifying)


def _along(node: slicer.vtkMRMLMarkupsCurveNode) -> Positions:
    """World positions along a curve; its control points while it has too few for a line."""
    points = node.GetCurvePointsWorld()
    if points is None or points.GetNumberOfPoints() < 2:
        return placed(node)
    return np.array([points.GetPoint(number) for number in range(points.GetNumberOfPoints())])


def _box(node: slicer.vtkMRMLMarkupsROINode, geometry: VolumeGeometry, *, positive: bool) -> tuple[Box, ...]:
    """The smallest box along the volume's axes that holds the ROI; the ROI itself, if it lies along them."""
    size = np.array(node.GetSize())
    if not (size > 0).any() or len(placed(node)) == 0:
        return ()
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) * size
    object_to_world = volumes.to_world(node) @ volumes.as_array(node.GetObjectToNodeMatrix())
    indices = geometry.world_to_index(apply_affine(object_to_world, corners))
    lower, upper = geometry.index_to_world(indices.min(axis=0)), geometry.index_to_world(indices.max(axis=0))
    return (Box(lower_ras=_position(lower), upper_ras=_position(upper), positive=positive),)


def _position(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    r, a, s = (float(value) for value in values)
    return r, a, s
