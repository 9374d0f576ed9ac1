"""From a napari layer to the CT volume it shows, and what must be said about it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.geometry import Affine
from colipri_core.geometry import VolumeGeometry
from colipri_core.volume import Volume
from napari_colipri.geometry import AXIS_LABELS
from napari_colipri.geometry import LayerGrid

if TYPE_CHECKING:
    from collections.abc import Hashable
    from collections.abc import Sequence

    import numpy.typing as npt
    import pint
    from napari.layers import Layer

METADATA_KEY = "colipri"
"""Where the reader leaves a `LayerSource` in `layer.metadata`."""

_MM_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectScan:
    """Which scan of a label project a layer shows.

    Args:
        folder: The project's folder.
        name: The case.
        series: Which of its series.
        edits: Where its edits are saved.
    """

    folder: Path
    name: str
    series: int
    edits: Path


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerSource:
    """What is known of a layer's origin.

    Args:
        geometry: The volume's own grid, with the true affine.
        unit: Meaning of the intensities, as in `Volume`.
        name: Name of the case.
        metadata: What the file said besides.
        role: "ct" for an image, "evidence", "structures", "labels" or "prompts" for what lies on its grid.
        project: The project's scan that a CT is, if a project opened it.
        of: `unique_id` of the CT layer whose grid it lies on.
    """

    geometry: VolumeGeometry
    unit: str
    name: str
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    role: str = "ct"
    project: ProjectScan | None = None
    of: Hashable | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CaseSource:
    """A CT volume and how it lies in its layer.

    Args:
        volume: The volume, voxels `[i, j, k]` with the true affine; it shares memory with the layer.
        grid: Its place in the layer's data.
        notes: What the reader of a result should know about the layer's geometry.
    """

    volume: Volume
    grid: LayerGrid
    notes: tuple[str, ...] = ()


def display_attributes(volume: Volume, *, role: str = "ct") -> dict[str, Any]:
    """Placing (scale, translate, units, axis labels) and metadata of a volume that the reader lays out.

    Args:
        volume: The volume.
        role: See `LayerSource`.
    """
    grid = LayerGrid.for_display(volume.geometry)
    source = LayerSource(
        geometry=volume.geometry, unit=volume.unit, name=volume.name, metadata=volume.metadata, role=role
    )
    return {
        "scale": grid.scale,
        "translate": grid.translate,
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_LABELS,
        "metadata": {METADATA_KEY: source},
    }


def layer_source(layer: Layer) -> LayerSource | None:
    """What the reader or a result left in the layer's metadata, if it did."""
    source = layer.metadata.get(METADATA_KEY)
    return source if isinstance(source, LayerSource) else None


def is_candidate(layer: Layer) -> bool:
    """Whether a layer can be the CT: a 3D, single-channel image that is no result of this plugin."""
    from napari.layers import Image

    source = layer_source(layer)
    return isinstance(layer, Image) and layer.ndim == 3 and not layer.rgb and (source is None or source.role == "ct")


def layer_grid(layer: Layer) -> LayerGrid:
    """How the layer's voxels lie in the patient: the reader's true geometry, or the layer's own transform chain.

    The reader's geometry counts only while the layer still lies where the reader put it.

    Args:
        layer: A 3D layer.
    """
    source = layer_source(layer)
    if source is not None:
        grid = LayerGrid.for_display(source.geometry)
        if _data_shape(layer) == grid.layer_shape and _lies_as_read(layer, grid):
            return grid
    return LayerGrid.for_transform(_data_shape(layer), _layer_to_world_mm(layer))


def read_case(layer: Layer) -> CaseSource:
    """Take the CT volume out of an image layer.

    Args:
        layer: A layer for which `is_candidate` holds.

    Raises:
        UnsupportedVolumeError: If the layer is no 3D single-channel image of numbers, or cannot be placed.
    """
    if not is_candidate(layer):
        msg = (
            f'Expected a 3D single-channel image, got the layer "{layer.name}" with {layer.ndim} dimensions. '
            "Open a CT volume and choose its layer."
        )
        raise UnsupportedVolumeError(msg)
    try:
        grid = layer_grid(layer)
    except ValueError as error:
        msg = f'The layer "{layer.name}" has a transform that cannot be inverted. Reset its scale and affine first.'
        raise UnsupportedVolumeError(msg) from error
    voxels = np.asarray(base_level(layer))
    if voxels.dtype.kind not in "iuf":
        msg = (
            f'Expected the intensities of a CT as integers or floats, got {voxels.dtype} in the layer "{layer.name}". '
            "Choose the layer of the CT; a mask belongs in a Labels layer."
        )
        raise UnsupportedVolumeError(msg)
    source = layer_source(layer)
    volume = Volume(
        voxels=grid.to_volume(voxels),
        affine=grid.geometry.affine,
        unit=source.unit if source else "HU",
        name=source.name if source else layer.name,
        metadata=source.metadata if source else {},
    )
    return CaseSource(volume=volume, grid=grid, notes=_notes(layer, grid, source))


def base_level(layer: Layer) -> Any:
    """The layer's array; of a multiscale layer the finest."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def mm_per_unit(units: Sequence[pint.Unit]) -> npt.NDArray[np.float64]:
    """Millimetres in one unit, for each axis; units that are no length (pixels) count as 1 mm."""
    return np.array([_millimetres(unit) for unit in units])


def _millimetres(unit: pint.Unit) -> float:
    return float((1.0 * unit).to("mm").magnitude) if unit.is_compatible_with("mm") else 1.0


def _notes(layer: Layer, grid: LayerGrid, source: LayerSource | None) -> tuple[str, ...]:
    notes = []
    if source is not None and grid.geometry != source.geometry:
        notes.append("The layer was moved after it was opened: positions follow what is shown, not the file.")
    if source is None:
        if not all(unit.is_compatible_with("mm") for unit in layer.units):
            notes.append("The layer has no length unit: its scale is taken as mm. Open the file with COLIPRI instead.")
        notes.append("The intensities are taken as HU, because this layer does not say what they are.")
    if source is not None and not grid.geometry.is_axis_aligned:
        notes.append("Oblique scan, shown along its own axes: the status line gives true RAS mm.")
    return tuple(notes)


def _data_shape(layer: Layer) -> tuple[int, int, int]:
    first, second, third = np.shape(base_level(layer))
    return first, second, third


def _lies_as_read(layer: Layer, grid: LayerGrid) -> bool:
    corners = np.concatenate([np.zeros((1, 3)), np.diag(np.asarray(grid.layer_shape) - 1)])
    expected = np.asarray(grid.translate) + corners * np.asarray(grid.scale)
    found = [layer.data_to_world(corner) * mm_per_unit(layer.units) for corner in corners]
    return bool(np.allclose(expected, found, atol=_MM_TOLERANCE))


def _layer_to_world_mm(layer: Layer) -> Affine:
    origin = np.asarray(layer.data_to_world(np.zeros(3)))
    affine = np.eye(4)
    for axis, unit_vector in enumerate(np.eye(3)):
        affine[:3, axis] = np.asarray(layer.data_to_world(unit_vector)) - origin
    affine[:3, 3] = origin
    affine[:3] *= mm_per_unit(layer.units)[:, None]
    return affine
