"""Rules of the repository that review would otherwise have to remember."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT
from repository import imported_packages
from repository import is_broken
from repository import links
from repository import long_functions
from repository import name_of
from repository import text_files
from repository import tracked_files
from repository import with_suffix

from colipri_core.cli.main import app

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FILE_BYTES = 2_000_000
MAX_BUNDLE_BYTES = 40_000_000
GENERATED_SCANS = {ROOT / "napari_colipri" / "samples" / "phantom_chest.nii.gz"}
BUNDLES = ROOT / "colipri_core" / "bundles"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Written with a class of one letter, so that this file does not find itself.
MACHINE_PATH = re.compile(r"/[w]ork/|/[r]oot/|/[h]ome/\w|/[o]pt/\w|[C]:\\Users")
PACKAGE_INDEX = re.compile(r"[p]ypi\.org|[p]ythonhosted|download\.[p]ytorch|-[-](?:extra-)?index-url|-[-]find-links")
LEFTOVER = re.compile(r"^(?:[<]{7} |[=]{7}$|[>]{7} )|\b[F]IXME\b|\b[X]XX\b|\b[T]ODO\b", re.MULTILINE)
# A number with a unit of measurement, or a score between 0 and 1.
FIGURE = re.compile(r"\b\d+(?:\.\d+)?\s?(?:%|ms|s|min|minutes|seconds|MB|GB|GiB|fps)(?=[\s.,;:|)]|$)|\b0\.\d+(?!\.?\d)")


OPTIONAL = PYPROJECT["project"]["optional-dependencies"]
IMPORT_NAMES = {
    "pillow": "pil",
    "scikit_image": "skimage",
    "scikit_learn": "sklearn",
}  # where a distribution and what one imports differ
PACKAGES = {
    "colipri_core": ("local", "dicom", "index", "surface"),
    "napari_colipri": ("napari",),
    "training": ("train", "local"),
}


def requirements(*extras: str) -> list[Requirement]:
    """What the package needs, with some of its extras; its references to itself are left out."""
    groups = [PYPROJECT["project"]["dependencies"], *(OPTIONAL[extra] for extra in extras)]
    found = [Requirement(text) for group in groups for text in group]
    return [requirement for requirement in found if requirement.name != PYPROJECT["project"]["name"]]


def test_files_are_found() -> None:
    names = {name_of(path) for path in tracked_files()}

    assert {"Makefile", "README.md", "pyproject.toml", "colipri_core/__init__.py", "tests/test_house.py"} <= names


def test_every_python_file_opens_with_a_docstring() -> None:
    silent = [name_of(path) for path in with_suffix(".py") if not ast.get_docstring(ast.parse(path.read_bytes()))]

    assert silent == []


def test_python_files_are_ascii() -> None:
    foreign = [name_of(path) for path in with_suffix(".py", ".sh") if not path.read_bytes().isascii()]

    assert foreign == []


def test_python_files_are_short() -> None:
    lengths = {name_of(path): path.read_bytes().count(b"\n") for path in with_suffix(".py")}

    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    found = [line for path in with_suffix(".py") for line in long_functions(path, limit=MAX_FUNCTION_LINES)]

    assert found == []


def test_only_models_are_large() -> None:
    sizes = {path: path.stat().st_size for path in tracked_files()}
    large = {
        name_of(path): size for path, size in sizes.items() if size > MAX_FILE_BYTES and BUNDLES not in path.parents
    }

    assert large == {}
    assert sum(size for path, size in sizes.items() if BUNDLES in path.parents) < MAX_BUNDLE_BYTES


def test_no_pickles_and_no_images_of_patients_are_tracked() -> None:
    pickles = with_suffix(".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib")
    scans = [path for path in with_suffix(".nii", ".nii.gz", ".dcm", ".nrrd", ".mha") if path not in GENERATED_SCANS]

    assert [name_of(path) for path in (*pickles, *scans)] == []


def test_readme_shows_commands_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert {"demo", "test"} <= shown
    assert shown <= targets


@pytest.mark.parametrize("document", with_suffix(".md"), ids=name_of)
def test_links_and_images_resolve(document: Path) -> None:
    assert [link for link in links(document) if is_broken(link, document=document)] == []


def test_every_page_is_reachable_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    pages = {path for path in with_suffix(".md") if index.parent in path.parents} - {index}

    assert sorted(name_of(path) for path in pages - reached) == []


@pytest.mark.parametrize("document", [path for path in with_suffix(".md") if path.name != "LOG.md"], ids=name_of)
def test_figures_name_the_json_they_come_from(document: Path) -> None:
    """A measured number stands in a paragraph or table that, itself or just below, links the JSON it was read from.

    Lab logs are notes on what was tried, and are left out.
    """
    text = re.sub(r"^```.*?^```|`[^`]*`", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    blocks = re.split(r"\n\s*\n", text)
    unsourced = [
        block
        for block, below in zip(blocks, [*blocks[1:], ""], strict=True)
        if FIGURE.search(block) and not re.search(r"\]\([^)]+\.json\)", block + below)
    ]

    assert unsourced == []


@pytest.mark.parametrize("pattern", [MACHINE_PATH, PACKAGE_INDEX, LEFTOVER], ids=["machine path", "index", "leftover"])
def test_text_is_free_of(pattern: re.Pattern[str]) -> None:
    found = [f"{name_of(path)}: {match.group()}" for path, text in text_files() if (match := pattern.search(text))]

    assert found == []


def test_changelog_has_an_unreleased_section() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r"^## \[Unreleased\]\n+### \w+\n+- ", changelog, re.MULTILINE)


def test_citation_has_the_version_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")

    assert f"\nversion: {PYPROJECT['project']['version']}\n" in citation


def test_every_direct_dependency_is_pinned_and_the_pin_is_allowed() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    others = requirements(*OPTIONAL)

    unpinned = [str(need) for need in others if canonicalize_name(need.name) not in versions]
    refused = [str(need) for need in others if versions.get(canonicalize_name(need.name), "") not in need.specifier]
    assert (unpinned, refused) == ([], [])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_package_is_declared(package: str) -> None:
    names = {canonicalize_name(need.name).replace("-", "_") for need in requirements(*PACKAGES[package])}
    declared = {IMPORT_NAMES.get(name, name) for name in names}
    ours = {"colipri_core", "colipri_training", "napari_colipri"}
    files = [path for path in with_suffix(".py") if path.is_relative_to(ROOT / package)]
    imported = {name for path in files for name in imported_packages(path)} - ours - sys.stdlib_module_names

    assert {name for name in imported if name.lower() not in declared} == set()


def test_tests_share_code_through_modules_not_conftest() -> None:
    """Several folders have a conftest.py, so which one `import conftest` finds depends on what else runs."""
    borrowing = [path for path in with_suffix(".py") if "conftest" in imported_packages(path)]

    assert [name_of(path) for path in borrowing] == []


def test_the_documented_commands_are_those_of_the_program() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    verbs = typer.main.get_command(app).commands
    commands = [*verbs.values(), *(part for verb in verbs.values() for part in getattr(verb, "commands", {}).values())]
    options = {flag for command in commands for parameter in command.params for flag in parameter.opts}

    assert set(re.findall(r"^\| `colipri ([a-z]+)", page, re.MULTILINE)) == set(verbs)
    assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", page)) <= options | {"--help", "--version"}
