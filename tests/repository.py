"""What the repository's own checks read: its tracked files, its documents, and the functions in its code."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_GENERATED = {"build", "dist", "out", "__pycache__"}


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Files git tracks; without git, every file that is neither hidden nor generated."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return tuple(path for name in listing.split("\0") if name and (path := ROOT / name).is_file())
    return tuple(
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and not any(part in _GENERATED or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
    )


def with_suffix(*suffixes: str) -> list[Path]:
    """Tracked files whose names end so."""
    return [path for path in tracked_files() if path.name.endswith(suffixes)]


def text_files() -> Iterator[tuple[Path, str]]:
    """Tracked files that are text, with their content; symbolic links and model files are left out."""
    for path in tracked_files():
        if path.is_symlink() or "bundles" in path.parts:
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8")


def name_of(path: Path) -> str:
    """Path of a file as messages show it, from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def long_functions(path: Path, *, limit: int) -> list[str]:
    """Functions of a Python file whose bodies, without the docstring, have more lines than `limit`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if documented else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > limit:
                found.append(f"{name_of(path)}: {node.name} has {lines} lines")
    return found


def imported_packages(path: Path) -> set[str]:
    """Top-level names a Python file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def links(document: Path) -> list[str]:
    """Targets of the links and images of a Markdown file, code blocks left out."""
    return _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8")))


def anchors(document: Path) -> set[str]:
    """Anchors of the headings of a Markdown file, as GitHub forms them."""
    headings = re.findall(r"^#+ +(.+)$", _FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def is_broken(link: str, *, document: Path) -> bool:
    """Whether a relative link of a document leads to no file, or to no heading of it."""
    if re.match(r"[a-z]+:", link):
        return False
    place, _, anchor = link.partition("#")
    target = (document.parent / place).resolve() if place else document
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)
