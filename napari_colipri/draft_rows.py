"""What the report panel lists: rows made from a draft report, without Qt or napari."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from colipri_core.report import Place
from colipri_core.report import Report
from colipri_core.report import ReportSentence
from colipri_core.report_words import UNMENTIONED
from colipri_core.report_words import flag_lines
from colipri_core.report_words import flag_words
from colipri_core.report_words import support_lines
from colipri_core.report_words import unmentioned_line

Position = tuple[int, int]
"""Number of the section, number of the sentence in it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRow:
    """A line of the report panel.

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
