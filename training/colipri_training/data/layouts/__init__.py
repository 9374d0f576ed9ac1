"""Layouts: how published data sets lie on disk, and the manifests they make."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from colipri_training.data.layouts.ct_rate import ct_rate
from colipri_training.data.layouts.folder import plain_folder
from colipri_training.data.layouts.nlst import nlst
from colipri_training.data.layouts.phantoms import phantoms
from colipri_training.data.layouts.rad_chestct import rad_chestct
from colipri_training.data.manifest import Manifest

LAYOUTS: dict[str, Callable[[Path], Manifest]] = {
    "ct-rate-v1": partial(ct_rate, version=1),
    "ct-rate-v2": partial(ct_rate, version=2),
    "nlst": nlst,
    "rad-chestct": rad_chestct,
    "phantoms": phantoms,
    "folder": plain_folder,
}
"""What a folder holds, by name; each makes its manifest."""


def manifest_of(folder: Path, layout: str) -> Manifest:
    """Make the manifest of a data set.

    Args:
        folder: Where the data set lies.
        layout: One of `LAYOUTS`.

    Raises:
        ValueError: If there is no such layout.
        ManifestError: If the folder does not have that layout.
    """
    if layout not in LAYOUTS:
        msg = f'Unknown layout "{layout}". Available: {", ".join(LAYOUTS)}.'
        raise ValueError(msg)
    return LAYOUTS[layout](folder)


__all__ = ["LAYOUTS", "manifest_of"]
