"""The part of a CT the user has drawn or selected in napari, as a mask on the CT's own grid.

The active layer says what is meant: a Labels layer its selected label, a Shapes layer its selected shapes (all of them
if none is selected).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnsupportedVolumeError
from napari_colipri.source import base_level
from napari_colipri.source import layer_grid

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.layers import Labels
    from napari.layers import Layer
    from napari.layers import Shapes

_ELLIPSE_POINTS = 48
_NOTHING = (
    "No region is drawn. Select a Labels layer with a painted label, or a Shapes layer with a rectangle, ellipse or "
    "polygon around the place, and press again."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DrawnRegion:
    """A part of a CT; implements `colipri_core.cases.RegionMask`.

    Args:
        lower: Voxel index `[i, j, k]` of the box's first corner.
        mask: Which voxels of the box belong to it.
        center_ras: Its centroid, RAS+ mm.
    """

    lower: tuple[int, int, int]
    mask: npt.NDArray[np.bool_]
    center_ras: npt.NDArray[np.float64]


def drawn_region(ct: Image, active: Layer | None) -> DrawnRegion:
    """Return what is drawn or selected on a CT.

    Args:
        ct: The CT layer.
        active: The active layer of the viewer.

    Raises:
        UnsupportedVolumeError: If nothing is, or it lies on another grid than the CT.
    """
    from napari.layers import Labels
    from napari.layers import Shapes

    if isinstance(active, Labels):
        mask = _label_mask(ct, active)
    elif isinstance(active, Shapes):
        mask = _shapes_mask(ct, active)
    else:
        raise UnsupportedVolumeError(_NOTHING)
    grid = layer_grid(ct)
    voxels = np.argwhere(grid.to_volume(mask))
    if not len(voxels):
        raise UnsupportedVolumeError(_NOTHING)
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    i, j, k = (int(value) for value in low)
    return DrawnRegion(
        lower=(i, j, k),
        mask=np.ascontiguousarray(grid.to_volume(mask)[box]),
        center_ras=grid.geometry.index_to_world(voxels.mean(axis=0)),
    )


def _label_mask(ct: Image, labels: Labels) -> npt.NDArray[np.bool_]:
    data = np.asarray(base_level(labels))
    shape = np.shape(base_level(ct))
    corners = np.vstack([np.zeros(3), np.asarray(shape) - 1])
    in_place = data.shape == shape and np.allclose(
        [labels.data_to_world(corner) for corner in corners],
        [ct.data_to_world(corner) for corner in corners],
        atol=1e-3,
    )
    if not in_place:
        msg = (
            f'The labels "{labels.name}" do not lie on the grid of the CT "{ct.name}". '
            "Paint on a Labels layer made for this CT, or draw a shape."
        )
        raise UnsupportedVolumeError(msg)
    return np.asarray(data == labels.selected_label) if labels.selected_label else np.zeros(shape, dtype=bool)


def _shapes_mask(ct: Image, shapes: Shapes) -> npt.NDArray[np.bool_]:
    mask = np.zeros(np.shape(base_level(ct)), dtype=bool)
    chosen = sorted(shapes.selected_data) or range(len(shapes.data))
    for number in chosen:
        if shapes.shape_type[number] not in {"rectangle", "polygon", "ellipse"} or shapes.ndim != 3:
            continue
        vertices = np.asarray([ct.world_to_data(shapes.data_to_world(vertex)) for vertex in shapes.data[number]])
        if shapes.shape_type[number] == "ellipse":
            vertices = _on_ellipse(vertices)
        _fill(mask, vertices)
    return mask


def _on_ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points on the ellipse within a rectangle of four corners."""
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)[:, None]
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return np.asarray(corners.mean(axis=0) + np.cos(angles) * first + np.sin(angles) * second)


def _fill(mask: npt.NDArray[np.bool_], vertices: npt.NDArray[np.float64]) -> None:
    """Set the voxels whose centre lies in a planar polygon along two layer axes, by the even-odd rule."""
    across = int(np.argmin(np.ptp(vertices, axis=0)))
    plane = round(float(vertices[:, across].mean()))
    first, second = (axis for axis in range(3) if axis != across)
    if not 0 <= plane < mask.shape[across]:
        return
    rows, columns = np.meshgrid(np.arange(mask.shape[first]), np.arange(mask.shape[second]), indexing="ij")
    inside = np.zeros(rows.shape, dtype=bool)
    previous = np.roll(vertices, 1, axis=0)
    for (y0, x0), (y1, x1) in zip(previous[:, (first, second)], vertices[:, (first, second)], strict=True):
        if y0 != y1:
            crosses = (rows >= min(y0, y1)) & (rows < max(y0, y1))
            inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    index: list[int | slice] = [slice(None)] * 3
    index[across] = plane
    mask[tuple(index)] |= inside
