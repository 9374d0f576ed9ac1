"""Writing a draft report as Markdown, plain text, JSON, HTML with key images, or DICOM SR; always atomically."""

from __future__ import annotations

import os
from pathlib import Path

from colipri_core.errors import InputError
from colipri_core.io.atomic import atomic_file
from colipri_core.io.atomic import write_json
from colipri_core.io.report_html import FindEvidence
from colipri_core.io.report_html import as_html
from colipri_core.io.suffixes import DICOM_SUFFIX
from colipri_core.io.suffixes import REPORT_SUFFIXES
from colipri_core.io.suffixes import matching_suffix
from colipri_core.report import Report
from colipri_core.report_words import as_markdown
from colipri_core.report_words import as_text
from colipri_core.volume import Volume


def check_report_output(path: str | os.PathLike[str], *, source: Volume | None) -> None:
    """Refuse what `write_report` would refuse, as far as it is known before there is a report.

    Args:
        path: File to be written.
        source: The CT to be reported on.

    Raises:
        ValueError: If the suffix is unknown.
        UnsupportedVolumeError: If .dcm is asked for and the DICOM files of the source are gone.
        MissingDependencyError: If .dcm is asked for and highdicom is not installed.
    """
    target = Path(path)
    if matching_suffix(target, REPORT_SUFFIXES) == DICOM_SUFFIX:
        from colipri_core.io.dicom_sr import check_dicom_sr

        check_dicom_sr(target.name, source)


def write_report(
    report: Report,
    path: str | os.PathLike[str],
    *,
    source: Volume | None = None,
    evidence: FindEvidence | None = None,
) -> Path:
    """Write a draft report, with the reader's edits, in the format of the suffix.

    Args:
        report: The report.
        path: File ending in .md, .txt, .json, .html or .dcm (DICOM SR, unverified).
        source: The CT it was drafted on: for the pictures of .html, and for the images .dcm refers to.
        evidence: Makes the heat maps of .html; `session.evidence`.

    Returns:
        The path written.

    Raises:
        ValueError: If the suffix is unknown or the folder does not exist.
        InputError: If the report has no sentence.
        MissingDependencyError: If .dcm is asked for and highdicom is not installed.
    """
    target = Path(path)
    suffix = matching_suffix(target, REPORT_SUFFIXES)
    if not len(report):
        msg = (
            f'Cannot write "{target.name}": expected a report with at least one sentence, found an empty draft. '
            "Draft the report again, or add a sentence."
        )
        raise InputError(msg)
    if suffix == DICOM_SUFFIX:
        from colipri_core.io.dicom_sr import write_dicom_sr

        write_dicom_sr(report, target, source=source)
    elif suffix == ".json":
        write_json(target, report.to_json())
    else:
        _write_text(target, suffix, _text(report, suffix, source, evidence))
    return target


def _text(report: Report, suffix: str, source: Volume | None, evidence: FindEvidence | None) -> str:
    if suffix == ".html":
        return as_html(report, volume=source, evidence=evidence)
    return as_markdown(report) if suffix == ".md" else as_text(report)


def _write_text(path: Path, suffix: str, text: str) -> None:
    with atomic_file(path, suffix) as temporary:
        temporary.write_text(text, encoding="utf-8")
