"""Composing a draft from findings, for models without a report decoder: plain sentences, or those of similar cases.

A finding at or above the threshold is affirmed, with doubt below one half; one below the threshold is denied. Where a
case store is given, an affirmed finding is worded as the best-matching stored sentence that affirms it and nothing the
model denies. All of this is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from colipri_core.findings import Finding
from colipri_core.inference.report_lines import Line
from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_sentence
from colipri_core.language.opposites import opposite
from colipri_core.language.sections import SectionName
from colipri_core.language.sentences import normalise
from colipri_core.report import NEAREST_SENTENCES
from colipri_core.report import StoredSentence
from colipri_core.vocabulary.findings import find_concept

SOURCE = "findings"
EVEN = 0.5
"""Below this probability a finding is only called possible."""

NOTHING = "No finding reached the threshold."


FindSentences = Callable[[int], Sequence[StoredSentence]]
"""Returns at most that many sentences of earlier reports, the best match first."""


def compose(findings: Sequence[Finding], *, threshold: float, find: FindSentences | None = None) -> list[Line]:
    """Return the lines of a draft: what is there, most probable first; what is not; the impression.

    Args:
        findings: Known findings with their probabilities.
        threshold: Probability from which a finding counts as there.
        find: Finds sentences of earlier reports; None words all findings plainly.
    """
    there = sorted((item for item in findings if item.probability >= threshold), key=lambda item: -item.probability)
    found = {item.name for item in there}
    stored = _stored(find(NEAREST_SENTENCES), found) if find is not None else {}
    lines = [stored.get(item.name) or _line(_affirmed(item)) for item in there]
    lines += [_line(_denied(item)) for item in findings if item.name not in found]
    summary = [_summarised(item) for item in there] or [NOTHING]
    return lines + [_line(text, SectionName.IMPRESSION) for text in summary]


def _line(text: str, section: SectionName = SectionName.FINDINGS) -> Line:
    return Line(section=section, text=normalise(text), source=SOURCE)


def term_of(name: str) -> str:
    """Return the noun phrase for a finding: the usual term of a known one, else the text that was asked for."""
    concept = find_concept(name)
    return concept.terms[0] if concept is not None else name


def affirmation(name: str) -> str:
    """Return the plain sentence that affirms a finding."""
    return opposite(f"No {term_of(name)}.") or f"There is {term_of(name)}."


def _affirmed(item: Finding) -> str:
    return f"Possible {term_of(item.name)}" if item.probability < EVEN else affirmation(item.name)


def _denied(item: Finding) -> str:
    return f"No {term_of(item.name)}"


def _summarised(item: Finding) -> str:
    return f"Possible {term_of(item.name)}" if item.probability < EVEN else term_of(item.name)


def _stored(sentences: Sequence[StoredSentence], found: set[str]) -> Mapping[str, Line]:
    """For each finding that is there, the nearest stored sentence that affirms it and nothing that is not there."""
    lines: dict[str, Line] = {}
    for sentence in sentences:
        text = normalise(sentence.text)
        mentions = label_sentence(text)
        names = [mention.finding for mention in mentions if mention.assertion is Assertion.PRESENT]
        if len(names) == len(mentions) and set(names) <= found:
            for name in names:
                line = Line(section=SectionName.FINDINGS, text=text, source=f"similar case {sentence.case}")
                lines.setdefault(name, line)
    return lines
