"""What must be in Slicer's own Python for the client, and how it gets there without replacing anything of Slicer's.

The package itself goes in without its dependencies; of those, only what a client of a server uses. Everything that is
installed already is pinned by a constraints file, so that pip refuses rather than replaces NumPy, SimpleITK, requests
or any other package that Slicer or another extension brought. Torch is never among the requirements.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = "napari-colipri"
"""The distribution that holds `colipri_core`."""

VERSION = "0.1.0.dev0"
"""Version this extension was made with; an older client is replaced, since both ends speak one protocol."""

CLIENT: dict[str, str] = {
    "blosc2": "blosc2>=3",
    "httpx2": "httpx2>=2",
    "filelock": "filelock>=3.16",
    "jinja2": "jinja2>=3.1",
    "nibabel": "nibabel>=5.3",
    "platformdirs": "platformdirs>=4",
}
"""Import name -> requirement, of what the client needs besides NumPy: wire, journal of edits, reports, files."""

CONFIRMATION = (
    "Colipri needs {count} Python packages in 3D Slicer: {names}. They are downloaded from the Python Package Index. "
    "No package of 3D Slicer is replaced, and torch is not among them."
)

PipInstall = Callable[[list[str]], Any]


def missing(
    find: Callable[[str], object | None] = importlib.util.find_spec,
    version: Callable[[str], str] = importlib.metadata.version,
) -> tuple[str, ...]:
    """What is still to be installed, as pip takes it; the package itself comes first, also when it is too old.

    Args:
        find: Looks a module up.
        version: Looks the version of a distribution up.
    """
    absent = [requirement for module, requirement in CLIENT.items() if find(module) is None]
    fits = find("colipri_core") is not None and not _is_old(version)
    return (*(() if fits else (PACKAGE,)), *absent)


def source(library: Path = Path(__file__)) -> str:
    """Where the package comes from: the checkout that the extension lies in, or else the package index.

    Args:
        library: A file of this folder.
    """
    checkout = library.resolve().parents[3]
    try:
        is_ours = f'name = "{PACKAGE}"' in (checkout / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    except OSError:
        is_ours = False
    return str(checkout) if is_ours else PACKAGE


def is_older(version: str, other: str) -> bool:
    """Whether one version of the package comes before another; a pre-release comes before its release.

    Args:
        version: Such as "0.2.0" or "0.2.0.dev1".
        other: Another one.
    """
    return _order(version) < _order(other)


def pins(distributions: Iterable[importlib.metadata.Distribution] | None = None) -> tuple[str, ...]:
    """Every installed package at its present version, as lines of a constraints file.

    Args:
        distributions: What is installed; None looks it up.
    """
    found = importlib.metadata.distributions() if distributions is None else distributions
    versions = {item.metadata["Name"]: item.version for item in found}
    plain = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
    return tuple(sorted(f"{name}=={version}" for name, version in versions.items() if name and plain.fullmatch(name)))


def write_pins(path: Path) -> Path:
    """Write the constraints file.

    Args:
        path: Where.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(pins()) + "\n", encoding="utf-8")
    return path


def pip_arguments(wanted: Iterable[str], constraints: Path, *, source: str = PACKAGE) -> tuple[list[str], ...]:
    """The arguments of each call of `pip install`, in order.

    Python compiles a module when it is first imported; pip would compile all of every package, which takes a third of
    the time.

    Args:
        wanted: What `missing` returned.
        constraints: The constraints file.
        source: Where the package comes from: its name, a wheel or a folder.
    """
    needed = list(wanted)
    others = [item for item in needed if item != PACKAGE]
    calls = []
    if others:
        calls.append(["--no-compile", "--constraint", str(constraints), *others])
    if PACKAGE in needed:
        calls.append(["--no-compile", "--no-deps", "--upgrade", source])
    return tuple(calls)


def install(slicer_module: Any, constraints: Path, *, confirm: Callable[[str], bool], source: str = PACKAGE) -> bool:
    """Install what is missing into Slicer's Python; on the main thread, for the dialogs it shows.

    Slicer 5.12 and later check, ask, and show progress themselves (`slicer.packaging`); before, the user is asked here.

    Args:
        slicer_module: The module `slicer`.
        constraints: Where to write the constraints file.
        confirm: Asks the user; gets the text of the question.
        source: Where the package comes from.

    Returns:
        Whether nothing is missing any more.

    Raises:
        subprocess.CalledProcessError: If pip fails, for instance because a package of Slicer's would be replaced.
    """
    wanted = missing()
    if not wanted:
        return True
    names = ", ".join(re.split(r"[<>=]", item)[0] for item in wanted)
    if not confirm(CONFIRMATION.format(count=len(wanted), names=names)):
        return False
    write_pins(constraints)
    packaging = getattr(slicer_module, "packaging", None)
    others = [item for item in wanted if item != PACKAGE]
    if packaging is not None and others:
        packaging.pip_ensure(others, constraints=constraints, requester="Colipri", prompt_install=False)
    for arguments in pip_arguments(missing() if packaging is not None else wanted, constraints, source=source):
        slicer_module.util.pip_install(arguments)
    importlib.invalidate_caches()
    return not missing()


def python_problem(version: tuple[int, ...] = sys.version_info[:2]) -> str:
    """Why this Python is too old; empty if it is not.

    Args:
        version: Major and minor version.
    """
    if tuple(version) >= (3, 11):
        return ""
    found = ".".join(str(part) for part in version)
    return f"Expected Python 3.11 or newer, found {found}. Use 3D Slicer 5.10 or later."


def _is_old(version: Callable[[str], str]) -> bool:
    try:
        return is_older(version(PACKAGE), VERSION)
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path
        return False


def _order(version: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    head = release.group() if release else ""
    rest = version[len(head) :]
    is_final = not rest or rest.startswith(("+", ".post"))
    return tuple(map(int, head.split("."))) if head else (), is_final, tuple(map(int, re.findall(r"[0-9]+", rest)))
