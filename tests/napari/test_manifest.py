"""The manifest is valid and found, and importing the plugin is light."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).resolve().parents[2]
LIGHT = ("reader", "writer", "sample", "menu", "geometry", "results", "backend", "workflow", "demo", "display")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(ROOT / "napari.yaml")


def test_the_installed_plugin_is_found_and_valid() -> None:
    found = PluginManifest.from_distribution("napari-colipri")

    assert found.display_name == "COLIPRI"
    found.validate_imports()


def test_the_package_holds_the_manifest_of_the_root() -> None:
    assert (ROOT / "napari_colipri" / "napari.yaml").read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_every_command_names_something_that_can_be_called(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("module", LIGHT)
def test_importing_loads_neither_torch_nor_qt(module: str) -> None:
    code = (
        f"import sys, napari_colipri, napari_colipri.{module}; "
        "heavy = {'torch', 'qtpy', 'PySide6', 'PyQt6', 'napari', 'SimpleITK'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr


def test_the_dock_loads_no_torch() -> None:
    code = "import sys, napari_colipri.dock; assert 'torch' not in sys.modules"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
