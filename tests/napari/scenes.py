"""Volumes, and docks on viewers, that the plugin's tests begin with."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from scripted_engine import ScriptedEngine

from colipri_core.volume import Volume
from napari_colipri.backend import Backend
from napari_colipri.dock import ColipriDock
from napari_colipri.reader import layer_data

OBLIQUE = np.array(
    [
        [-1.84, 0.31, 0.62, 71.0],
        [0.22, 1.91, -0.48, -85.5],
        [0.58, 0.37, 2.87, 1012.25],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def chest_like(shape: tuple[int, int, int] = (40, 36, 24), affine: np.ndarray | None = None) -> Volume:
    """A body with two lungs and a spine, in HU; every voxel a little different from its neighbours."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    voxels = np.full(shape, -1000.0)
    voxels[axes[0] ** 2 + axes[1] ** 2 < 0.8] = 40.0
    for side in (-0.4, 0.4):
        voxels[((axes[0] - side) / 0.3) ** 2 + (axes[1] / 0.5) ** 2 < 1] = -820.0
    voxels[axes[0] ** 2 + (axes[1] + 0.7) ** 2 < 0.02] = 600.0
    voxels += np.arange(voxels.size).reshape(shape) % 7
    default = np.diag([-8.0, -8.0, 10.0, 1.0])
    return Volume(voxels=voxels.astype(np.int16), affine=default if affine is None else affine, name="chest-like")


def dock_on(viewer: ViewerModel, engine: ScriptedEngine) -> ColipriDock:
    """A dock with the scripted engine."""
    return ColipriDock(viewer, backend=Backend(lambda *_args, **_options: engine))


def add_volume(viewer: ViewerModel, volume: Volume) -> Image:
    """Add a volume as the reader would."""
    data, attributes, _ = layer_data(volume)
    return viewer.add_image(data, **attributes)
