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


def go_to(scene: slicer.vtkMRMLScene, place: tuple[float, float, float], *, center: bool = False) -> None:
    """Move all slice views to a place; their magnification stays.

    Args:
        scene: The scene.
        place: World position, RAS+ mm.
        center: Also bring it to their middle.
    """
    r, a, s = (float(value) for value in place)
    kind = slicer.vtkMRMLSliceNode
    kind.JumpAllSlices(scene, r, a, s, kind.CenteredJumpSlice if center else kind.OffsetJumpSlice)


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
