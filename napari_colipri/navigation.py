"""Moving the view: slices through a point, the three planes, CT windows, and between layer and viewer coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_colipri.source import mm_per_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.components
    from napari.layers import Image
    from napari.layers import Layer

WINDOWS: dict[str, tuple[float, float]] = {
    "Soft tissue": (-160.0, 240.0),
    "Lung": (-1350.0, 150.0),
    "Bone": (-450.0, 1050.0),
}
"""CT windows as (lowest, highest) HU: level/width 40/400, -600/1500 and 300/1500, the usual presets."""

PLANES: dict[str, tuple[int, int, int]] = {"Axial": (0, 1, 2), "Coronal": (1, 0, 2), "Sagittal": (2, 0, 1)}
"""Anatomical plane -> order of the world axes (S, P, L): the sliced one, then down, then right."""

_WHOLE_SLICE_SHARE = 0.9
"""Part of a slice that must be in sight for it to count as whole (our choice)."""

_DEFAULT_CAMERA = ("away", "down", "right")
_HEAD_UP_CAMERA = ("towards", "up", "right")
"""Turned about the horizontal axis: two axes change sense, so that the view stays unmirrored."""


def layer_to_viewer(
    viewer: napari.components.ViewerModel, layer: Layer, index: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Map a layer index to the viewer's world, whose unit may differ from the layer's.

    Args:
        viewer: The viewer.
        layer: A 3D layer.
        index: Continuous layer index (3,).
    """
    return np.asarray(layer.data_to_world(index)) * _unit_ratio(viewer, layer)


def viewer_to_layer(
    viewer: napari.components.ViewerModel, layer: Layer, position: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Map a viewer position (its last three axes count) to a continuous layer index.

    Args:
        viewer: The viewer.
        layer: A 3D layer.
        position: World position, such as the cursor's.
    """
    return np.asarray(layer.world_to_data(np.asarray(position)[-3:] / _unit_ratio(viewer, layer)))


def go_to(viewer: napari.components.ViewerModel, layer: Layer, index: npt.ArrayLike) -> None:
    """Slice through a voxel, and centre the camera on it when the view is zoomed in.

    While the whole slice is in sight it stays where it is: a picture that jumps with every finding is hard to read.

    Args:
        viewer: The viewer.
        layer: The layer the index belongs to.
        index: Layer index (3,).
    """
    world = layer_to_viewer(viewer, layer, index)
    axes = range(viewer.dims.ndim - 3, viewer.dims.ndim)
    viewer.dims.set_point(list(axes), [float(value) for value in world])
    if _is_zoomed_in(viewer, layer):
        viewer.scene.camera.center = (0.0, *np.asarray(viewer.dims.point)[list(viewer.dims.displayed)])[-3:]


def show_plane(viewer: napari.components.ViewerModel, plane: str) -> None:
    """Show an anatomical plane the radiological way: head or front up, the patient's left on the right.

    Args:
        viewer: The viewer.
        plane: A key of `PLANES`.
    """
    extra = viewer.dims.ndim - 3
    viewer.dims.ndisplay = 2
    viewer.dims.order = (*range(extra), *(axis + extra for axis in PLANES[plane]))
    keep_head_up(viewer)
    viewer.reset_view()


def keep_head_up(viewer: napari.components.ViewerModel) -> None:
    """Turn the camera so that the superior direction points up whenever it is the vertical axis on the canvas.

    Args:
        viewer: The viewer.
    """
    vertical = viewer.dims.displayed[-2] - (viewer.dims.ndim - 3)
    in_plane = viewer.dims.ndisplay == 2 and vertical == 0
    viewer.scene.camera.orientation = _HEAD_UP_CAMERA if in_plane else _DEFAULT_CAMERA


def current_plane(viewer: napari.components.ViewerModel) -> str | None:
    """Name of the plane that is shown, None in 3D."""
    if viewer.dims.ndisplay == 3 or viewer.dims.ndim < 3:
        return None
    sliced = viewer.dims.order[-3] - (viewer.dims.ndim - 3)
    return next((plane for plane, order in PLANES.items() if order[0] == sliced), None)


def apply_window(layer: Image, window: str) -> None:
    """Show a CT layer in a window.

    Args:
        layer: The CT.
        window: A key of `WINDOWS`.
    """
    low, high = WINDOWS[window]
    bottom, top = layer.contrast_limits_range
    layer.contrast_limits_range = (min(bottom, low), max(top, high))
    layer.contrast_limits = (low, high)


def current_window(layer: Image) -> str | None:
    """Name of the window a CT layer is shown in, None if it is no preset.

    Args:
        layer: The CT.
    """
    return next((name for name, limits in WINDOWS.items() if tuple(layer.contrast_limits) == limits), None)


def _is_zoomed_in(viewer: napari.components.ViewerModel, layer: Layer) -> bool:
    displayed = list(viewer.dims.displayed)[-2:]
    low, high = layer.extent.world * np.tile(_unit_ratio(viewer, layer), (2, 1))
    size = (high - low)[np.asarray(displayed) - (viewer.dims.ndim - 3)]
    visible = np.asarray(viewer.canvas.size) / viewer.scene.camera.zoom
    return bool((visible < size * _WHOLE_SLICE_SHARE).any())


def _unit_ratio(viewer: napari.components.ViewerModel, layer: Layer) -> npt.NDArray[np.float64]:
    units = viewer.dims.units
    if units is None or len(units) < 3:
        return np.ones(3)
    both_lengths = np.array(
        [ours.is_compatible_with(theirs) for ours, theirs in zip(layer.units, units[-3:], strict=True)]
    )
    return np.where(both_lengths, mm_per_unit(layer.units) / mm_per_unit(units[-3:]), 1.0)
