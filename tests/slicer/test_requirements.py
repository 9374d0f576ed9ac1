"""How the client comes into Slicer's Python: the package without its dependencies, all else pinned, no torch."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import extension
import pytest

from ColipriLib import requirements

BLOCKED = (
    "torch",
    "transformers",
    "monai",
    "safetensors",
    "tokenizers",
    "einops",
    "SimpleITK",
    "pydicom",
    "typer",
    "rich",
)
MODULES = (
    "params",
    "reading",
    "requirements",
    "samples",
    "job",
    "server_process",
    "client",
    "rows",
    "presenter",
    "panels",
    "wiring",
    "reconcile",
)


def test_only_what_is_absent_is_missing() -> None:
    nothing = requirements.missing(find=lambda name: object(), version=lambda name: requirements.VERSION)
    everything = requirements.missing(find=lambda name: None)

    assert nothing == ()
    assert everything == (requirements.PACKAGE, *requirements.CLIENT.values())


@pytest.mark.parametrize(("installed", "wanted"), [("0.0.9", True), (requirements.VERSION, False), ("99.0", False)])
def test_a_client_older_than_the_extension_is_replaced(installed: str, *, wanted: bool) -> None:
    found = requirements.missing(find=lambda name: object(), version=lambda name: installed)

    assert found == ((requirements.PACKAGE,) if wanted else ())


def test_a_client_that_no_distribution_brought_is_left_alone() -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    assert requirements.missing(find=lambda name: object(), version=unknown) == ()


def test_versions_are_put_in_order() -> None:
    rising = ("0.1.0.dev0", "0.1.0.dev3", "0.1.0", "0.2.0rc1", "0.2.0", "0.10.0")

    for number, (first, second) in enumerate(itertools.pairwise(rising)):
        assert requirements.is_older(first, second), number
        assert not requirements.is_older(second, first), number
    assert not requirements.is_older("0.1.0+local", "0.1.0")


def test_the_extension_knows_the_version_it_was_made_with() -> None:
    project = tomllib.loads((extension.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == requirements.VERSION
    assert project["name"] == requirements.PACKAGE


def test_a_checkout_is_the_source_of_what_lies_in_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "slicer_extension" / "Colipri" / "ColipriLib" / "requirements.py"
    assert requirements.source() == str(extension.ROOT)
    assert requirements.source(elsewhere) == "napari-colipri"

    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n', encoding="utf-8")
    assert requirements.source(elsewhere) == "napari-colipri"


def test_torch_and_what_slicer_owns_are_never_asked_for() -> None:
    assert not {"torch", "numpy", "SimpleITK", "requests", "scipy", "pydicom", "vtk"} & set(requirements.CLIENT)


def test_the_requirements_are_those_the_package_declares() -> None:
    project = tomllib.loads((extension.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    }

    assert set(requirements.CLIENT.values()) <= declared


def test_everything_installed_is_pinned() -> None:
    pins = requirements.pins()

    assert f"numpy=={importlib.metadata.version('numpy')}" in pins


def test_the_package_goes_in_alone_and_last(tmp_path: Path) -> None:
    calls = requirements.pip_arguments(("napari-colipri", "blosc2>=3"), tmp_path / "pins.txt")

    assert calls == (
        ["--no-compile", "--constraint", str(tmp_path / "pins.txt"), "blosc2>=3"],
        ["--no-compile", "--no-deps", "--upgrade", "napari-colipri"],
    )


class Slicer:
    """The two functions of the module `slicer` that install, taking note of what they are asked."""

    def __init__(self, *, has_packaging: bool) -> None:
        self.asked: list[Any] = []
        self.util = SimpleNamespace(pip_install=self.asked.append)
        if has_packaging:
            self.packaging = SimpleNamespace(pip_ensure=lambda needed, **options: self.asked.append((needed, options)))


@pytest.fixture
def nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "missing", lambda: ("napari-colipri", "blosc2>=3"))


@pytest.mark.usefixtures("nothing_there")
def test_nothing_is_installed_unless_the_user_agrees(tmp_path: Path) -> None:
    slicer, questions = Slicer(has_packaging=True), []

    assert not requirements.install(slicer, tmp_path / "pins.txt", confirm=lambda text: bool(questions.append(text)))
    assert slicer.asked == []
    assert "napari-colipri, blosc2" in questions[0]


@pytest.mark.usefixtures("nothing_there")
def test_older_slicers_use_pip_with_the_pins(tmp_path: Path) -> None:
    slicer = Slicer(has_packaging=False)
    requirements.install(slicer, tmp_path / "pins.txt", confirm=lambda text: True)

    assert slicer.asked == [
        ["--no-compile", "--constraint", str(tmp_path / "pins.txt"), "blosc2>=3"],
        ["--no-compile", "--no-deps", "--upgrade", "napari-colipri"],
    ]
    assert "numpy==" in (tmp_path / "pins.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("nothing_there")
def test_newer_slicers_ensure_with_the_pins(tmp_path: Path) -> None:
    slicer = Slicer(has_packaging=True)
    requirements.install(slicer, tmp_path / "pins.txt", confirm=lambda text: True)

    needed, options = slicer.asked[0]
    assert needed == ["blosc2>=3"]
    assert options["constraints"] == tmp_path / "pins.txt"
    assert slicer.asked[-1] == ["--no-compile", "--no-deps", "--upgrade", "napari-colipri"]


@pytest.mark.parametrize(("version", "fits"), [((3, 9), False), ((3, 10), False), ((3, 11), True), ((3, 12), True)])
def test_pythons_that_are_too_old_are_told(version: tuple[int, int], *, fits: bool) -> None:
    assert (requirements.python_problem(version) == "") is fits


def test_the_module_imports_where_torch_and_readers_cannot_be(tmp_path: Path) -> None:
    script = f"""
import json, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
sys.path.insert(0, {str(extension.LIBRARY.parent)!r})
import importlib
for name in {MODULES!r}:
    importlib.import_module("ColipriLib." + name)
import colipri_core.remote.client
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    assert not {*BLOCKED, "slicer", "vtk", "qt", "pydantic", "fastapi"} & set(json.loads(run.stdout))
