"""Saves layers with the patient's true geometry, whatever napari had to show instead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import numpy.typing as npt

from colipri_core.errors import UnsupportedVolumeError
from colipri_core.segmentation import Segment
from colipri_core.segmentation import Segmentation
from colipri_core.session import Session
from colipri_core.volume import Volume
from napari_colipri.source import layer_grid
from napari_colipri.source import layer_source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Labels
    from napari.layers import Layer

_MAX_LABEL = 65_535
_MM_TOLERANCE = 1e-3


def save_session(session: Session, path: Path, *, label: int, source: Volume) -> Path:
    """Save what is edited in a session, with the log of edits beside a labelmap.

    Args:
        session: The session.
        path: File of a labelmap, or ending in .stl or .obj for a surface of one object (without a log).
        label: That object.
        source: The CT.

    Returns:
        The path written.
    """
    from colipri_core.io import SURFACE_SUFFIXES
    from colipri_core.io import write_labelmap
    from colipri_core.io import write_surface
    from colipri_core.io.atomic import write_json
    from colipri_core.io.suffixes import without_suffix

    if path.suffix.lower() in SURFACE_SUFFIXES:
        return write_surface(session.segmentation, path, label=label)
    write_json(path.with_name(f"{without_suffix(path.name)}_edits.json"), session.edit_log())
    return write_labelmap(session.segmentation, path, source=source)


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a labels layer; names, codes and colours of its segments go with it.

    A layer that was painted on a CT of this plugin's reader (same shape and place) gets that CT's true affine.

    Args:
        path: File ending in .nii.gz, .nii, .mha, .seg.nrrd, .nrrd or .dcm (DICOM SEG, for CTs read from DICOM).
        data: The layer's data.
        attributes: The layer's attributes.

    Returns:
        The paths written.

    Raises:
        UnsupportedVolumeError: If the labels are not 3D, negative or above 65535, or cannot be written as asked.
        ValueError: If the suffix is unknown.
    """
    from napari.layers import Layer

    from colipri_core.io import write_labelmap

    layer = Layer.create(data, attributes, "labels")
    reference = _reference(layer)
    grid = layer_grid(reference)
    source = layer_source(reference)
    labelmap = _labelmap(layer.name, grid.to_volume(np.asarray(layer.data)))
    segmentation = Segmentation(labelmap=labelmap, geometry=grid.geometry, segments=_segments(layer, labelmap))
    place = Volume(voxels=labelmap, affine=grid.geometry.affine, metadata=source.metadata if source else {})
    return [str(write_labelmap(segmentation, Path(path), source=place))]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a 3D image layer: a CT, or a heat map.

    Args:
        path: File ending in .nii.gz, .nii, .nrrd or .mha.
        data: The layer's data.
        attributes: The layer's attributes.

    Returns:
        The paths written.

    Raises:
        UnsupportedVolumeError: If the image is not 3D.
        ValueError: If the suffix is unknown.
    """
    from napari.layers import Layer

    from colipri_core.io import write_volume

    layer = Layer.create(data, attributes, "image")
    reference = _reference(layer)
    grid = layer_grid(reference)
    volume = Volume(voxels=grid.to_volume(np.asarray(layer.data)), affine=grid.geometry.affine, name=layer.name)
    return [str(write_volume(volume, Path(path)))]


def _reference(layer: Layer) -> Layer:
    """The layer that knows the true geometry: itself, or a CT in the open viewer that lies in the same place."""
    if layer.ndim != 3 or getattr(layer, "rgb", False) or getattr(layer, "multiscale", False):
        msg = f'Expected a 3D layer of one resolution and channel to save in patient space, got "{layer.name}". '
        raise UnsupportedVolumeError(f"{msg}Save it with another writer.")
    if layer_source(layer) is not None:
        return layer
    return next((other for other in _open_layers() if _lie_together(layer, other)), layer)


def _open_layers() -> Iterable[Layer]:
    import napari

    viewer = napari.current_viewer()
    layers = viewer.layers if viewer is not None else ()
    return [layer for layer in layers if layer_source(layer) is not None]


def _lie_together(layer: Layer, other: Layer) -> bool:
    shape = np.shape(layer.data)
    if layer.ndim != other.ndim or np.shape(other.data) != shape or layer.units != other.units:
        return False
    corners = np.concatenate([np.zeros((1, 3)), np.diag(np.asarray(shape) - 1)])
    return all(
        np.allclose(layer.data_to_world(corner), other.data_to_world(corner), atol=_MM_TOLERANCE) for corner in corners
    )


def _labelmap(name: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > _MAX_LABEL:
        msg = (
            f'Expected labels from 0 to {_MAX_LABEL}, got {lowest} to {highest} in "{name}". '
            "Renumber them, or save as TIFF."
        )
        raise UnsupportedVolumeError(msg)
    return labels.astype(np.uint8 if highest < 256 else np.uint16)


def _segments(layer: Labels, labelmap: npt.NDArray[np.unsignedinteger[Any]]) -> tuple[Segment, ...]:
    described = {int(row["index"]): row for row in _rows(layer) if int(row["index"]) > 0}
    present = {int(label) for label in np.flatnonzero(np.bincount(labelmap.ravel(order="K")))} - {0}
    return tuple(_segment(layer, label, described.get(label, {})) for label in sorted(present | described.keys()))


def _rows(layer: Labels) -> list[dict[str, Any]]:
    table = layer.features
    return table.to_dict("records") if {"index", "name"} <= set(table.columns) else []


def _segment(layer: Labels, label: int, row: dict[str, Any]) -> Segment:
    color = layer.get_color(label)
    red, green, blue = (128, 174, 128) if color is None else (round(float(value) * 255) for value in color[:3])
    return Segment(
        label=label,
        name=str(row.get("name", f"Label {label}")),
        code=str(row.get("code", "")),
        color=(red, green, blue),
    )
