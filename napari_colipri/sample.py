"""Sample data that opens offline: a generated chest CT that ships with the plugin."""

from __future__ import annotations

import importlib.resources

from napari_colipri.reader import LayerData
from napari_colipri.reader import layer_data

SAMPLE = "phantom_chest.nii.gz"


def phantom_chest() -> list[LayerData]:
    """Open the generated chest CT; it shows no patient."""
    from colipri_core.io import read_volume

    with importlib.resources.as_file(importlib.resources.files("napari_colipri") / "samples" / SAMPLE) as path:
        data, attributes, kind = layer_data(read_volume(path))
    return [(data, {**attributes, "name": "Generated chest CT (phantom)"}, kind)]
