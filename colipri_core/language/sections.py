"""Sections of a report: findings and impression, by their headings, or by the separators of reports without any."""

from __future__ import annotations

import dataclasses
import enum
import re


class SectionName(enum.StrEnum):
    """What a part of a report is."""

    TECHNIQUE = "technique"
    INDICATION = "indication"
    COMPARISON = "comparison"
    FINDINGS = "findings"
    IMPRESSION = "impression"


HEADINGS: dict[SectionName, tuple[str, ...]] = {
    SectionName.TECHNIQUE: ("technique", "procedure", "examination", "exam", "protocol", "method"),
    SectionName.INDICATION: (
        "clinical indication", "clinical history", "clinical information", "indication", "history",
        "reason for examination", "reason for exam", "reason for study",
    ),
    SectionName.COMPARISON: ("comparison", "comparisons", "prior studies", "previous examination"),
    SectionName.FINDINGS: ("findings", "finding", "report", "description", "ct findings", "body of report"),
    SectionName.IMPRESSION: (
        "impression", "impressions", "conclusion", "conclusions", "summary", "result", "results", "opinion",
        "interpretation",
    ),
}  # fmt: skip
"""Headings of each section, as a line of their own or before a colon."""

_NAMES = {heading: name for name, headings in HEADINGS.items() for heading in headings}
_ALTERNATIVES = "|".join(sorted(map(re.escape, _NAMES), key=len, reverse=True))
# "IMPRESSION:" and "Impression: text" anywhere after a sentence's end; "Impression" without a colon on its own line.
_HEADING = re.compile(
    rf"(?:^|(?<=[.!?\"]\s)|(?<=\n))[ \t#*]*(?P<name>{_ALTERNATIVES})[ \t*]*(?::[ \t*]*|[ \t]*(?:\n|$))",
    re.IGNORECASE | re.MULTILINE,
)
# Reports without headings set their impression off by quotes: a quote that neither touches words on both sides nor
# encloses a word or two inside a sentence.
QUOTED_WORDS = r"\"[^\".\n]{1,40}\"(?=[ ,]+[a-z])"
_QUOTE = re.compile(rf"(?P<words>{QUOTED_WORDS})|(?<=[.?!;]\s)\"|(?<=[.?!;])\"(?=\s)")


_CURLY_QUOTES = {0x201C: '"', 0x201D: '"'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report.

    Args:
        name: What it is.
        start: Position of its text in the report.
        text: Its words, without the heading, with straight quotes.
    """

    name: SectionName
    start: int
    text: str


def split_sections(report: str) -> tuple[Section, ...]:
    """Return the sections of a report in order; text before any heading is findings.

    Without a single heading, what follows the first quote used as a separator is the impression (the form in which
    CT-RATE's reports are often passed on). Empty sections are left out.
    """
    report = report.translate(_CURLY_QUOTES)
    headings = list(_HEADING.finditer(report))
    if not headings:
        return _unheaded(report)
    bounds = [(SectionName.FINDINGS, 0, headings[0].start())]
    ends = [match.start() for match in headings[1:]] + [len(report)]
    bounds += [(_NAMES[match["name"].lower()], match.end(), end) for match, end in zip(headings, ends, strict=True)]
    return tuple(section for name, start, end in bounds for section in _section(report, name, start, end))


def findings_and_impression(report: str) -> tuple[str, str]:
    """Return the text of the findings and of the impression, each empty where there is none."""
    parts = split_sections(report)
    findings = " ".join(part.text for part in parts if part.name is SectionName.FINDINGS)
    return findings, " ".join(part.text for part in parts if part.name is SectionName.IMPRESSION)


def _unheaded(report: str) -> tuple[Section, ...]:
    separators = [match.start() for match in _QUOTE.finditer(report) if not match["words"]]
    cut = separators[0] if separators else len(report)
    return (
        *_section(report, SectionName.FINDINGS, 0, cut),
        *_section(report, SectionName.IMPRESSION, cut, len(report)),
    )


def _section(report: str, name: SectionName, start: int, end: int) -> tuple[Section, ...]:
    text = report[start:end]
    kept = text.strip()
    if not kept.strip('" '):
        return ()
    return (Section(name=name, start=start + text.index(kept[0]), text=kept),)
