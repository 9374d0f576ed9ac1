"""Sentences of a report, with their place in it, and their normal form.

A boundary is a full stop (question or exclamation mark) before white space, a quote or bullet used as a separator, a
list number, an empty line, or a semicolon or colon before a capital. None of them is the stop of an abbreviation, a
decimal, a unit or a vertebra ("T12. vertebra"), unless a capital follows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from collections.abc import Iterator

from colipri_core.language.sections import QUOTED_WORDS
from colipri_core.language.sections import SectionName
from colipri_core.language.sections import split_sections

ABBREVIATIONS = frozenset({
    "dr", "mr", "mrs", "ms", "prof", "vs", "approx", "ca", "cf", "fig", "e.g", "i.e", "incl", "resp", "max", "min",
    "diam", "ant", "post", "lat", "inf", "sup", "seg", "st", "dd", "ddx",
})  # fmt: skip
"""Words whose full stop ends no sentence, in small letters and without their last stop."""

LEAD_IN = re.compile(
    r"(?:(?:when|as far as|note)\b[^.,;:]{0,80}"
    r"|(?:in|within) (?:the )?(?:examination|evaluation|sections?)\b(?:(?!\b(?:is|are|was|were)\b)[^.,;:]){0,80})"
    r"[;:]\s*",
    re.IGNORECASE,
)
"""Openings that say nothing by themselves ("When seen in the lung window;")."""

_UNIT_OR_LEVEL = re.compile(r"^(?:mm|cm|ml|hu|[ctls]\d{1,2}|\d+|[a-z])$")
_BULLET = "\u2022\u00b7\u25cf\u25aa"
_BOUNDARY = re.compile(
    rf"(?P<words>{QUOTED_WORDS})"
    r"|(?P<stop>[.!?]+[)\"]?)(?=\s|$)"
    r"|(?<=[a-z)])(?P<glued>\.)(?=[A-Z][a-z])"
    rf"|(?P<mark>[{_BULLET}])"
    r"|(?P<quote>(?:^|(?<=\s))\"|\"(?=\s|$))"
    r"|(?P<semi>[;:])(?=\s+[A-Z])"
    r"|(?P<line>\n\s*(?=\n|[-*]\s|\d{1,2}[.)]\s))"
)
_NUMBERING = re.compile(rf"^[\s\"{_BULLET}*>-]*(?:\(?\d{{1,2}}[.)](?:\s+|(?=[A-Z]))(?!mm|cm|x\b))?[\s\"{_BULLET}*>-]*")

_HEADING_ALONE = re.compile(r"(?:note|conclusion|result|impression|finding)s?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a report.

    Args:
        text: Its words as they stand, without list numbers and separators.
        start: Position of its first character in the report.
        section: Where it stands.
    """

    text: str
    start: int
    section: SectionName

    @property
    def end(self) -> int:
        """Position in the report after the last character."""
        return self.start + len(self.text)


def split_report(report: str) -> tuple[Sentence, ...]:
    """Return all sentences of a report, in order: `report[sentence.start:sentence.end] == sentence.text`."""
    return tuple(
        Sentence(
            text=report[section.start + start : section.start + end],
            start=section.start + start,
            section=section.name,
        )
        for section in split_sections(report)
        for start, end in _spans(section.text)
    )


def split_sentences(text: str) -> tuple[str, ...]:
    """Return the sentences of a text without headings."""
    return tuple(text[start:end] for start, end in _spans(text))


def normalise(sentence: str) -> str:
    """Return a sentence with single spaces, a capital, one full stop, and without quotes, bullets and list numbers.

    An opening such as "As far as can be seen;" is left out; what has no words becomes the empty text.
    """
    text = " ".join(re.sub(r"[\"\u201c\u201d]", " ", sentence).split())
    text = re.sub(r"\s+([.,;:?!)])", r"\1", text).replace("( ", "(")
    while (rest := _opened(text).lstrip(" .,;:?!)")) != text:
        text = rest
    text = text.rstrip(" .,;:-")
    if _HEADING_ALONE.fullmatch(text) or not re.search(r"[^\W\d_]{2}", text):
        return ""
    return f"{text[0].upper()}{text[1:]}" + ("" if text[-1] in "?!" else ".")


def distinct(sentences: Iterable[str]) -> tuple[str, ...]:
    """Return normalised sentences without repetitions (letter case and punctuation do not count) and empty ones."""
    kept: dict[str, str] = {}
    for sentence in map(normalise, sentences):
        key = re.sub(r"\W+", " ", sentence.lower()).strip()
        if key:
            kept.setdefault(key, sentence)
    return tuple(kept.values())


def _opened(text: str) -> str:
    """Return a text without the list number or the opening it begins with."""
    text = _NUMBERING.sub("", text)
    lead_in = LEAD_IN.match(text)
    return text[lead_in.end() :] if lead_in else text


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match["words"] or (match["stop"] and not _ends_sentence(text, match, start)):
            continue
        end = match.end() if match["stop"] or match["glued"] or match["semi"] else match.start()
        yield from _trimmed(text, start, end)
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _ends_sentence(text: str, match: re.Match[str], start: int) -> bool:
    """Whether a stop ends a sentence: not after abbreviations, list numbers, and numbers or units in mid-sentence."""
    if match["stop"].rstrip(')"') != ".":
        so_far = text[start : match.end()]
        return so_far.count("(") <= so_far.count(")") and not re.match(r"\s*[,;)a-z]", text[match.end() :])
    before = text[start : match.start()].split()
    word = before[-1].lower().lstrip("(") if before else ""
    if word in ABBREVIATIONS:
        return False
    if len(before) <= 1 and (not word or word.isdigit()):
        return False
    following = text[match.end() :].lstrip()[:1]
    return not (_UNIT_OR_LEVEL.match(word) and following.islower())


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    numbering = _NUMBERING.match(piece)
    start += numbering.end() if numbering else 0
    piece = text[start:end].rstrip().rstrip('"').rstrip()
    if re.search(r"\w", piece):
        yield start, start + len(piece)
