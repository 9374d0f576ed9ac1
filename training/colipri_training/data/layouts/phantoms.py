"""The folder that `colipri-train phantoms` writes, with its own manifest."""

from __future__ import annotations

from pathlib import Path

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import ManifestError
from colipri_training.data.manifest import join_report
from colipri_training.data.manifest_files import read_table
from colipri_training.phantoms.dataset import column_of


def phantoms(folder: Path) -> Manifest:
    """Make the manifest of a folder of phantoms.

    Args:
        folder: Where `colipri-train phantoms` wrote.

    Raises:
        ManifestError: If it holds no finished phantoms.
    """
    columns, rows = read_table(folder / "manifest.csv")
    needed = {"image", "patient", "split", "findings", "impression", *map(column_of, CT_RATE_FINDINGS)}
    missing = sorted(needed - set(columns))
    if missing:
        msg = f'"{folder.name}" was not written by `colipri-train phantoms`: its manifest lacks {", ".join(missing)}.'
        raise ManifestError(msg)
    return Manifest(
        entries=tuple(
            Entry(
                id=row["patient"] or "",
                image=folder / (row["image"] or ""),
                patient=row["patient"] or "",
                split=row["split"] or "",
                report=join_report(row["findings"], row["impression"]),
                labels={name: int(row[column_of(name)] or "") for name in CT_RATE_FINDINGS},
            )
            for row in rows
        )
    )
