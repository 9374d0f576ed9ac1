"""The checks of `colipri doctor`; each says what it found and, where that is not enough, what to do.

A check is "ok", a "warning" (something is missing that some verbs need) or "failed" (analysis cannot work).
"""

from __future__ import annotations

import ctypes.util
import dataclasses
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from colipri_core.engine import is_server
from colipri_core.errors import ColipriError

State = Literal["ok", "warning", "failed"]

_MIN_PYTHON = (3, 11)
_MIN_FREE_BYTES = 2 * 1024**3
_READERS = ("numpy", "SimpleITK", "nibabel", "pydicom")
_INSTALL = 'pip install "napari-colipri[all]"'
_SERVER_FIXES = {
    "bad-token": "Set COLIPRI_SERVER_TOKEN to the server's token.",
    "protocol-mismatch": "Check the URL; if it is right, install the same version of napari-colipri at both ends.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check.

    Args:
        name: What was checked.
        state: "ok", "warning" or "failed".
        found: What was found.
        fix: What to do; empty if ok.
    """

    name: str
    state: State
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain values."""
        return dataclasses.asdict(self)


def all_checks(model: str, device: str) -> list[Check]:
    """Run every check.

    Args:
        model: The model to verify.
        device: The device to probe.
    """
    here: tuple[Callable[[], Check], ...] = (
        check_python,
        check_readers,
        *_model_checks(model, device),
        check_viewer,
        check_manifest,
        check_display,
        check_opengl,
        check_cache,
        check_disk,
    )
    return [check() for check in here]


def _model_checks(model: str, device: str) -> tuple[Callable[[], Check], ...]:
    """What a model needs: torch and a device of this machine, or a server."""
    if is_server(model):
        return (lambda: _only_needed_here(check_torch()), lambda: check_server(model))
    return (check_torch, lambda: check_device(device), lambda: check_model(model))


def _only_needed_here(check: Check) -> Check:
    """What a model behind a URL does without is no failure."""
    return dataclasses.replace(check, state="warning") if check.state == "failed" else check


def check_python() -> Check:
    """The interpreter is new enough."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] >= _MIN_PYTHON:
        return Check(name="python", state="ok", found=found)
    return Check(name="python", state="failed", found=found, fix="Install Python 3.11 or newer.")


def check_readers() -> Check:
    """The libraries that read images are installed."""
    missing = [name for name in _READERS if importlib.util.find_spec(name) is None]
    if not missing:
        return Check(name="image readers", state="ok", found=", ".join(_READERS))
    return Check(name="image readers", state="failed", found=f"missing: {', '.join(missing)}", fix=_INSTALL)


def check_torch() -> Check:
    """Torch and what the models need beside it are installed."""
    needed = ("torch", "safetensors", "tokenizers", "transformers", "monai", "einops")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        fix = 'pip install "napari-colipri[local]"'
        return Check(name="torch", state="failed", found=f"missing: {', '.join(missing)}", fix=fix)
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    return Check(name="torch", state="ok", found=f"{torch.__version__} ({build})")


def check_device(device: str) -> Check:
    """The device computes, and torch may use the processor's cores."""
    if importlib.util.find_spec("torch") is None:
        return Check(name="device", state="failed", found="torch is missing", fix=_INSTALL)
    from colipri_core.inference.devices import choose_device
    from colipri_core.inference.worker import available_threads

    try:
        found, threads = choose_device(device), available_threads()
    except ValueError as error:
        return Check(name="device", state="failed", found=str(error), fix="Choose another --device, or leave it out.")
    text = f"{found}, {threads} thread{'s' if threads > 1 else ''}"
    if found.type == "cpu" and threads == 1 and (os.cpu_count() or 1) > 1:
        return Check(name="device", state="warning", found=text, fix="Set COLIPRI_THREADS, or unset OMP_NUM_THREADS.")
    return Check(name="device", state="ok", found=text)


def check_model(model: str) -> Check:
    """The model loads and its files have the hashes its spec names."""
    name = f"model {model}"
    if importlib.util.find_spec("torch") is None:
        return Check(name=name, state="failed", found="torch is missing", fix=_INSTALL)
    from colipri_core.model.bundle import load_any_bundle

    try:
        card = load_any_bundle(model).card
    except ColipriError as error:
        fix = "Reinstall the package, or choose another --model."
        return Check(name=name, state="failed", found=str(error), fix=fix)
    return Check(name=name, state="ok", found=card.notice)


def check_server(url: str) -> Check:
    """The server answers, takes the token, and speaks the protocol of this version."""
    from colipri_core.remote.client import check_connection

    name, report = f"server {url}", check_connection(url)
    if report.ok and report.card is not None:
        return Check(name=name, state="ok", found=f"{report.words} Version {report.version}. {report.card.notice}")
    fix = _SERVER_FIXES.get(report.code, "Check the URL, and start the server there: colipri serve")
    return Check(name=name, state="failed", found=report.words, fix=fix)


def check_viewer() -> Check:
    """Napari and a Qt binding are installed."""
    bindings = [name for name in ("PySide6", "PyQt6", "PyQt5") if importlib.util.find_spec(name) is not None]
    has_napari = importlib.util.find_spec("napari") is not None
    if has_napari and bindings:
        return Check(name="viewer", state="ok", found=f"napari with {bindings[0]}")
    found = "napari without a Qt binding" if has_napari else "napari is not installed"
    return Check(name="viewer", state="warning", found=found, fix=_INSTALL)


def check_manifest() -> Check:
    """The plugin's manifest is there and valid: napari drops a plugin with a broken one without a word."""
    spec = importlib.util.find_spec("napari_colipri")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    path = Path(folders[0]) / "napari.yaml" if folders else None
    if path is None or not path.is_file():
        return Check(name="napari plugin", state="warning", found="no manifest", fix="Reinstall napari-colipri.")
    if importlib.util.find_spec("npe2") is None:
        return Check(name="napari plugin", state="warning", found="npe2 is not installed", fix=_INSTALL)
    npe2 = importlib.import_module("npe2")
    try:
        manifest = npe2.PluginManifest.from_file(path)
    except ValueError as error:  # pydantic's validation error is one
        return Check(name="napari plugin", state="failed", found=f"{path}: {error}", fix="Reinstall napari-colipri.")
    return Check(name="napari plugin", state="ok", found=f"{manifest.name}, manifest is valid")


def check_display() -> Check:
    """There is a screen, or a virtual one can be made."""
    if sys.platform in {"win32", "darwin"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return Check(name="display", state="ok", found=os.environ.get("DISPLAY", "native"))
    if shutil.which("xvfb-run"):
        return Check(name="display", state="ok", found="none; xvfb-run can make one for screenshots")
    return Check(
        name="display",
        state="warning",
        found="none, and no xvfb-run",
        fix="apt-get install xvfb xauth libxcb-icccm4 libxcb-keysyms1 libxcb-xinerama0",
    )


def check_opengl() -> Check:
    """OpenGL is installed; napari draws with it."""
    if sys.platform in {"win32", "darwin"}:
        return Check(name="OpenGL", state="ok", found="part of the system")
    found = ctypes.util.find_library("GL")
    if found:
        return Check(name="OpenGL", state="ok", found=found)
    fix = "apt-get install libgl1 libegl1 libgl1-mesa-dri libglx-mesa0"
    return Check(name="OpenGL", state="warning", found="no libGL", fix=fix)


def check_cache() -> Check:
    """The cache folder can be written."""
    from colipri_core.cache import ArrayCache

    try:
        cache = ArrayCache()
        cache.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache.folder, suffix=".tmp"):
            pass
    except (OSError, ValueError) as error:
        fix = "Set COLIPRI_CACHE_DIR to a folder you can write, or COLIPRI_CACHE_GB=0 to do without."
        return Check(name="cache", state="warning", found=str(error), fix=fix)
    found = f"{cache.folder}: {cache.size_bytes() / 1e6:.0f} of at most {cache.max_bytes / 1e6:.0f} MB"
    return Check(name="cache", state="ok", found=found)


def check_disk() -> Check:
    """There is room for cached features and results."""
    from colipri_core.cache import default_folder

    folder = next(path for path in (default_folder(), *default_folder().resolve().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= _MIN_FREE_BYTES:
        return Check(name="disk", state="ok", found=found)
    fix = "Free some space, or move the cache: COLIPRI_CACHE_DIR."
    return Check(name="disk", state="warning", found=found, fix=fix)
