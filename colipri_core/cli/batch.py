"""One command over several CTs: folders of scans, one engine for all of them, and what fails does not stop the rest."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from colipri_core.cli.terminal import Terminal
from colipri_core.engine import Engine
from colipri_core.errors import ColipriError
from colipri_core.errors import InputError
from colipri_core.errors import OutputError
from colipri_core.errors import VolumeWarning
from colipri_core.io import derivative_name
from colipri_core.io import read_volume
from colipri_core.io.scans import case_below
from colipri_core.io.scans import is_one_scan
from colipri_core.io.scans import scans_in
from colipri_core.session import Session
from colipri_core.volume import Volume

if TYPE_CHECKING:
    from rich.console import RenderableType

Work = Callable[[Session], tuple[dict[str, Any], "RenderableType"]]
"""What a command does with a CT; returns its result as JSON values and for people."""

_USAGE = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """One CT of several.

    Args:
        path: File, folder or zip.
        name: What it is called where it cannot be used: its file name, or its path below the folder that was named.
        case: Name of its case; None for that of the file.
    """

    path: Path
    name: str
    case: str | None = None

    def read(self, series: str | None) -> Volume:
        """Read it; see `read_volume`."""
        volume = read_volume(self.path, series=series)
        return volume if self.case is None else dataclasses.replace(volume, name=self.case)


def scans_of(paths: Sequence[Path], *, series: str | None) -> tuple[Scan, ...] | None:
    """Return the CTs that paths stand for; None if it is one path of one CT, which is no batch.

    A folder of scans stands for those below it. One of DICOM files, or of one study, stays one CT; so does every folder
    where a series is named.

    Args:
        paths: Files and folders.
        series: Series instance UID, or None.
    """
    scans: list[Scan] = []
    for path in paths:
        if series is not None or not path.is_dir() or _stays_one(path):
            scans.append(Scan(path=path, name=path.name))
            continue
        below = [(scan, scan.relative_to(path).as_posix()) for scan in scans_in(path)]
        scans += [Scan(path=scan, name=name, case=case_below(scan, path)) for scan, name in below]
    is_batch = len(paths) > 1 or scans[0].path != paths[0]
    return tuple(scans) if is_batch else None


def _stays_one(folder: Path) -> bool:
    try:
        return is_one_scan(folder)
    except OSError:
        return True  # reading it says what is wrong


def each(
    scans: Sequence[Scan],
    engine: Engine,
    terminal: Terminal,
    work: Work,
    *,
    series: str | None,
    check: Callable[[Volume], None] | None = None,
) -> int:
    """Work on every CT, write {"cases": [...]} of the results, and return the exit status.

    One that cannot be used is {"case", "error"} there; the others are done all the same.

    Args:
        scans: The CTs.
        engine: The model.
        terminal: The streams of the command.
        work: What is done with each.
        series: Series instance UID, or None.
        check: Refuses a volume whose result could not be written, before it is opened.
    """
    from rich.console import Group

    warnings.simplefilter("ignore", VolumeWarning)  # they come again with the result, under the name of their CT
    documents: list[dict[str, Any]] = []
    shown: list[RenderableType] = []
    status = 0
    for scan in scans:
        try:
            volume = scan.read(series)
            if check is not None:
                check(volume)
            with engine.open(volume) as session:
                document, table = work(session)
        except (InputError, OutputError, ValueError) as error:
            status, code = (error.exit_code, error.code) if isinstance(error, ColipriError) else (_USAGE, "usage")
            terminal.error(f"{scan.name}: {error}")
            documents.append({"case": scan.name, "error": {"code": code, "message": str(error)}})
            continue
        documents.append(document)
        shown.append(table)
    terminal.result({"cases": documents}, lambda: Group(*shown))
    return status


class Outputs:
    """The files of several CTs in one folder; no two cases share a file.

    Args:
        folder: Where they go.
        description: What they show, such as "structures".
        kind: "dseg", "map" or "report".
        suffix: Of the format.
    """

    def __init__(self, folder: Path, *, description: str, kind: str, suffix: str) -> None:
        self._folder = folder
        self._description = description
        self._kind = kind
        self._suffix = suffix
        self._taken: set[Path] = set()

    def name(self, case: str) -> Path:
        """What the file of a case is called."""
        name = derivative_name(case, description=self._description, kind=self._kind, suffix=self._suffix)
        return self._folder / name

    def take(self, case: str) -> Path:
        """Give a case its file.

        Raises:
            ValueError: If another case has that file already.
        """
        path = self.name(case)
        if path in self._taken:
            msg = f'Expected cases of different names, got another "{case}". Run it with a folder of its own.'
            raise ValueError(msg)
        self._taken.add(path)
        return path


def check_folder(folder: Path, *, suffix: str, suffixes: Sequence[str], what: str) -> None:
    """Refuse an output folder, or the format of the files in it, before any work is done.

    Args:
        folder: Where the results are to go.
        suffix: Of the files.
        suffixes: Those the command can write.
        what: What is written, such as "labelmaps".

    Raises:
        ValueError: If it is no folder that exists, or the suffix is unknown.
    """
    if not folder.is_dir():
        msg = f'Expected a folder for the {what} of several CTs, got "{folder}". Create it first.'
        raise ValueError(msg)
    if suffix not in suffixes:
        msg = f'Expected for files in a folder a --suffix of {", ".join(suffixes)}, got "{suffix}".'
        raise ValueError(msg)
