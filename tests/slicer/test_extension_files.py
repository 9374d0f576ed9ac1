"""The extension's file lists, metadata and catalogue entry, as Slicer's build and its public index look at them."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from extension import EXTENSION
from extension import MODULES
from extension import ROOT
from extension import cmake_list
from extension import metadata

CATALOGUE = json.loads((EXTENSION / "Colipri.json").read_text(encoding="utf-8"))
SCHEMA_KEYS = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
"""Keys of the catalogue's schema 1.0.2 and their types; no others are allowed."""

FILE_SCOPE = {"slicer", "vtk", "SimpleITK", "numpy", "scipy", "qt", "ctk", "ColipriLib", "SegmentEditorEffects"}
"""What the index allows files that Slicer loads at start to import, besides the standard library."""


def imports_at_file_scope(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def runs_at_file_scope(path: Path) -> list[str]:
    """Statements at file scope that do more than define, import or name something."""
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Expr)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    odd = [node for node in tree.body if not isinstance(node, allowed)]
    calls = [node for node in tree.body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)]
    return [ast.unparse(node) for node in (*odd, *calls)]


@pytest.mark.parametrize("module", MODULES)
def test_cmake_lists_every_file(module: str) -> None:
    folder = EXTENSION / module
    scripts = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    resources = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.suffix in {".png", ".ui"}}

    assert set(cmake_list(module, "MODULE_PYTHON_SCRIPTS")) == scripts
    assert set(cmake_list(module, "MODULE_PYTHON_RESOURCES")) == resources


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_configures(tmp_path: Path) -> None:
    run = configure(EXTENSION, tmp_path / "build")

    assert run.returncode == 0, run.stderr
    assert all(f"module {module} is complete" in run.stdout for module in MODULES)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_misses_a_file_that_is_gone(tmp_path: Path) -> None:
    copied = tmp_path / "extension"
    shutil.copytree(EXTENSION, copied)
    (copied / "Colipri" / "Resources" / "UI" / "Colipri.ui").unlink()

    run = configure(copied, tmp_path / "build")

    assert run.returncode != 0
    assert "Resources/UI/Colipri.ui" in run.stderr


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    """Configure the extension against our own stand-in for Slicer's build tree."""
    slicer = f"-DSlicer_DIR={ROOT / 'tests' / 'slicer' / 'cmake'}"
    command = ["cmake", "-S", str(source), "-B", str(build), slicer, "-Wno-dev"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class TestCatalogueEntry:
    def test_keys_and_types_are_those_of_the_schema(self) -> None:
        assert CATALOGUE.keys() >= {"$schema", "category", "scm_url"}
        assert all(isinstance(value, SCHEMA_KEYS[key]) for key, value in CATALOGUE.items())
        assert CATALOGUE["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.2.json#")
        assert 1 <= CATALOGUE["tier"] <= 5

    def test_category_is_one_that_is_accepted(self) -> None:
        assert CATALOGUE["category"] == metadata("EXTENSION_CATEGORY") == "Segmentation"

    def test_repository_has_slicer_in_its_name_and_a_scheme_that_is_supported(self) -> None:
        parts = urlsplit(CATALOGUE["scm_url"])

        assert parts.scheme in {"https", "git"}
        assert "slicer" in parts.path.rsplit("/", 1)[-1].lower()

    def test_project_is_named_like_the_entry_and_not_after_slicer(self) -> None:
        text = (EXTENSION / "CMakeLists.txt").read_text(encoding="utf-8")
        names = re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", text, re.IGNORECASE)

        assert names[0] == "Colipri"
        assert not names[0].lower().startswith("slicer")

    def test_no_extension_is_needed(self) -> None:
        assert CATALOGUE["build_dependencies"] == []
        assert metadata("EXTENSION_DEPENDS") == "NA"

    @pytest.mark.parametrize("name", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
    def test_pictures_are_addressed_in_the_repository_and_are_there(self, name: str) -> None:
        for address in metadata(name).split():
            assert address.startswith("https://")
            repository = CATALOGUE["scm_url"].removesuffix(".git").removeprefix("https://github.com/")
            path = EXTENSION / address.partition(f"{repository}/{CATALOGUE['scm_revision']}/")[2]
            assert path.read_bytes().startswith(b"\x89PNG")

    def test_licence_and_readme_are_in_the_extension(self) -> None:
        assert (EXTENSION / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
        readme = (EXTENSION / "README.md").read_text(encoding="utf-8")
        assert all(f"`{module}`" in readme for module in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_what_slicer_loads_at_start_imports_nothing_else_and_runs_nothing(module: str) -> None:
    import sys

    path = EXTENSION / module / f"{module}.py"

    assert imports_at_file_scope(path) - sys.stdlib_module_names <= FILE_SCOPE
    assert runs_at_file_scope(path) == []


def test_the_library_knows_no_qt_and_no_model() -> None:
    forbidden = {"qt", "ctk", "torch", "napari", "napari_colipri", "colipri_training", "qtpy", "PySide6"}
    inside = ("colipri_core.inference", "colipri_core.model", "colipri_core.cli", "colipri_core.remote.server")
    for path in (EXTENSION / "Colipri" / "ColipriLib").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        assert not {name.partition(".")[0] for name in names} & forbidden, path.name
        assert not [name for name in names if name.startswith(inside)], path.name


def test_the_sample_is_the_one_that_ships() -> None:
    text = (EXTENSION / "Colipri" / "ColipriLib" / "samples.py").read_text(encoding="utf-8")
    sample = ROOT / "napari_colipri" / "samples" / "phantom_chest.nii.gz"

    assert f'"{hashlib.sha256(sample.read_bytes()).hexdigest()}"' in text
    assert text.count("napari_colipri/samples/phantom_chest.nii.gz") == 1


@pytest.mark.parametrize("name", ["label", "panels"])
def test_the_pictures_are_those_of_the_documentation(name: str) -> None:
    shown = (EXTENSION / "Screenshots" / f"{name}.png").read_bytes()

    assert shown == (ROOT / "docs" / "images" / f"slicer_{name}.png").read_bytes()
