"""Which scans to add: from files and folders, with what a table says of them.

A folder stands for the scans below it: each image file, and each folder that holds DICOM files. Names are paths below
that folder, without suffix, so that "patient-1/CT" and "patient-2/CT" stay two cases. A table can also list the scans
itself, as a labelling project or a training manifest does.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path

from colipri_core.cases import CaseSource
from colipri_core.errors import UnreadableInputError
from colipri_core.index.table import Known
from colipri_core.index.table import read_reports
from colipri_core.io.scans import SCAN_SUFFIXES
from colipri_core.io.scans import case_below
from colipri_core.io.scans import scans_in
from colipri_core.io.suffixes import without_suffix

_TABLE = ".csv"


def find_sources(paths: Iterable[str | os.PathLike[str]], reports: Path | None = None) -> list[CaseSource]:
    """Return the scans that files, folders and tables stand for, in a fixed order.

    Args:
        paths: Scans, folders of scans, or CSV tables with a column of images.
        reports: CSV table with reports, labels, age, sex, date and tags; see `table`.

    Raises:
        UnreadableInputError: If a path or a table cannot be read, or a folder holds no scan.
    """
    known = read_reports(reports) if reports is not None else ()
    by_name = {row.case: row for row in known if row.case}
    by_path = {row.path: row for row in known if row.path}
    sources = []
    for path in map(Path, paths):
        if path.name.lower().endswith(_TABLE):
            sources += [row.source() for row in read_reports(path, images=True)]
        else:
            sources += [_with_known(source, by_name, by_path) for source in _below(path)]
    return sources


def _below(path: Path) -> Iterator[CaseSource]:
    if not path.is_dir():
        yield CaseSource(case=without_suffix(path.name), path=str(path.resolve()))
        return
    found = list(scans_in(path))
    if not found:
        msg = (
            f'Expected scans in the folder "{path.name}", found none. Scans are {", ".join(SCAN_SUFFIXES)} files, '
            "or folders of DICOM files."
        )
        raise UnreadableInputError(msg)
    for scan in found:
        yield CaseSource(case=case_below(scan, path), path=str(scan.resolve()))


def _with_known(source: CaseSource, by_name: Mapping[str, Known], by_path: Mapping[str, Known]) -> CaseSource:
    """Join a scan with its row: by path, by name, or by the last part of its name."""
    last = source.case.rpartition("/")[2]
    row = by_path.get(source.path) or by_name.get(source.case) or by_name.get(last)
    return source if row is None else dataclasses.replace(row.source(), case=row.case or source.case, path=source.path)
