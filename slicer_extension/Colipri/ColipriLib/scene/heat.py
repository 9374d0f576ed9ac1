"""Heat maps: evidence as a scalar volume laid over the CT in the slice views, transparent where there is little."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from vtk.util import numpy_support

from colipri_core.findings import EvidenceMap
from ColipriLib.scene import volumes

PHRASE = "Colipri.Phrase"
"""Attribute of a heat map's node: the phrase it belongs to."""

COLORS_NAME = "Colipri evidence"
OPACITY = 0.6
_FLOOR_PERCENTILE = 90.0
_STOPS = ((0.0, 0.0, 0.1), (0.35, 0.05, 0.42), (0.73, 0.21, 0.33), (0.95, 0.48, 0.1), (0.99, 0.99, 0.64))
"""Dark violet over red and orange to pale yellow, of rising lightness (our choice)."""


def heat_limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Lowest value that is drawn and highest: from the 90th percentile (0 at least, if anything is above it) up.

    Args:
        values: Values of the map; NaN where nothing is known.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    peak, floor = float(known.max()), float(np.percentile(known, _FLOOR_PERCENTILE))
    low = max(floor, 0.0) if peak > 0.0 else floor
    return (low, peak) if peak > low else (peak - 1e-3, peak)


def show_heat(
    scene: slicer.vtkMRMLScene,
    volume: slicer.vtkMRMLScalarVolumeNode,
    evidence: EvidenceMap,
    limits: tuple[float, float],
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the heat map of a phrase to the scene, or update it, and lay it over the CT.

    Args:
        scene: The scene.
        volume: The CT.
        evidence: The map, on the CT's grid.
        limits: What `heat_limits` returned.
    """
    node = add_heat(scene, volume, evidence, limits)
    lay_over(scene, volume, node)
    return node


def add_heat(
    scene: slicer.vtkMRMLScene,
    volume: slicer.vtkMRMLScalarVolumeNode,
    evidence: EvidenceMap,
    limits: tuple[float, float],
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the heat map of a phrase to the scene, or update it, and leave the slice views as they are.

    Args:
        scene: The scene.
        volume: The CT.
        evidence: The map, on the CT's grid.
        limits: What `heat_limits` returned.
    """
    node = find_heat(scene, volume, evidence.text)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"Evidence: {evidence.text}")
        node.SetAttribute(PHRASE, evidence.text)
        node.SetNodeReferenceID("ct", volume.GetID())
    node.SetIJKToRASMatrix(volumes.as_matrix(volumes.ijk_to_ras(volume)))
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    kji = np.ascontiguousarray(np.nan_to_num(evidence.values, nan=limits[0] - 1.0).transpose(2, 1, 0), np.float32)
    image = vtk.vtkImageData()
    image.SetDimensions(*kji.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(kji.ravel(), deep=True))
    node.SetAndObserveImageData(image)
    _display(scene, node, limits)
    return node


def find_heat(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode, text: str
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The heat map of a phrase on a CT, if there is one."""
    return next((node for node in heat_maps(scene, volume) if node.GetAttribute(PHRASE) == text), None)


def heat_maps(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """All heat maps of a CT, oldest first."""
    found = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
    return [node for node in nodes if node.GetAttribute(PHRASE) and node.GetNodeReferenceID("ct") == volume.GetID()]


def lay_over(
    scene: slicer.vtkMRMLScene,
    volume: slicer.vtkMRMLScalarVolumeNode,
    heat: slicer.vtkMRMLScalarVolumeNode | None,
) -> None:
    """Show a heat map over the CT in all slice views; None takes away the one that is shown.

    Args:
        scene: The scene.
        volume: The CT.
        heat: The heat map.
    """
    for composite in slice_composites(scene):
        if heat is not None:
            composite.SetBackgroundVolumeID(volume.GetID())
            composite.SetForegroundVolumeID(heat.GetID())
            composite.SetForegroundOpacity(OPACITY)
        elif shown_phrase(scene, composite.GetForegroundVolumeID()):
            composite.SetForegroundVolumeID(None)


def slice_composites(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """What the slice views show: one node a view."""
    found = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def shown_phrases(scene: slicer.vtkMRMLScene) -> frozenset[str]:
    """Phrases whose heat maps lie over the CT in some slice view."""
    phrases = (shown_phrase(scene, composite.GetForegroundVolumeID()) for composite in slice_composites(scene))
    return frozenset(phrase for phrase in phrases if phrase)


def shown_phrase(scene: slicer.vtkMRMLScene, node_id: str | None) -> str:
    """The phrase of a heat map's node; empty if it is none."""
    node = scene.GetNodeByID(node_id) if node_id else None
    return (node.GetAttribute(PHRASE) or "") if node is not None else ""


def _display(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode, limits: tuple[float, float]) -> None:
    node.CreateDefaultDisplayNodes()
    low, high = limits
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colors(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    display.AutoThresholdOff()
    display.SetThreshold(low, high)
    display.ApplyThresholdOn()


def _colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Our colour table, made once a scene; Slicer's own file tables differ between versions."""
    node = scene.GetFirstNodeByName(COLORS_NAME)
    if node is not None:
        return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", COLORS_NAME)
    node.SetTypeToUser()
    node.SetNumberOfColors(256)
    node.SetHideFromEditors(True)
    places = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(np.linspace(0, 1, 256), places, [stop[channel] for stop in _STOPS]) for channel in range(3)]
    for number, (red, green, blue) in enumerate(zip(*channels, strict=True)):
        node.SetColor(number, str(number), float(red), float(green), float(blue), 1.0)
    return node
