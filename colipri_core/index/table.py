"""Reports and labels of scans, from a CSV table.

Columns, in any order and with any case; others are passed over, so that tables of others need no editing:

| column | holds |
|---|---|
| `case`, `id`, `name`, `VolumeName` or `AccessionNo` | name of the case; the suffix of an image may be there |
| `path` or `image` | the scan, relative to the table's folder |
| `report` or `report_text`; or `findings` and `impression`, also as `Findings_EN` and `Impressions_EN` | text |
| `labels` | names of findings between semicolons |
| a finding's name, also as `label:NAME` | 1 if the case has it |
| `age`, `sex`, `date`, `tags` | years; F, M or O; as 2024-05-31; words between semicolons |
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import sys
from collections.abc import Mapping
from pathlib import Path

from colipri_core.cases import CaseSource
from colipri_core.errors import UnreadableInputError
from colipri_core.io.suffixes import without_suffix
from colipri_core.vocabulary.findings import find_concept

_NAMES = {
    "case": ("case", "id", "name", "volumename", "accessionno"),
    "path": ("path", "image"),
    "report": ("report", "report_text"),
    "findings": ("findings", "findings_en"),
    "impression": ("impression", "impressions_en"),
}
_LABEL = "label:"
_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O", "": ""}

Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What a row says of a scan.

    Args:
        case: Its name, or empty.
        path: Absolute path of the scan, or empty.
        report: Text.
        findings: Labels; None where the table has none.
        age: In years.
        sex: "F", "M", "O" or empty.
        date: Day of the study.
        tags: Words.
    """

    case: str
    path: str
    report: str
    findings: tuple[str, ...] | None
    age: float | None
    sex: str
    date: datetime.date | None
    tags: tuple[str, ...]

    def source(self) -> CaseSource:
        """Return it as a scan to add."""
        case = self.case or without_suffix(Path(self.path).name)
        return CaseSource(
            **{**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, "case": case}
        )


def read_reports(path: Path, *, images: bool = False) -> tuple[Known, ...]:
    """Read a table of reports and labels.

    Args:
        path: A CSV file in UTF-8.
        images: Whether each row must name a scan.

    Raises:
        UnreadableInputError: If it is no such table, or a row cannot be understood; the message names the row.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default stops at reports of 128 kB
    needed = _NAMES["path"] if images else (*_NAMES["case"], *_NAMES["path"])
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True, restval="")
            columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            if not set(columns) & set(needed):
                found = ", ".join(columns[:8]) or "no columns"
                raise UnreadableInputError(_no_table(path, f'found the columns "{found}"', needed))
            reader.fieldnames = columns
            return tuple(_known(row, path, reader.line_num) for row in reader)
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise UnreadableInputError(_no_table(path, f"found none ({error})", needed)) from error


def _known(row: Mapping[str, str], path: Path, line: int) -> Known:
    try:
        image = _first(row, "path")
        return Known(
            case=without_suffix(_first(row, "case")) or _first(row, "case"),
            path=str((path.parent / image).resolve()) if image else "",
            report=_report(row),
            findings=_labels(row),
            age=float(row["age"]) if row.get("age", "").strip() else None,
            sex=_SEXES[row.get("sex", "").strip().lower()],
            date=datetime.date.fromisoformat(row["date"].strip()) if row.get("date", "").strip() else None,
            tags=_words(row.get("tags", "")),
        )
    except (KeyError, ValueError) as error:
        msg = (
            f'The row that ends on line {line} of "{path.name}" cannot be understood ({error}). '
            "Age is a number of years, sex is F, M or O, and a date is written as 2024-05-31."
        )
        raise UnreadableInputError(msg) from error


def _first(row: Row, column: str) -> str:
    return next((row[name].strip() for name in _NAMES[column] if row.get(name, "").strip()), "")


def _report(row: Row) -> str:
    """The whole report, or its two sections under their headings."""
    whole = _first(row, "report")
    sections = [(name, _first(row, name)) for name in ("findings", "impression")]
    return whole or "\n\n".join(f"{name.upper()}:\n{text}" for name, text in sections if text)


def _labels(row: Row) -> tuple[str, ...] | None:
    """Findings of the column `labels` and of columns named after findings; None if there is no such column."""
    columns = {name: name.removeprefix(_LABEL) for name in row if name and name not in _NAMES["findings"]}
    findings = {name: concept for name, text in columns.items() if (concept := find_concept(text)) is not None}
    others = {name: text for name, text in columns.items() if name.startswith(_LABEL) and name not in findings}
    if "labels" not in row and not findings and not others:
        return None
    ticked = [concept.name for name, concept in findings.items() if _is_one(row[name])]
    ticked += [text for name, text in others.items() if _is_one(row[name])]
    return tuple(dict.fromkeys([*_words(row.get("labels", "")), *ticked]))


def _is_one(text: str) -> bool:
    return text.strip().lower() in {"1", "1.0", "true", "yes"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(";") if word.strip())


def _no_table(path: Path, found: str, needed: tuple[str, ...]) -> str:
    return (
        f'Expected a CSV table in UTF-8 in "{path.name}" with a column {" or ".join(needed[:2])}, {found}. '
        "See the columns in the documentation of colipri index add."
    )
