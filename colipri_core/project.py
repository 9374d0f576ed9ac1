"""A label project: a folder of scans worked through one by one, with a mark for each in a JSON file beside them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any
from typing import Literal
from typing import get_args

from colipri_core.errors import UnreadableInputError
from colipri_core.io.atomic import write_json
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.io.suffixes import SEG_NRRD_SUFFIX

PROJECT_FILE = "colipri-project.json"
EDITS_FOLDER = "edits"
FORMAT_VERSION = 1

Mark = Literal["open", "done", "review"]
"""What a labeller says of a case: to be done, done, or to be looked at by someone."""

_MARKS: tuple[str, ...] = get_args(Mark)
_SCANS = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, ".zip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectCase:
    """One scan of a project.

    Args:
        name: Its file or folder, seen from the project's folder.
        mark: What the labeller said of it.
    """

    name: str
    mark: Mark


class LabelProject:
    """The scans of a folder and their marks. Marks are saved as they are made; edits are the journals' matter.

    A scan is a file of a format that is read, or a folder that holds files (a DICOM series). Labelmaps, by the names
    they are saved under, and the project's own files are none.

    Args:
        folder: The folder.

    Raises:
        UnreadableInputError: If the folder cannot be read, holds no scan, or its project file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = _scans(folder)
        self._marks = _read_marks(folder / PROJECT_FILE)

    @property
    def cases(self) -> tuple[ProjectCase, ...]:
        """The scans in the order of their names."""
        return tuple(ProjectCase(name=name, mark=self._marks.get(name, "open")) for name in self._names)

    @property
    def edits(self) -> Path:
        """Folder for the journals of the project's edits."""
        return self.folder / EDITS_FOLDER

    def path(self, name: str) -> Path:
        """The scan's file or folder.

        Args:
            name: A case of the project.

        Raises:
            KeyError: If it is none.
        """
        if name not in self._names:
            msg = f'No case "{name}" in this project.'
            raise KeyError(msg)
        return self.folder / name

    def progress(self) -> dict[Mark, int]:
        """Number of cases with each mark."""
        counts = Counter(case.mark for case in self.cases)
        return {"open": counts["open"], "done": counts["done"], "review": counts["review"]}

    def step(self, name: str | None, by: int) -> str | None:
        """The case some steps on from another.

        Args:
            name: Where to begin; None before the first or behind the last.
            by: Steps on; negative ones go back.

        Returns:
            None beyond the ends.
        """
        start = self._names.index(name) if name in self._names else -1 if by > 0 else len(self._names)
        place = start + by
        return self._names[place] if 0 <= place < len(self._names) else None

    def next_open(self, name: str | None = None) -> str | None:
        """The first case to be done behind another, or else from the beginning; None if all are.

        Args:
            name: The case to begin behind.
        """
        start = self._names.index(name) + 1 if name in self._names else 0
        order = (*self._names[start:], *self._names[:start])
        return next((other for other in order if self._marks.get(other, "open") == "open"), None)

    def mark(self, name: str, mark: Mark) -> None:
        """Mark a case, and save it.

        Args:
            name: The case.
            mark: "open", "done" or "review".

        Raises:
            KeyError: If there is no such case.
            ValueError: If the mark is unknown.
            OSError: If the project file cannot be written; the mark is then not made.
        """
        self.path(name)
        if mark not in _MARKS:
            msg = f'Expected a mark of {", ".join(_MARKS)}, got "{mark}".'
            raise ValueError(msg)
        marks: dict[str, Mark] = {**self._marks, name: mark}
        document = {"format": "colipri-project", "version": FORMAT_VERSION, "marks": marks}
        write_json(self.folder / PROJECT_FILE, document)
        self._marks = marks


def _scans(folder: Path) -> tuple[str, ...]:
    try:
        found = sorted(path.name for path in folder.iterdir() if _is_scan(path))
    except OSError as error:
        msg = f'Cannot open the project "{folder.name}": {error.strerror}. Choose a folder of scans.'
        raise UnreadableInputError(msg) from error
    if not found:
        msg = f'Expected scans in the folder "{folder.name}", found none. Choose a folder of {", ".join(_SCANS)} files.'
        raise UnreadableInputError(msg)
    return tuple(found)


def _is_scan(path: Path) -> bool:
    if path.name.startswith(".") or path.name == EDITS_FOLDER:
        return False
    if path.is_dir():
        return any(item.is_file() and not item.name.startswith(".") for item in path.rglob("*"))
    return path.name.lower().endswith(_SCANS) and not is_labelmap(path.name)


def is_labelmap(name: str) -> bool:
    """Whether a file's name is one that labelmaps are saved under.

    Args:
        name: Of the file.
    """
    return name.lower().endswith(SEG_NRRD_SUFFIX) or "_dseg." in name.lower()


def _read_marks(path: Path) -> dict[str, Mark]:
    if not path.is_file():
        return {}
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != FORMAT_VERSION or not set(document["marks"].values()) <= set(_MARKS):
            msg = "another version, or other marks"
            raise ValueError(msg)
        return dict(document["marks"])
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f'Expected a label project in "{path.name}", found something else ({error}). Move it away to begin anew.'
        raise UnreadableInputError(msg) from error
