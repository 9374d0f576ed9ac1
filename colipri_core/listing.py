"""What front ends list of findings and of a draft report: rows made from the engine's results, in the same words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import Self

from colipri_core.findings import Findings
from colipri_core.report import Place
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import UNMENTIONED
from colipri_core.report_words import flag_lines
from colipri_core.report_words import flag_words
from colipri_core.report_words import support_lines
from colipri_core.report_words import unmentioned_line
from colipri_core.vocabulary.structures import ENCLOSING

Position = tuple[int, int]
"""Number of the section, number of the sentence in it."""

HIDDEN_AT_FIRST = ENCLOSING
"""Structures whose outline would only frame the picture (our choice)."""


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
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make a row of what `to_json` returned."""
        return cls(**values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRow:
    """A line of a draft.

    Args:
        text: Its words.
        is_heading: Whether it is the name of a section.
        position: Which sentence of the report it is; None for headings and for what cannot be edited.
        flags: Why it needs a second look, in words; empty if nothing speaks against it.
        details: What it rests on, a line each.
        phrase: What to ask `evidence` for when it is clicked.
        place: Where to go when it is clicked and there is no phrase.
    """

    text: str
    is_heading: bool = False
    position: Position | None = None
    flags: str = ""
    details: tuple[str, ...] = ()
    phrase: str | None = None
    place: Place | None = None


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
    by_name = {row.name.casefold(): row for row in rows}
    by_name.update({row.name.casefold(): row for row in newer})
    return tuple(sorted(by_name.values(), key=lambda row: (-row.probability, row.name)))


def matches(text: str, query: str) -> bool:
    """Whether every word of the query occurs in the text (case does not matter)."""
    return all(word in text.casefold() for word in query.casefold().split())


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
    return tuple(_row(sentence, None) for sentence in sentences)


def _row(sentence: ReportSentence, position: Position | None) -> DraftRow:
    return DraftRow(
        text=sentence.text,
        position=position,
        flags=flag_words(sentence.flags),
        details=(*flag_lines(sentence), *support_lines(sentence)),
        phrase=sentence.support.evidence_text,
        place=sentence.place_ras,
    )
