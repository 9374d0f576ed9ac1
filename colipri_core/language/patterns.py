"""A small language for phrases, so that the tables of terms can be read and edited by a radiologist.

A phrase is words with single spaces. In a phrase

* `calcif*` is every word that starts so,
* `is|are` is one of the words,
* `(mild)` may be missing,
* `...` stands for up to eight words in between, of one clause.

Hyphens and slashes between words count as spaces, letter case does not matter. "pleur* ... effusion" finds "pleural
effusion", "pleural-pericardial effusion" and "pleural thickening or effusion".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

MAX_GAP_WORDS = 8

_SEPARATOR = r"[\s\-/,()]+"
_GAP = rf"(?:[^\s;:]+\s+){{0,{MAX_GAP_WORDS}}}?"


def lowered(text: str) -> str:
    """Return the text in small letters, character by character, so that positions stay what they were."""
    return "".join(small if len(small := character.lower()) == 1 else character for character in text)


@functools.cache
def compiled(phrase: str) -> re.Pattern[str]:
    """Return the regular expression of a phrase, for text in small letters.

    Raises:
        ValueError: If the phrase is empty, or begins or ends with a gap or an optional word.
    """
    words = phrase.lower().split()
    if not words or any(word == "..." or word.startswith("(") for word in (words[0], words[-1])):
        msg = f'Expected a phrase that begins and ends with a word, got "{phrase}".'
        raise ValueError(msg)
    source, gap = _word(words[0]), ""
    for word in words[1:]:
        if word == "...":
            gap = _GAP
        elif word.startswith("("):
            source += f"(?:{_SEPARATOR}{_word(word[1:-1])})?"
        else:
            source, gap = source + _SEPARATOR + gap + _word(word), ""
    return re.compile(source)


@functools.cache
def any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return one regular expression for several phrases, the first that fits at a place counts."""
    return re.compile("|".join(compiled(phrase).pattern for phrase in phrases))


def table(*lines: str) -> tuple[str, ...]:
    """Return the phrases of a table written as lines with semicolons."""
    return tuple(phrase.strip() for line in lines for phrase in line.split(";") if phrase.strip())


def found(phrases: Iterable[str], text: str) -> bool:
    """Whether one of the phrases is in the text (in small letters)."""
    return any(compiled(phrase).search(text) for phrase in phrases)


def _word(word: str) -> str:
    choices = [re.escape(choice).replace(r"\*", r"\w*") for choice in word.split("|")]
    return rf"\b(?:{'|'.join(choices)})\b"
