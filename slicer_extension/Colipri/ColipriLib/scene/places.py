"""Going to a place in the slice views, and what is looked at: windows and the CT itself."""

from __future__ import annotations

import slicer

from ColipriLib.scene import heat

WINDOWS: dict[str, tuple[float, float]] = {
    "Soft tissue": (-160.0, 240.0),
    "Lung": (-1350.0, 150.0),
    "Bone": (-450.0, 1050.0),
}
"""CT windows as (lowest, highest) HU: level/width 40/400, -600/1500 and 300/1500, the usual presets."""


def go_to(scene: slicer.vtkMRMLScene, place: tuple[float, float, float]) -> None:
    """Move all slice views to a place.

    Args:
        scene: The scene.
        place: World position, RAS+ mm.
    """
    r, a, s = (float(value) for value in place)
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, r, a, s, slicer.vtkMRMLSliceNode.OffsetJumpSlice)


def center_on(scene: slicer.vtkMRMLScene, place: tuple[float, float, float]) -> None:
    """Move all slice views so that a place lies in their middle; their magnification stays.

    Args:
        scene: The scene.
        place: World position, RAS+ mm.
    """
    r, a, s = (float(value) for value in place)
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, r, a, s, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def set_window(volume: slicer.vtkMRMLScalarVolumeNode, window: str) -> None:
    """Show a CT in one of `WINDOWS`.

    Args:
        volume: The CT.
        window: Name of the window.
    """
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*WINDOWS[window])


def show_volume(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a CT as background of all slice views.

    Args:
        scene: The scene.
        volume: The CT.
    """
    for composite in heat.slice_composites(scene):
        composite.SetBackgroundVolumeID(volume.GetID())
