"""The cases a page can open: those named when the server was started, and those below its allowed folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from colipri_core.errors import NotFoundError
from colipri_core.io.dicom_headers import is_dicom
from colipri_core.io.suffixes import ITK_SUFFIXES
from colipri_core.io.suffixes import NIFTI_SUFFIXES
from colipri_core.remote.server.paths import resolve

MOST_LISTED = 500
"""Cases of the allowed folder that are listed (our choice); the others are opened by their path all the same."""

_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, ".zip")


class Cases:
    """Names of cases and where they lie on this host.

    Args:
        named: Files and folders named when the server was started.
        root: The allowed folder; None for none.
    """

    def __init__(self, named: Sequence[Path], root: Path | None) -> None:
        self._named = _by_name(named)
        self._root = root

    def names(self) -> list[str]:
        """Names to choose from: the named cases, then what lies below the allowed folder now."""
        found = sorted(_below(self._root)) if self._root is not None else []
        return [*self._named, *(name for name in found if name not in self._named)]

    def place(self, name: str) -> Path:
        """Return where a case lies.

        Args:
            name: One of `names`, or a path below the allowed folder.

        Raises:
            NotFoundError: If there is no such case.
            UnreadableInputError: If nothing lies at the path.
            ValueError: If the path leads out of the allowed folder.
        """
        if name in self._named:
            return self._named[name]
        if self._root is None:
            msg = f"Expected one of the cases {', '.join(self._named) or '(none)'}, found another name."
            raise NotFoundError(msg)
        return resolve(self._root, name)


def _by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Name cases after their files; those of one name are numbered."""
    named: dict[str, Path] = {}
    for path in paths:
        name = base = path.resolve().name
        number = 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = path
    return named


def _below(root: Path) -> Iterator[str]:
    """Images and DICOM folders below a folder, as paths relative to it."""
    count = 0
    for folder, names, files in os.walk(root):
        names.sort()
        place = Path(folder)
        images = [place / file for file in files if file.lower().endswith(_SUFFIXES)]
        first = next((place / file for file in sorted(files)), None)
        if not images and first is not None and is_dicom(first):
            images = [place]
        for image in images:
            yield image.relative_to(root).as_posix()
            count += 1
            if count == MOST_LISTED:
                return
