"""How a finding is put to the model: phrasings of its presence and of its absence.

A zero-shot score compares an image with both sides, so each side is an ensemble: known findings through templates times
their terms, a free phrase through the same templates, a sentence as it stands. The first template is the "short"
wording of the published model's card; the others are CT-CLIP's and the usual report sentences (the set is our choice,
COLIPRI's own prompts are not published).
"""

from __future__ import annotations

import dataclasses
import re

from colipri_core.vocabulary.findings import find_concept

PRESENT_TEMPLATES: tuple[str, ...] = ("{Term} present", "{Term} is present.", "There is {term}.")
ABSENT_TEMPLATES: tuple[str, ...] = ("No {term} present", "{Term} is not present.", "There is no {term}.")

MOST_CHARACTERS = 2_000
"""Characters of one phrase or sentence (our choice); a text encoder reads the first few hundred."""

_NEGATION = re.compile(r"^(?:there (?:is|are) )?(?:no|without)\b\s*(?:evidence of\s+)?", re.IGNORECASE)
_EXISTENCE = re.compile(r"^there (?:is|are)\s+(?:an?\s+|some\s+)?", re.IGNORECASE)
_COPULA = re.compile(r"\b(is|are|was|were|ha(?:s|ve)(?=(?: not)? been))\b(\s+not\b)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """Two sides of one question.

    Args:
        present: Texts that hold when the finding is there.
        absent: Texts that hold when it is not.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]

    def swapped(self) -> Wording:
        """The opposite question."""
        return Wording(present=self.absent, absent=self.present)


def wording(text: str) -> Wording:
    """Return the texts to ask a model for a finding, a phrase or a sentence.

    The rule, in this order (our choice):

    1. A known finding or one of its terms: all its terms in all templates.
    2. "No X", "There is no X", "Without X": the question for X with its sides exchanged.
    3. "There is X": the question for X.
    4. A sentence "X is Y" (one with is, are, was, were, has been or have been): itself against "X is not Y", and
       the other way round.
    5. Anything else is a noun phrase and goes through the templates.

    Args:
        text: What was asked for.

    Raises:
        ValueError: If the text is empty or too long.
    """
    check_length(text)
    phrase = " ".join(text.split()).rstrip(".;, ")
    if not phrase:
        msg = "A finding needs a name or a phrase, got empty text."
        raise ValueError(msg)
    concept = find_concept(phrase)
    if concept is not None:
        return _templated(concept.terms)
    for pattern, negated in ((_NEGATION, True), (_EXISTENCE, False)):
        rest = pattern.sub("", phrase, count=1)
        if rest and rest != phrase:
            question = wording(rest)
            return question.swapped() if negated else question
    if _COPULA.search(phrase):
        opposite = _COPULA.sub(lambda match: match[1] if match[2] else f"{match[1]} not", phrase, count=1)
        return Wording(present=(f"{phrase}.",), absent=(f"{opposite}.",))
    return _templated((phrase,))


def check_length(text: str) -> None:
    """Refuse words too long to be a phrase or a sentence, before anything reads them.

    Args:
        text: The words.

    Raises:
        ValueError: If they are.
    """
    if len(text) > MOST_CHARACTERS:
        msg = f"Expected at most {MOST_CHARACTERS} characters of text, got {len(text)}. Shorten it, or ask in parts."
        raise ValueError(msg)


def _templated(terms: tuple[str, ...]) -> Wording:
    return Wording(
        present=tuple(_fill(template, term) for term in terms for template in PRESENT_TEMPLATES),
        absent=tuple(_fill(template, term) for term in terms for template in ABSENT_TEMPLATES),
    )


def _fill(template: str, term: str) -> str:
    """Put a term into a template: `{term}` with a small first letter, `{Term}` with a capital (acronyms stay)."""
    acronym = len(term) > 1 and term[1].isupper()
    lowered = term if acronym else term[:1].lower() + term[1:]
    return template.format(term=lowered, Term=lowered[:1].upper() + lowered[1:])
