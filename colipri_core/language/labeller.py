"""The rule-based labeller: which of the 18 CT-RATE findings a report affirms, doubts or denies, and in which words."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from colipri_core.language.assertions import Assertion
from colipri_core.language.assertions import assertion_in
from colipri_core.language.clauses import Clause
from colipri_core.language.clauses import split_clauses
from colipri_core.language.finding_rules import FINDING_RULES
from colipri_core.language.labels import FindingLabel
from colipri_core.language.labels import Labels
from colipri_core.language.labels import Mention
from colipri_core.language.labels import Support
from colipri_core.language.patterns import any_of
from colipri_core.language.patterns import found
from colipri_core.language.patterns import lowered
from colipri_core.language.rules import FindingRules
from colipri_core.language.sections import SectionName
from colipri_core.language.sentences import split_report

_SILENT = frozenset({SectionName.TECHNIQUE, SectionName.INDICATION, SectionName.COMPARISON})
_WEIGHTS = {Assertion.ABSENT: 0, Assertion.UNCERTAIN: 1, Assertion.PRESENT: 2}


def label_report(report: str) -> Labels:
    """Return what a report says of each finding of CT-RATE.

    A finding is present if any sentence affirms it, else uncertain if any leaves it open, else absent if any denies it;
    a finding no sentence names has the assertion None. Sections on technique, history and comparison do not count.
    """
    supports: dict[str, list[Support]] = {}
    for sentence in split_report(report):
        if sentence.section not in _SILENT:
            for mention in label_sentence(sentence.text):
                supports.setdefault(mention.finding, []).append(Support(sentence=sentence, mention=mention))
    return Labels(findings=tuple(_label(rules.name, supports.get(rules.name, [])) for rules in FINDING_RULES))


@functools.lru_cache(maxsize=65536)
def label_sentence(sentence: str) -> tuple[Mention, ...]:
    """Return what one sentence says of the findings, at most one mention of each: the strongest."""
    clauses = split_clauses(lowered(sentence))
    mentions: list[Mention] = []
    for rules in FINDING_RULES:
        own = [mention for clause in clauses for mention in _mentions(rules, clause)]
        if own:
            mentions.append(max(own, key=lambda mention: _WEIGHTS[mention.assertion]))
    return tuple(mentions)


def main_mention(sentence: str) -> Mention | None:
    """Return what a sentence mainly speaks of: the first of its mentions that affirm most; None without any."""
    mentions = label_sentence(sentence)
    return max(mentions, key=lambda mention: _WEIGHTS[mention.assertion], default=None)


def _mentions(rules: FindingRules, clause: Clause) -> Iterator[Mention]:
    normal = _spans(rules.normal, clause)
    for start, end in normal:
        yield Mention(finding=rules.name, assertion=Assertion.ABSENT, start=start, end=end)
    for rule in rules.rules:
        if (rule.near and not found(rule.near, clause.text)) or found(rule.unless, clause.text):
            continue
        other = [*normal, *_spans(rule.but_not, clause)]
        for start, end in _spans(rule.terms, clause):
            if not any(low < end and start < high for low, high in other):
                assertion = assertion_in(clause, start, end)
                yield Mention(finding=rules.name, assertion=assertion, start=start, end=end)


def _spans(phrases: tuple[str, ...], clause: Clause) -> list[tuple[int, int]]:
    """Return where phrases stand in the sentence."""
    if not phrases:
        return []
    return [
        (clause.start + match.start(), clause.start + match.end()) for match in any_of(phrases).finditer(clause.text)
    ]


def _label(name: str, supports: list[Support]) -> FindingLabel:
    if not supports:
        return FindingLabel(name=name, assertion=None, support=())
    strongest = max((support.mention.assertion for support in supports), key=_WEIGHTS.__getitem__)
    agreeing = tuple(support for support in supports if support.mention.assertion is strongest)
    return FindingLabel(name=name, assertion=strongest, support=agreeing)
