"""What a rule of the report labeller is."""

from __future__ import annotations

import dataclasses

from colipri_core.language.patterns import table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """Phrases that name a finding.

    Args:
        terms: The phrases (see `patterns`).
        near: If given, one of these must stand in the same clause.
        unless: None of these may stand in the same clause.
        but_not: Longer phrases with another meaning; a term that overlaps one does not count.
    """

    terms: tuple[str, ...]
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingRules:
    """How reports speak of one finding.

    Args:
        name: CT-RATE's name.
        rules: Phrases that name it; negation and doubt around them count.
        normal: Phrases that deny it by saying what is normal instead, whatever terms they contain.
    """

    name: str
    rules: tuple[Rule, ...]
    normal: tuple[str, ...] = ()


def rule(*terms: str, near: str = "", unless: str = "", but_not: str = "") -> Rule:
    """Return a rule from phrases separated by semicolons."""
    return Rule(terms=table(*terms), near=table(near), unless=table(unless), but_not=table(but_not))
