"""Manifest: which volumes a data set has, what is said of them, and which split each patient is in.

What is wrong in a way that would spoil an experiment stops the reading; what concerns one row is noted and passed over.

| found | answer |
| --- | --- |
| no such file, not CSV or Parquet, missing or unknown columns, a row of the wrong length | `ManifestError` |
| an id, or an image, that occurs twice | `ManifestError` |
| a patient in two splits, an unknown split, an empty id or patient | `ManifestError` |
| a label that is not 0, 1 or empty; a slope, intercept or affine that is no number | `ManifestError` |
| an empty report (`none`, or null in Parquet, says that there is none on purpose) | note; read as image only |
| labels or a report without an image | note; the row is skipped |
| an image that cannot be read | found by `prepare`, which notes it and goes on |
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from colipri_core.errors import InputError

SPLITS = ("train", "validation", "test")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_SHOWN = 5


class ManifestError(InputError):
    """The manifest cannot be used; the message names rows and remedy."""

    code = "bad-manifest"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correction:
    """What a file's own header leaves out.

    Args:
        slope: Factor from stored values to HU.
        intercept: Offset to HU.
        affine: Voxel -> RAS+ mm, 16 numbers row by row; None takes the file's own.
    """

    slope: float = 1.0
    intercept: float = 0.0
    affine: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.slope, self.intercept, *(self.affine or ())))):
            msg = f"Slope, intercept and affine must be finite numbers, got {dataclasses.astuple(self)}."
            raise ValueError(msg)
        if self.slope == 0:
            msg = "A rescale slope must not be 0."
            raise ValueError(msg)
        if self.affine is not None and len(self.affine) != 16:
            msg = f"An affine needs 16 numbers, got {len(self.affine)}."
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One volume of a data set.

    Args:
        id: Name of the volume, unique in the manifest and fit for a file name.
        image: File or DICOM folder.
        patient: Whose it is; a patient is in one split only.
        split: "train", "validation" or "test".
        report: Its report; None where there is none.
        labels: 1 present, 0 absent, by name; unknown ones are left out.
        correction: What the file's header leaves out; None if it is right.
        study: Which study it is a reconstruction of; empty if it is the only one of its own.
    """

    id: str
    image: Path
    patient: str
    split: str
    report: str | None = None
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    correction: Correction | None = None
    study: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The volumes of a data set.

    Args:
        entries: One for each volume.
        notes: What was passed over, and why.

    Raises:
        ManifestError: If an id or image occurs twice, a patient is in two splits, or a field has no meaning.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.entries:
            msg = "The manifest names no volume. " + " ".join(self.notes[:_SHOWN])
            raise ManifestError(msg.strip())
        _check_fields(self.entries)
        _check_unique((entry.id.lower() for entry in self.entries), "id", "Give each volume its own id.")
        images = (os.path.realpath(entry.image) for entry in self.entries)  # a link or ".." is another name, no image
        _check_unique(images, "image", "Name each image once; it would count twice, or leak between splits.")
        _check_patients(self.entries)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of all labels, in the order they first occur."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in entry.labels))


def join_report(findings: str | None, impression: str | None) -> str | None:
    """Make one text of the two sections a report has; None if both are empty or say that nothing was given.

    Args:
        findings: Text of the findings.
        impression: Text of the impression.
    """
    sections = {"Findings": findings, "Impression": impression}
    given = {name: (text or "").strip() for name, text in sections.items()}
    return "\n".join(f"{name}: {text}" for name, text in given.items() if has_words(text)) or None


def has_words(text: str | None) -> bool:
    """Whether a report says anything: not empty, "nan" or "Not given."."""
    bare = (text or "").strip().strip(".").lower()
    return any(letter.isalpha() for letter in bare) and bare not in {"nan", "none", "null", "not given", "n/a"}


def summarise(names: Sequence[str]) -> str:
    """List the first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _check_fields(entries: Iterable[Entry]) -> None:
    for entry in entries:
        if not _ID.fullmatch(entry.id):
            msg = f"Expected an id of letters, digits, dots, dashes and underscores, found {entry.id!r}. Rename it."
            raise ManifestError(msg)
        if not entry.patient:
            msg = f'Volume "{entry.id}" names no patient. Every volume needs one, to keep patients in one split.'
            raise ManifestError(msg)
        if entry.split not in SPLITS:
            msg = f'Volume "{entry.id}" is in the split {entry.split!r}. Expected one of {", ".join(SPLITS)}.'
            raise ManifestError(msg)
        wrong = {name: value for name, value in entry.labels.items() if value not in (0, 1)}
        if wrong:
            msg = f'Volume "{entry.id}" has the labels {wrong}. Expected 0 or 1; leave unknown ones empty.'
            raise ManifestError(msg)


def _check_unique(values: Iterable[str], what: str, remedy: str) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        msg = f"Expected every {what} once, found {len(repeated)} more than once: {summarise(repeated)}. {remedy}"
        raise ManifestError(msg)


def _check_patients(entries: Iterable[Entry]) -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        splits[entry.patient].add(entry.split)
    torn = [f"{patient} ({', '.join(sorted(found))})" for patient, found in splits.items() if len(found) > 1]
    if torn:
        msg = (
            f"Expected every patient in one split, found {len(torn)} in several: {summarise(torn)}. "
            "Move all volumes of a patient to the same split."
        )
        raise ManifestError(msg)
