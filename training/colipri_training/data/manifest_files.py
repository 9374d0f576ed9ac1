"""Manifests as CSV or Parquet files.

Columns: `id`, `image` (path, relative to the manifest's folder), `patient`, `split`; if wanted `study` (the same for
its reconstructions), `report`, `slope`, `intercept`, `affine` (16 numbers between spaces) and any number of
`label:NAME` (1, 0, or empty for unknown).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colipri_core.io.atomic import atomic_file
from colipri_training.data.manifest import Correction
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import ManifestError
from colipri_training.data.manifest import has_words
from colipri_training.data.manifest import summarise

REQUIRED = ("id", "image", "patient", "split")
OPTIONAL = ("study", "report", "slope", "intercept", "affine")
LABEL = "label:"
NO_REPORT = "none"

Row = Mapping[str, str | None]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: A .csv or .parquet file.

    Raises:
        ManifestError: If it cannot be used; see the table in `manifest`.
    """
    columns, rows = read_table(path)
    _check_columns(path, columns)
    entries, without_image, without_report = [], [], []
    for number, row in enumerate(rows, start=2):
        if not row["image"]:
            without_image.append(row["id"] or f"row {number}")
            continue
        entry = _entry(row, path, number)
        entries.append(entry)
        if "report" in columns and entry.report is None and not _has_none_on_purpose(row["report"]):
            without_report.append(entry.id)
    return Manifest(entries=tuple(entries), notes=_notes(without_image, without_report))


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, atomically; `read_manifest` reads the same back.

    Args:
        path: A .csv or .parquet file; images in its folder, or below it, are named relative to it.
        manifest: What to write.

    Raises:
        ManifestError: If the suffix is neither.
    """
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(path.suffix.lower())
    if write is None:
        raise ManifestError(_wrong_suffix(path))
    labels = manifest.label_names
    columns = [*REQUIRED, *OPTIONAL, *(LABEL + name for name in labels)]
    rows = [_row(entry, path.absolute().parent, labels) for entry in manifest.entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, path.suffix) as temporary:
        write(temporary, columns, rows)


def read_table(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """Read the columns and rows of a CSV or Parquet file, every cell as text without outer spaces, or None.

    Raises:
        ManifestError: If there is no such file, or it is not what its suffix says.
    """
    read: Callable[[Path], tuple[list[str], list[dict[str, str | None]]]] | None
    read = {".csv": _read_csv, ".parquet": _read_parquet}.get(path.suffix.lower())
    if read is None:
        raise ManifestError(_wrong_suffix(path))
    if not path.is_file():
        msg = f'Expected a table at "{path.name}", found nothing there. Check the path.'
        raise ManifestError(msg)
    return read(path)


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [_checked_row(path, reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f'Expected a CSV table in UTF-8 in "{path.name}", found something else ({error}). Export it again.'
        raise ManifestError(msg) from error
    return columns, rows


def _checked_row(path: Path, line: int, row: Mapping[Any, Any]) -> dict[str, str | None]:
    if None in row or any(value is None for value in row.values()):
        msg = (
            f'The row that ends on line {line} of "{path.name}" has more or fewer cells than there are columns. '
            "Put texts with commas or line breaks between double quotes."
        )
        raise ManifestError(msg)
    return {name: value.strip() for name, value in row.items()}


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        msg = f'Expected a Parquet table in "{path.name}", found something else ({error}). Export it again.'
        raise ManifestError(msg) from error
    types = pyarrow.types
    tests = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    unfit = [f"{field.name} ({field.type})" for field in table.schema if any(test(field.type) for test in tests)]
    if unfit:
        msg = (
            f'Expected texts and numbers in "{path.name}", found other values in the columns {", ".join(unfit)}. '
            "Make one text of each value, such as a report of its parts, and export it again."
        )
        raise ManifestError(msg)
    return list(table.column_names), [{name: _text(value) for name, value in row.items()} for row in table.to_pylist()]


def _text(value: Any) -> str | None:
    """A value of a Parquet table as it would stand in a CSV file; true and false are 1 and 0."""
    if value is None:
        return None
    return str(int(value) if isinstance(value, bool) else value).strip()


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    known = {*REQUIRED, *OPTIONAL}
    unknown = [name for name in columns if name not in known and not name.startswith(LABEL)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if missing or unknown or twice:
        msg = (
            f'"{path.name}" needs the columns {", ".join(REQUIRED)}; it may have {", ".join(OPTIONAL)}, {LABEL}NAME. '
            f"Missing: {_listed(missing)}. Unknown: {_listed(unknown)}. Twice: {_listed(twice)}. "
            "Rename or drop them; `colipri-train manifest` makes such files."
        )
        raise ManifestError(msg)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(name or "a column without a name" for name in columns) or "none"


def _entry(row: Row, path: Path, number: int) -> Entry:
    try:
        labels = {name[len(LABEL) :]: _label(row[name]) for name in row if name.startswith(LABEL) and row[name]}
        correction = _correction(row)
    except ValueError as error:
        msg = f'Row {number} of "{path.name}" (id {row["id"]!r}): {error}'
        raise ManifestError(msg) from error
    report = row.get("report")
    return Entry(
        id=row["id"] or "",
        image=path.parent / (row["image"] or ""),
        patient=row["patient"] or "",
        split=row["split"] or "",
        report=report if has_words(report) else None,
        labels=labels,
        correction=correction,
        study=row.get("study") or "",
    )


def _label(text: str | None) -> int:
    value = float(text or "")
    if value not in (0.0, 1.0):
        msg = f"a label must be 0, 1 or empty, got {text!r}."
        raise ValueError(msg)
    return int(value)


def _correction(row: Row) -> Correction | None:
    slope, intercept, affine = (row.get(name) for name in ("slope", "intercept", "affine"))
    if not (slope or intercept or affine):
        return None
    numbers = tuple(float(number) for number in affine.split()) if affine else None
    return Correction(slope=float(slope or 1.0), intercept=float(intercept or 0.0), affine=numbers)


def _has_none_on_purpose(report: str | None) -> bool:
    return report is None or report.strip().lower() == NO_REPORT


def _notes(without_image: Sequence[str], without_report: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if without_image:
        notes.append(f"{len(without_image)} rows name no image and were skipped: {summarise(without_image)}.")
    if without_report:
        notes.append(
            f"{len(without_report)} reports are empty; their volumes count as image only: {summarise(without_report)}. "
            f'Write "{NO_REPORT}" where that is meant.'
        )
    return tuple(notes)


def _row(entry: Entry, folder: Path, labels: Sequence[str]) -> dict[str, str]:
    image = entry.image.absolute()
    fix = entry.correction
    return {
        "id": entry.id,
        "image": str(image.relative_to(folder) if image.is_relative_to(folder) else image),
        "patient": entry.patient,
        "split": entry.split,
        "study": entry.study,
        "report": entry.report or NO_REPORT,
        "slope": repr(fix.slope) if fix else "",
        "intercept": repr(fix.intercept) if fix else "",
        "affine": " ".join(repr(number) for number in fix.affine) if fix and fix.affine else "",
    } | {LABEL + name: str(entry.labels.get(name, "")) for name in labels}


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: pyarrow.array([row[name] for row in rows], pyarrow.string()) for name in columns})
    pyarrow.parquet.write_table(table, path)


def _wrong_suffix(path: Path) -> str:
    return f'Expected a manifest that ends in .csv or .parquet, found "{path.name}". Rename or convert it.'
