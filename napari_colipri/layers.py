"""The layers results are shown in: heat maps and outlined structures, on the very grid of their CT layer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from colipri_core.findings import EvidenceMap
from colipri_core.listing import HIDDEN_AT_FIRST
from colipri_core.segmentation import Segmentation
from napari_colipri.results import StructureRow
from napari_colipri.source import METADATA_KEY
from napari_colipri.source import CaseSource
from napari_colipri.source import LayerSource
from napari_colipri.source import is_candidate
from napari_colipri.source import layer_grid
from napari_colipri.source import layer_source
from napari_colipri.source import mm_per_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    import napari.components
    import numpy.typing as npt
    from napari.layers import Image
    from napari.layers import Labels
    from napari.layers import Layer

HEAT_COLORMAP = "inferno"
HEAT_OPACITY = 0.75
STRUCTURE_OPACITY = 0.7
_OUTLINE_MM = 1.2
_MAX_OUTLINE_VOXELS = 10
_FLOOR_PERCENTILE = 90.0
_CLEAR = (0.0, 0.0, 0.0, 0.0)


def heat_layer_name(viewer: napari.components.ViewerModel, ct_layer: Layer, text: str) -> str:
    """Name of the layer that shows the evidence for a phrase; it says for which CT where several are open.

    Args:
        viewer: The viewer.
        ct_layer: The CT layer it belongs to.
        text: The phrase.
    """
    several = sum(is_candidate(layer) for layer in viewer.layers) > 1
    return f"evidence: {text} in {ct_layer.name}" if several else f"evidence: {text}"


def placing(layer: Layer) -> dict[str, Any]:
    """The whole transform chain of a layer, to put another one in the same place.

    Args:
        layer: The CT layer.
    """
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def heat_limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Contrast limits that leave the background dark: from the 90th percentile (at least 0, if anything is above) up.

    Args:
        values: The map's values without NaN.
    """
    peak = float(values.max())
    floor = float(np.percentile(values, _FLOOR_PERCENTILE))
    low = max(floor, 0.0) if peak > 0.0 else floor
    return (low, peak) if peak > low else (peak - 1e-3, peak)


def prepare_heat(evidence: EvidenceMap, source: CaseSource) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
    """Arrange a map for its layer, NaN filled with the lowest value; a pass over all voxels, so do it on the worker.

    Args:
        evidence: The map, on the volume's grid.
        source: The case.

    Returns:
        Layer data and contrast limits.
    """
    data = np.array(source.grid.to_layer(evidence.values), dtype=np.float32, order="C")
    seen = np.isfinite(data)
    if not seen.any():
        return np.zeros_like(data), (0.0, 1.0)
    limits = heat_limits(data[seen])
    data[~seen] = data[seen].min()
    return data, limits


def show_heat(
    viewer: napari.components.ViewerModel,
    ct_layer: Layer,
    text: str,
    heat: tuple[npt.NDArray[np.float32], tuple[float, float]],
    former: Image | None,
) -> Image:
    """Add the heat map of a phrase, or update the one that is there.

    Args:
        viewer: The viewer.
        ct_layer: The CT layer it belongs to.
        text: The phrase.
        heat: Result of `prepare_heat`.
        former: Layer of the CT's map for this phrase, if it has one.
    """
    data, limits = heat
    if former is not None:
        former.data, former.contrast_limits_range, former.contrast_limits = data, limits, limits
        former.visible = True
        return former
    return viewer.add_image(
        data,
        name=heat_layer_name(viewer, ct_layer, text),
        colormap=HEAT_COLORMAP,
        blending="additive",
        opacity=HEAT_OPACITY,
        contrast_limits=limits,
        interpolation2d="linear",
        metadata=result_metadata(ct_layer, "evidence"),
        **placing(ct_layer),
    )


def structure_colors(rows: Iterable[StructureRow], hidden: frozenset[int]) -> dict[int | None, tuple[float, ...]]:
    """Colour of each label; hidden and unnamed ones are clear.

    Args:
        rows: The structures.
        hidden: Labels that are not shown.
    """
    colors: dict[int | None, tuple[float, ...]] = {None: _CLEAR, 0: _CLEAR}
    for row in rows:
        shown = tuple(channel / 255 for channel in row.color)
        colors[row.label] = (*shown, 0.0 if row.label in hidden else 1.0)
    return colors


def hidden_at_first(rows: Iterable[StructureRow]) -> frozenset[int]:
    """Labels that begin hidden."""
    return frozenset(row.label for row in rows if row.name.casefold() in HIDDEN_AT_FIRST)


def show_structures(
    viewer: napari.components.ViewerModel,
    ct_layer: Layer,
    data: npt.NDArray[np.unsignedinteger[Any]],
    rows: tuple[StructureRow, ...],
    former: Labels | None,
) -> Labels:
    """Add the one layer of outlined structures, or update the one that is there.

    Args:
        viewer: The viewer.
        ct_layer: The CT layer it belongs to.
        data: Labelmap in layer order.
        rows: The structures, for names, colours and volumes.
        former: The CT's layer of structures, if it has one.
    """
    from napari.utils.colormaps import DirectLabelColormap

    colormap = DirectLabelColormap(color_dict=structure_colors(rows, hidden_at_first(rows)))
    layer = former
    if layer is None:
        layer = viewer.add_labels(
            data,
            name=f"structures: {ct_layer.name}",
            opacity=STRUCTURE_OPACITY,
            metadata=result_metadata(ct_layer, "structures"),
            **placing(ct_layer),
        )
        layer.contour = outline_width(layer)
    else:
        layer.data = data
    layer.colormap = colormap
    layer.features = structure_features(rows)
    layer.visible = True
    return layer


def outline_width(layer: Labels) -> int:
    """Width of an outline in voxels that makes it about a millimetre wide, as far as napari can draw it in time.

    Args:
        layer: The structures.
    """
    spacing = float(np.min(np.abs(layer.scale) * mm_per_unit(layer.units)))
    return max(1, round(min(_OUTLINE_MM / spacing, _MAX_OUTLINE_VOXELS)))


def structure_features(rows: Iterable[StructureRow]) -> dict[str, list[Any]]:
    """The table beside a labels layer: index, name, code and volume of each structure."""
    table: dict[str, list[Any]] = {"index": [0], "name": ["background"], "code": [""], "volume_ml": [np.nan]}
    for row in rows:
        table["index"].append(row.label)
        table["name"].append(row.name)
        table["code"].append(row.code)
        table["volume_ml"].append(row.volume_ml)
    return table


def labelmap_for_layer(segmentation: Segmentation, source: CaseSource) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Arrange a labelmap for its layer, as a contiguous copy that the user may paint on.

    Args:
        segmentation: The structures, on the volume's grid.
        source: The case.
    """
    return np.array(source.grid.to_layer(segmentation.labelmap), order="C")


def result_metadata(ct_layer: Layer, role: str) -> dict[str, Any]:
    """Metadata of a layer on the grid of a CT layer, which writers find the true geometry by.

    Args:
        ct_layer: The CT layer.
        role: See `LayerSource`.
    """
    source = layer_source(ct_layer)
    result = LayerSource(
        geometry=layer_grid(ct_layer).geometry,
        unit="",
        name=source.name if source else ct_layer.name,
        metadata=source.metadata if source else {},
        role=role,
        of=ct_layer.unique_id,
    )
    return {METADATA_KEY: result}


def layers_on(viewer: napari.components.ViewerModel, ct_layer: Layer) -> list[Layer]:
    """The layers of results, labels and prompts on the grid of a CT layer, the topmost first.

    Args:
        viewer: The viewer.
        ct_layer: The CT layer.
    """
    sources = ((layer, layer_source(layer)) for layer in reversed(viewer.layers))
    return [layer for layer, source in sources if source is not None and source.of == ct_layer.unique_id]
