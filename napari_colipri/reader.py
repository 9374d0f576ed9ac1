"""Opens CT volumes in napari: NIfTI, NRRD, MetaImage, DICOM files, folders and zips, each with its true geometry."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colipri_core.errors import SeveralSeriesError
from colipri_core.errors import VolumeWarning
from colipri_core.volume import Volume
from napari_colipri.geometry import LayerGrid
from napari_colipri.source import display_attributes

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]

_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".ima", ".zip")
_MAX_PROBED_FILES = 50
_MAX_SERIES = 6
_DEFAULT_WINDOW = (-160.0, 240.0)


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return the reader for paths it can open, else None; looks at names and at most a few file headers.

    Args:
        path: One path or several.
    """
    paths = [Path(path)] if isinstance(path, str) else [Path(item) for item in path]
    return read if paths and all(_is_ours(item) for item in paths) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read each path into one image layer, or one for each series of a DICOM folder.

    Args:
        path: One path or several.

    Returns:
        Layer data tuples of napari.

    Raises:
        InputError: If a path cannot be read as a CT volume; the message says what to do.
    """
    paths = [path] if isinstance(path, str) else list(path)
    read_ones = [read_series(Path(item)) for item in paths]
    notify([message for _, messages in read_ones for message in messages])
    return [layer_data(volume) for volumes, _ in read_ones for volume in volumes]


def layer_data(volume: Volume) -> LayerData:
    """Arrange a volume for napari: `[k, j, i]`, nearest orthogonal axes, soft-tissue window.

    Args:
        volume: The volume.
    """
    grid = LayerGrid.for_display(volume.geometry)
    data = np.ascontiguousarray(grid.to_layer(volume.voxels))
    attributes = display_attributes(volume)
    attributes.update(name=volume.name, colormap="gray", interpolation2d="linear")
    if volume.unit == "HU":
        attributes["contrast_limits"] = _DEFAULT_WINDOW
    return data, attributes, "image"


def read_series(path: Path) -> tuple[list[Volume], list[str]]:
    """Read a path; touches no viewer.

    Args:
        path: A file or folder.

    Returns:
        The volume, or one for each series of a DICOM folder; and what there is to be said about them.

    Raises:
        InputError: If the path cannot be read as a CT volume.
    """
    from colipri_core.io import read_volume

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VolumeWarning)
        try:
            volumes = [read_volume(path)]
        except SeveralSeriesError as error:
            if len(error.series) > _MAX_SERIES:
                raise
            volumes = [read_volume(path, series=place) for place in range(1, len(error.series) + 1)]
    return volumes, [str(item.message) for item in caught if issubclass(item.category, VolumeWarning)]


def notify(messages: Sequence[str]) -> None:
    """Say in napari what there is to be said about scans that were read, each message once.

    Args:
        messages: What to say; nothing is shown for none.
    """
    if messages:
        from napari.utils.notifications import show_warning

        show_warning("\n".join(dict.fromkeys(messages)))


def _is_ours(path: Path) -> bool:
    if path.is_dir():
        return _holds_dicom(path)
    return path.name.lower().endswith(_SUFFIXES) or _is_dicom(path)


def _holds_dicom(folder: Path) -> bool:
    files = (item for item in folder.rglob("*") if item.is_file())
    return any(_is_dicom(item) for item, _ in zip(files, range(_MAX_PROBED_FILES), strict=False))


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
