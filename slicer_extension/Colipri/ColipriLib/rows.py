"""Lines of the panels' lists, made from the core's results; plain values that are kept with the scene as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any
from typing import Self

import numpy as np

from colipri_core.cases import Match
from colipri_core.findings import Findings
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import UNMENTIONED
from colipri_core.report_words import flag_lines
from colipri_core.report_words import flag_words
from colipri_core.report_words import support_lines
from colipri_core.report_words import unmentioned_line
from colipri_core.segmentation import Segmentation

Place = tuple[float, float, float]

Position = tuple[int, int]
"""Number of the section, number of the sentence in it."""

HIDDEN_AT_FIRST = frozenset({"body"})
"""Structures that enclose the others; showing them at once would only frame the picture (our choice)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingRow:
    """A line of the findings.

    Args:
        name: The finding, or the phrase that was asked for.
        code: Code with its scheme, empty for a phrase.
        probability: In [0, 1].
        calibrated: Whether the probability was calibrated.
        asked: Whether the user asked for it.
    """

    name: str
    code: str
    probability: float
    calibrated: bool
    asked: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make a row of what `to_json` returned."""
        return cls(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureRow:
    """A line of the structures.

    Args:
        label: Value in the labelmap.
        name: Name shown to people.
        code: Code with its scheme, may be empty.
        color: Red, green, blue in 0..255.
        volume_ml: Volume in mL; 0 if it was not found.
        place: A voxel in its midst, RAS+ mm in the world; None if it was not found.
    """

    label: int
    name: str
    code: str
    color: tuple[int, int, int]
    volume_ml: float
    place: Place | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make a row of what `to_json` returned."""
        place = values["place"]
        return cls(**{**values, "color": tuple(values["color"]), "place": tuple(place) if place else None})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRow:
    """A line of the report.

    Args:
        text: Its words.
        is_heading: Whether it is the name of a section.
        position: Which sentence it is; None for what cannot be edited.
        flags: Why it needs a second look, in words.
        details: What it rests on, a line each.
        phrase: What to ask `evidence` for when it is clicked.
        place: Where to go when there is no phrase, RAS+ mm.
    """

    text: str
    is_heading: bool = False
    position: Position | None = None
    flags: str = ""
    details: tuple[str, ...] = ()
    phrase: str | None = None
    place: tuple[float, float, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchRow:
    """A line of the similar cases.

    Args:
        match: The stored case.
        shared: Its findings that the current scan has too.
        other: Its findings that the current scan does not have.
    """

    match: Match
    shared: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def details(self) -> tuple[str, ...]:
        """What is told of it, a line each."""
        place = self.match.place
        lines = [
            f"Cosine distance {self.match.distance:.4f}: ranks cases, is no probability",
            f"Shared with this scan: {', '.join(self.shared) or 'nothing known'}",
            f"Not seen here: {', '.join(self.other) or 'nothing'}",
        ]
        return (*lines, *([f"Nearest place: {place.name}"] if place is not None and place.name else []))


def finding_rows(findings: Findings, *, asked: bool = False) -> tuple[FindingRow, ...]:
    """Make rows of findings.

    Args:
        findings: Result of a classification.
        asked: Whether the user asked for these phrases.
    """
    return tuple(
        FindingRow(
            name=finding.name,
            code=finding.code,
            probability=finding.probability,
            calibrated=finding.calibrated,
            asked=asked,
        )
        for finding in findings
    )


def merged(rows: Iterable[FindingRow], newer: Iterable[FindingRow]) -> tuple[FindingRow, ...]:
    """Sort rows by probability, highest first; a newer row replaces the one of the same name."""
    by_name = {row.name.casefold(): row for row in (*rows, *newer)}
    return tuple(sorted(by_name.values(), key=lambda row: (-row.probability, row.name)))


def structure_rows(segmentation: Segmentation) -> tuple[StructureRow, ...]:
    """Make rows of a segmentation; a look at every voxel, so do it on the worker.

    Args:
        segmentation: The outlined structures.
    """
    volumes = segmentation.volumes_ml()
    places = _places(segmentation)
    return tuple(
        StructureRow(
            label=segment.label,
            name=segment.name,
            code=segment.code,
            color=segment.color,
            volume_ml=volumes[segment.name],
            place=places.get(segment.label),
        )
        for segment in segmentation.segments
    )


def report_rows(report: Report) -> tuple[DraftRow, ...]:
    """Make rows of a report: headings, sentences, and at the end what no sentence names.

    Args:
        report: The report, with its edits.
    """
    rows = []
    for number, section in enumerate(report.sections):
        rows.append(DraftRow(text=section.name, is_heading=True))
        rows += [_row(sentence, (number, index)) for index, sentence in enumerate(section.sentences)]
    if report.unmentioned:
        rows.append(DraftRow(text=UNMENTIONED, is_heading=True))
        rows += [DraftRow(text=unmentioned_line(item), phrase=item.name) for item in report.unmentioned]
    return tuple(rows)


def streamed_rows(sentences: Iterable[ReportSentence]) -> tuple[DraftRow, ...]:
    """Make rows of sentences of a report that is still being written; they cannot be edited yet.

    Args:
        sentences: What was written so far.
    """
    return tuple(_row(sentence, None) for sentence in tuple(sentences))


def _places(segmentation: Segmentation) -> dict[int, Place]:
    """A voxel in the midst of each label: the one nearest to the centroid of its largest slice along the last axis.

    A centroid of the whole may lie outside a bent structure; this voxel never does.
    """
    labels = [segment.label for segment in segmentation.segments]
    size = max(labels, default=0) + 1
    planes = np.moveaxis(segmentation.labelmap, 2, 0)
    areas = np.stack([np.bincount(plane.ravel(), minlength=size)[:size] for plane in planes])
    found = {}
    for label in labels:
        k = int(np.argmax(areas[:, label]))
        if areas[k, label]:
            points = np.argwhere(planes[k] == label)
            i, j = points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]
            r, a, s = (float(value) for value in segmentation.geometry.index_to_world((i, j, k)))
            found[label] = (r, a, s)
    return found


def _row(sentence: ReportSentence, position: Position | None) -> DraftRow:
    return DraftRow(
        text=sentence.text,
        position=position,
        flags=flag_words(sentence.flags),
        details=(*flag_lines(sentence), *support_lines(sentence)),
        phrase=sentence.support.evidence_text,
        place=sentence.place_ras,
    )
