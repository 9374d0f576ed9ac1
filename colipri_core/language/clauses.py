"""Clauses: the stretches of a sentence that a negation may reach over.

A sentence is cut where it must be ("but", a semicolon, "there is" in its middle), and once between any two of its
verbs, at the strongest joint there: "Aeration is normal and no nodule is detected" has two clauses, "No nodule, mass or
infiltration is detected" has one. The joints and their strength are our choice.
"""

from __future__ import annotations

import dataclasses
import itertools
import re

_HARD = re.compile(
    r"[;:](?=\s)|\s(?:but|however|although|though|whereas|while|except|nevertheless|yet|on which|in which)\b"
    r"|,?\s(?:and\s)?(?=there (?:is|are|was|were)\b)|,\s(?:and\s)?(?=(?:no|not)\b)|\.\s"
    r"|,\s(?=(?:consistent|compatible|in keeping|in line) with\b|suggest|suspicious|indicat|represent|evaluated)"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|shows?|showed|appears?|appeared|can|cannot|could|may|might|should|will|becomes?"
    r"|demonstrates?|contains?|involves?|draws?|continues?|reach(?:es)?|extends?|suggests?|measures?|lies?)\b"
)
# "X, which was seen before, was not observed": the relative clause stands inside the main one.
_INSERTED = re.compile(r",\s(?:which|who|whose)\b[^,;]*(?=,\s(?:is|are|was|were|has|have|could|cannot)\b)")
# "In the left lung, no nodule is seen" is one clause.
_PLACE = re.compile(r"(?:in|on|at|within)\s[^,;:]*")
# From strong to weak: the strongest joint between two verbs is where the second clause starts.
_JOINTS = tuple(
    re.compile(joint)
    for joint in (
        r",?\s(?:and|or)\s(?=(?:no|there|it|they|this|these|the)\b)",
        r",\s(?=(?:there|it|they|this|these|some|the (?:largest|biggest))\b)",
        r",\s(?:and|or|which|where|whose|as|because|since|so|some of which|the largest of which)\b",
        r"\s(?:which|where|whose|because|since|as|when|if)\b",
        r",\s",
        r"\s(?:and|or)\s",
        r"\s(?=in the|with\b)",
    )
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clause:
    """A part of a sentence.

    Args:
        start: Its first character's position in the sentence.
        text: Its words.
    """

    start: int
    text: str

    @property
    def end(self) -> int:
        """Position after the last character."""
        return self.start + len(self.text)


def split_clauses(sentence: str) -> tuple[Clause, ...]:
    """Return the clauses of a sentence (in small letters).

    A relative clause inside another is a clause of its own, after the others; blanks stand in its place.
    """
    inserted = tuple(Clause(start=match.start(), text=match.group()) for match in _INSERTED.finditer(sentence))
    main = _INSERTED.sub(lambda match: " " * len(match.group()), sentence)
    cuts = {match.start() for match in _HARD.finditer(main) if not _PLACE.fullmatch(main[: match.start()])}
    for first, second in itertools.pairwise(_verb_groups(main)):
        between = range(first[1], second[0])
        if not any(cut in between for cut in cuts):
            cut = _joint(main, between)
            if cut is not None:
                cuts.add(cut)
    bounds = [0, *sorted(cuts - {0}), len(main)]
    return (*(Clause(start=start, text=main[start:end]) for start, end in itertools.pairwise(bounds)), *inserted)


def _verb_groups(sentence: str) -> list[tuple[int, int]]:
    """Return where the verbs are; auxiliaries side by side ("could not be") are one."""
    groups: list[tuple[int, int]] = []
    for match in _VERB.finditer(sentence):
        if groups and len(sentence[groups[-1][1] : match.start()].split()) <= 1:
            groups[-1] = (groups[-1][0], match.end())
        else:
            groups.append(match.span())
    return groups


def _joint(sentence: str, between: range) -> int | None:
    for joint in _JOINTS:
        places = [match.start() for match in joint.finditer(sentence, between.start, between.stop)]
        if places:
            return places[-1]
    return None


def has_verb(sentence: str) -> bool:
    """Whether a sentence (in small letters) has one of the verbs that clauses are told apart by."""
    return bool(_VERB.search(sentence))
