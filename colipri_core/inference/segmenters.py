"""Which model answers prompts: a bundle of kind "clicks", or an installed nnInteractive."""

from __future__ import annotations

import functools
from pathlib import Path

from colipri_core.inference.labelling import LoadSegmenter
from colipri_core.prompts import Segmenter

NNINTERACTIVE = "nninteractive"


def segmenter_loader(source: str | Path) -> LoadSegmenter:
    """Return what loads an interactive model; what can be checked without loading it is checked at once.

    Args:
        source: Name of a shipped bundle of kind "clicks", a bundle folder, "nninteractive", or "nninteractive:FOLDER".

    Raises:
        ModelUnavailableError: If there is no such bundle; BundleError if it is of another kind.
        MissingDependencyError: If nnInteractive is asked for and not installed.
    """
    name, _, folder = str(source).partition(":")
    if name == NNINTERACTIVE:
        from colipri_core.inference.nninteractive import check_installed
        from colipri_core.inference.nninteractive import load_nninteractive

        check_installed()
        return functools.partial(load_nninteractive, Path(folder).expanduser() if folder else None)
    from colipri_core.model.click_bundle import find_click_bundle

    find_click_bundle(source)
    return functools.partial(_load_bundle, source)


def load_clicks(device: str) -> Segmenter:
    """Load the shipped interactive model.

    Args:
        device: Where it runs.

    Raises:
        BundleError: If its bundle is damaged.
    """
    return _load_bundle("clicks", device)


def _load_bundle(source: str | Path, device: str) -> Segmenter:
    from colipri_core.inference.interactive import load_segmenter

    return load_segmenter(source, device=device)
