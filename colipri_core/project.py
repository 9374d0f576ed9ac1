"""A label project: a folder of scans worked through one by one, with marks and ranks in a JSON file beside them."""

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
from colipri_core.io.scans import SCAN_SUFFIXES
from colipri_core.io.scans import is_scan_file
from colipri_core.io.scans import scans_in
from colipri_core.io.suffixes import SEG_NRRD_SUFFIX

PROJECT_FILE = "colipri-project.json"
EDITS_FOLDER = "edits"
FORMAT_VERSION = 1

Mark = Literal["open", "done", "review"]
"""What a labeller says of a case: to be done, done, or to be looked at by someone."""

_MARKS: tuple[str, ...] = get_args(Mark)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectCase:
    """One scan of a project.

    Args:
        name: Its file or folder, seen from the project's folder.
        mark: What the labeller said of it.
        uncertainty: How unsure a model was of it, in [0, 1]; None if it was not ranked.
    """

    name: str
    mark: Mark
    uncertainty: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked:
    """What a model's uncertainty of a case was.

    Args:
        value: Its `Segmentation.uncertainty`, in [0, 1].
        model: Name of the model.
        sha256: Hash of its weights; values of two models are not compared.
    """

    value: float
    model: str
    sha256: str


class LabelProject:
    """The scans of a folder, their marks and ranks, saved as they are made; edits are the journals' matter.

    A scan is a file of a format that is read, or a folder that holds one or a DICOM series. Labelmaps and heat maps, by
    the names they are saved under, and the project's own files are none.

    Args:
        folder: The folder.

    Raises:
        UnreadableInputError: If the folder cannot be read, holds no scan, or its project file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = _scans(folder)
        self._marks, self._ranked = _read_document(folder / PROJECT_FILE)
        self._order()

    @property
    def cases(self) -> tuple[ProjectCase, ...]:
        """The scans: those that were ranked first, the most uncertain of all at the top, then by name."""
        return tuple(
            ProjectCase(
                name=name,
                mark=self._marks.get(name, "open"),
                uncertainty=self._ranked[name].value if name in self._ranked else None,
            )
            for name in self._names
        )

    @property
    def ranked(self) -> dict[str, Ranked]:
        """What is known of the uncertainty of cases, by name."""
        return {name: self._ranked[name] for name in self._names if name in self._ranked}

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
        """The first case to be done behind another in the order of `cases`, or else from the top; None if all are.

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
        self._save(marks, self._ranked)
        self._marks = marks

    def rank(self, name: str, ranked: Ranked) -> None:
        """Note how unsure a model is of a case, and save it; what other models said of any case is forgotten.

        Args:
            name: The case.
            ranked: What the model says.

        Raises:
            KeyError: If there is no such case.
            OSError: If the project file cannot be written; nothing is changed then.
        """
        self.path(name)
        known = {other: item for other, item in self._ranked.items() if item.sha256 == ranked.sha256}
        known[name] = ranked
        self._save(self._marks, known)
        self._ranked = known
        self._order()

    def _order(self) -> None:
        known = self._ranked
        self._names = tuple(
            sorted(self._names, key=lambda name: (name not in known, -known[name].value if name in known else 0, name))
        )

    def _save(self, marks: dict[str, Mark], ranked: dict[str, Ranked]) -> None:
        document: dict[str, Any] = {"format": "colipri-project", "version": FORMAT_VERSION, "marks": marks}
        if ranked:
            document["uncertainty"] = {name: dataclasses.asdict(item) for name, item in ranked.items()}
        write_json(self.folder / PROJECT_FILE, document)


def _scans(folder: Path) -> tuple[str, ...]:
    try:
        found = sorted(path.name for path in folder.iterdir() if _is_scan(path))
    except OSError as error:
        msg = f'Cannot open the project "{folder.name}": {error.strerror}. Choose a folder of scans.'
        raise UnreadableInputError(msg) from error
    if not found:
        kinds = f"{', '.join(SCAN_SUFFIXES)} files or DICOM folders"
        msg = f'Expected scans in the folder "{folder.name}", found none. Choose a folder of {kinds}.'
        raise UnreadableInputError(msg)
    return tuple(found)


def _is_scan(path: Path) -> bool:
    if path.name.startswith(".") or path.name == EDITS_FOLDER:
        return False
    if path.is_dir():
        return _holds_scan(path)
    return is_scan_file(path.name) and not is_labelmap(path.name)


def _holds_scan(folder: Path) -> bool:
    try:
        return next(scans_in(folder), None) is not None
    except OSError:
        return True  # reading it says what is wrong


def is_labelmap(name: str) -> bool:
    """Whether a file's name is one that labelmaps are saved under.

    Args:
        name: Of the file.
    """
    return name.lower().endswith(SEG_NRRD_SUFFIX) or "_dseg." in name.lower()


def _read_document(path: Path) -> tuple[dict[str, Mark], dict[str, Ranked]]:
    if not path.is_file():
        return {}, {}
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != FORMAT_VERSION or not set(document["marks"].values()) <= set(_MARKS):
            msg = "another version, or other marks"
            raise ValueError(msg)
        ranked = {name: Ranked(**item) for name, item in document.get("uncertainty", {}).items()}
        if not all(0 <= float(item.value) <= 1 for item in ranked.values()):
            msg = "an uncertainty that is not in [0, 1]"
            raise ValueError(msg)
        return dict(document["marks"]), ranked
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f'Expected a label project in "{path.name}", found something else ({error}). Move it away to begin anew.'
        raise UnreadableInputError(msg) from error
