"""Whether a sentence affirms, doubts or denies a term it contains.

The rule: within the term's clause, a cue before it, after it or between its words decides; the reach of a cue before it
ends at words such as "other than". A denial outweighs a doubt, unless the doubt contains it ("cannot be excluded").
"""

from __future__ import annotations

import enum
import re

from colipri_core.language import cues
from colipri_core.language.clauses import Clause
from colipri_core.language.clauses import split_clauses
from colipri_core.language.patterns import any_of
from colipri_core.language.patterns import lowered

_INNER_DENIAL = re.compile(r"\b(?:not|no|without|never)\b")
_JOINED_DENIAL = re.compile(r"\s*-\s*no\b")  # "Effusion - no thickening is seen" denies both


class Assertion(enum.StrEnum):
    """What a text says of a finding."""

    PRESENT = "present"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"


def assertion_of(sentence: str, start: int, end: int) -> Assertion:
    """Return what a sentence says of the term at `sentence[start:end]`.

    Raises:
        ValueError: If that is no stretch of the sentence.
    """
    if not 0 <= start < end <= len(sentence):
        msg = f"Expected a stretch of a sentence of {len(sentence)} characters, got [{start}, {end})."
        raise ValueError(msg)
    text = lowered(sentence)
    clause = next(clause for clause in split_clauses(text) if start < clause.end)
    return assertion_in(clause, start, end)


def assertion_in(clause: Clause, start: int, end: int) -> Assertion:
    """The same for a clause (in small letters) that holds the term; positions are the sentence's."""
    within = clause.text[start - clause.start : end - clause.start]
    before, after = clause.text[: start - clause.start], clause.text[max(0, end - clause.start) :]
    if _JOINED_DENIAL.match(after):
        return Assertion.ABSENT
    if _doubted_after(after):
        return Assertion.UNCERTAIN
    if _INNER_DENIAL.search(within) or _cue_before(before, cues.DENY_BEFORE) or _cue_after(after, cues.DENY_AFTER):
        return Assertion.ABSENT
    if any_of(cues.DOUBT_BEFORE).search(before):
        return Assertion.UNCERTAIN
    return Assertion.PRESENT


def _doubted_after(after: str) -> bool:
    return bool(re.match(r"[^.(]*\?", after) or any_of(cues.DOUBT_AFTER).search(after))


def _cue_before(before: str, phrases: tuple[str, ...]) -> bool:
    innocent = [match.span() for match in any_of(cues.DENY_NOTHING).finditer(before)]
    ends = [match.end() for match in any_of(cues.SCOPE_ENDS).finditer(before)]
    reach = max(ends, default=0)
    return any(
        match.start() >= reach and not any(low <= match.start() < high for low, high in innocent)
        for match in any_of(phrases).finditer(before)
    )


def _cue_after(after: str, phrases: tuple[str, ...]) -> bool:
    innocent = [match.span() for match in any_of(cues.DENY_NOTHING).finditer(after)]
    return any(
        not any(low < match.end() and match.start() < high for low, high in innocent)
        for match in any_of(phrases).finditer(after)
    )
