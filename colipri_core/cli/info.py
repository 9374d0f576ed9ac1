"""`colipri info`: what is installed, and where."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING
from typing import Any

from colipri_core.cli import options

if TYPE_CHECKING:
    from rich.console import RenderableType

_PACKAGES = (
    "napari-colipri",
    "numpy",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "torch",
    "monai",
    "transformers",
    "lancedb",
    "napari",
)


def info(
    *,
    model: options.Model = "tiny",
    device: options.Device = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Show what is installed, and where.

    Versions, the models that ship with the package, the cache of encoded volumes, and the devices.

    `device` in the result is the one that --device stands for on this machine; `model` names the default model.
    """
    from colipri_core.cache import ArrayCache
    from colipri_core.cli.terminal import Terminal

    terminal = Terminal(json=json, quiet=quiet)
    cache = ArrayCache()
    document = {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "model": model,
        **_local(device),
        "cache": {
            "folder": str(cache.folder),
            "entries": len(cache),
            "bytes": cache.size_bytes(),
            "max_bytes": cache.max_bytes,
        },
    }
    terminal.result(document, lambda: _table(document))
    return 0


def _local(device: str) -> dict[str, Any]:
    """Bundles and devices; nothing to list without torch."""
    if _version("torch") == "not installed":
        return {"bundles": [], "devices": [], "device": None, "threads": None}
    from colipri_core.inference.devices import choose_device
    from colipri_core.inference.devices import usable_devices
    from colipri_core.inference.worker import available_threads

    return {
        "bundles": _bundles(),
        "devices": usable_devices(),
        "device": str(choose_device(device)),
        "threads": available_threads(),
    }


def _bundles() -> list[dict[str, Any]]:
    from colipri_core.model.bundle import SHIPPED
    from colipri_core.model.bundle import read_any_spec
    from colipri_core.model.bundle import shipped_bundles
    from colipri_core.model.spec import WEIGHTS_FILE

    found = []
    for name in shipped_bundles(None):
        spec = read_any_spec(SHIPPED / name)
        size = (SHIPPED / name / WEIGHTS_FILE).stat().st_size
        outlined = getattr(spec, "structures", None)
        structures = list(outlined.names) if outlined is not None else []
        card = spec.card(spec.files[WEIGHTS_FILE]).to_json()
        found.append({**card, "description": spec.description, "weights_bytes": size, "structures": structures})
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _table(document: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, version in document["versions"].items():
        table.add_row(name, version)
    for bundle in document["bundles"]:
        table.add_row(f"model {bundle['name']}", bundle["notice"])
    cache = document["cache"]
    table.add_row("cache", f"{cache['folder']}: {cache['entries']} volumes, {cache['bytes'] / 1e6:.0f} MB")
    table.add_row("devices", ", ".join(document["devices"]) or "none: torch is not installed")
    return table
