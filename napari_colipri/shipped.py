"""Which models to offer, found without importing torch."""

from __future__ import annotations

import importlib.resources

OFFICIAL = "microsoft/colipri"


def model_names() -> tuple[str, ...]:
    """Names of the vision-language bundles that ship with the core, the default first, then the official weights."""
    folder = importlib.resources.files("colipri_core") / "bundles"
    names = []
    if folder.is_dir():
        names = sorted(entry.name for entry in folder.iterdir() if (entry / "spec.json").is_file())
    default_first = sorted(names or ["tiny"], key=lambda name: (name != "tiny", name))
    return (*default_first, OFFICIAL)
