"""Where the Slicer extension lies, what its modules are, and how its CMake files are read; for tests without Slicer."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "slicer_extension"
MODULES = ("Colipri", "SegmentEditorColipri")
UI = EXTENSION / "Colipri" / "Resources" / "UI" / "Colipri.ui"
LIBRARY = EXTENSION / "Colipri" / "ColipriLib"

if str(LIBRARY.parent) not in sys.path:
    sys.path.insert(0, str(LIBRARY.parent))


def cmake_list(module: str, variable: str) -> list[str]:
    """The files a module's CMakeLists.txt lists, with its name filled in."""
    text = (EXTENSION / module / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf"set\({variable}\s+(.*?)\)", text, re.DOTALL)
    assert found, f"{module}/CMakeLists.txt sets no {variable}"
    return found.group(1).replace("${MODULE_NAME}", module).split()


def metadata(name: str) -> str:
    """Value of an EXTENSION_* variable of the root CMakeLists.txt, by the expression the public index reads it with."""
    text = (EXTENSION / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf'set\s*\({name}\s*"([^"]+)"[ ]*\)', text)
    return found.group(1) if found else ""
