"""A draft report in words: what supports a sentence, and the whole as plain text or Markdown. Every form says DRAFT."""

from __future__ import annotations

import re
from collections.abc import Sequence

from colipri_core.findings import Finding
from colipri_core.language.assertions import Assertion
from colipri_core.report import RESEARCH_USE
from colipri_core.report import Flag
from colipri_core.report import Place
from colipri_core.report import Report
from colipri_core.report import ReportSentence

UNMENTIONED = "Likely by the model, but not mentioned"
"""Heading of the findings above the threshold that no sentence names."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


def title(report: Report) -> str:
    """Return the heading of a report."""
    return f"{report.status} report: {report.case}"


def notices(report: Report) -> tuple[str, ...]:
    """Return what stands on every export: draft and research use, the model, and the warnings about the input."""
    return (RESEARCH_USE, f"Model: {report.provenance.model.notice}", *report.provenance.warnings)


def support_lines(sentence: ReportSentence) -> tuple[str, ...]:
    """Return what a sentence rests on, a line each: finding, second opinion, place, source, the model's own words.

    Args:
        sentence: The sentence.
    """
    support = sentence.support
    lines = [_finding_line(sentence)]
    if support.probability is not None:
        lines.append(f'Second opinion: {support.probability:.2f} against "{support.opposite}"')
    if sentence.place_ras is not None:
        side = f", {support.side}" if support.side is not None else ""
        place = "Most suspicious place" if support.assertion is Assertion.ABSENT else "Place"
        lines.append(f"{place}: {place_text(sentence.place_ras)}{side}{_distance(sentence)}")
    lines.append(f"Source: {support.source}")
    if sentence.original is not None:
        lines.append(f"The model's own words: {sentence.original.text}")
    return tuple(lines)


def flag_lines(sentence: ReportSentence) -> tuple[str, ...]:
    """Return each flag of a sentence with its meaning."""
    return tuple(f"{flag}: {flag.meaning}" for flag in sentence.flags)


def flag_words(flags: Sequence[Flag]) -> str:
    """Return flags as a short list of words."""
    return ", ".join(flags)


def place_text(place: Place) -> str:
    """Return a position as text with its frame and unit."""
    r, a, s = (f"{value:.0f}" for value in place)
    return f"R {r}, A {a}, S {s} mm"


def unmentioned_line(finding: Finding) -> str:
    """Return a finding that no sentence names, with its probability."""
    calibrated = "calibrated" if finding.calibrated else "uncalibrated"
    return f"{finding.name}, probability {finding.probability:.2f}, {calibrated}"


def as_text(report: Report) -> str:
    """Return a report as plain text, as it goes to the clipboard: flags stand in brackets behind their sentence.

    Args:
        report: The report.
    """
    parts = [title(report), "\n".join(notices(report))]
    for section in report.sections:
        lines = [section.name, *(_plain(sentence) for sentence in section.sentences)]
        parts.append("\n".join(lines))
    if report.unmentioned:
        parts.append("\n".join([UNMENTIONED, *map(unmentioned_line, report.unmentioned)]))
    return "\n\n".join(parts) + "\n"


def as_markdown(report: Report) -> str:
    """Return a report as Markdown, with the support and flags of every sentence below it.

    Args:
        report: The report.
    """
    lines = [f"# {_escaped(title(report))}", ""]
    lines += [f"> {_escaped(notice)}  " for notice in notices(report)]
    for section in report.sections:
        lines += ["", f"## {_escaped(section.name)}", ""]
        for sentence in section.sentences:
            lines.append(f"- {_escaped(sentence.text)}")
            lines += [f"  - **{_escaped(line)}**" for line in flag_lines(sentence)]
            lines += [f"  - {_escaped(line)}" for line in support_lines(sentence)]
    if report.unmentioned:
        lines += ["", f"## {UNMENTIONED}", ""]
        lines += [f"- {_escaped(unmentioned_line(finding))}" for finding in report.unmentioned]
    return "\n".join(lines) + "\n"


def _plain(sentence: ReportSentence) -> str:
    return f"{sentence.text} [{flag_words(sentence.flags)}]" if sentence.flags else sentence.text


def _finding_line(sentence: ReportSentence) -> str:
    support = sentence.support
    if sentence.finding is None:
        return "Finding: none of those the model is asked about"
    calibrated = "calibrated" if support.calibrated else "uncalibrated"
    known = support.finding_probability
    probability = "" if known is None else f", probability {known:.2f} ({calibrated})"
    return f"Finding: {sentence.finding}, {support.assertion}{probability}"


def _distance(sentence: ReportSentence) -> str:
    distance = sentence.support.distance_mm
    return "" if distance is None else f"; the decoder looked {distance:.0f} mm from there"


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)
