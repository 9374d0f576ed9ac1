"""The opposite of a report sentence: "No effusion was detected." <-> "Effusion was detected.".

Only sentences of one statement are turned round. A denial becomes an affirmation of the same words; an affirmation
loses what cannot be denied with it (its degree, number and size: the opposite of "There is a mild effusion" is "There
is no effusion") and is then denied. Everything else is refused: doubt, comparison, advice, several statements, and
every sentence in which the labeller does not see each finding turn round. The rules are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from colipri_core.language.assertions import Assertion
from colipri_core.language.clauses import has_verb
from colipri_core.language.clauses import split_clauses
from colipri_core.language.labeller import label_sentence
from colipri_core.language.patterns import any_of
from colipri_core.language.patterns import lowered
from colipri_core.language.patterns import table
from colipri_core.language.sentences import normalise

REFUSED = table(
    "may; might; could; can; cannot; should; would; possibl*; probabl*; likely; suspici*; suspect*; thought",
    "differential; recommend*; suggest*; correlat*; evaluat*; in terms of; in favor of; in favour of",
    "optimal*; suboptimal*",
    "compar*; previous*; prior; history; follow up; stable; unchanged; regress*; progress*; new; newly; removed",
    "resolved; disappear*; operated; increase in size; change|changes in size; no (significant) difference|change",
    "but; however; except; although; other than; apart from; as far as; which; whose; where; who; neither; nor",
    "only; also; looks; seem*; remain*; ends; causes; causing; partially; partly; it is; it was; this; these; they",
    "note is made",
)
"""Words of sentences that have no sound opposite by these rules."""

DEGREES = table(
    "minimal; mild; slight; subtle; moderate; marked; severe; extensive; prominent; significant; diffuse; widespread",
    "massive; small; large; tiny; millimetric; millimeter|millimetric sized; faint; intense; obvious; small amount of",
    "multiple; several; few; many; numerous",
)
"""Words of degree and number, left out where an affirmation is denied."""

OPENINGS = table("a; an; some; any; a few; one; two; three; four; five; six; seven; eight")
"""Openings of a noun phrase that are left out where it is denied."""

COUNTED = frozenset({
    "area", "catheter", "device", "finding", "fracture", "hernia", "lesion", "mass", "node", "nodule", "opacity",
    "pacemaker", "pattern", "tube",
})  # fmt: skip
"""Nouns that take an article in the singular."""

_BE = r"(?:is|are|was|were|(?:has|have) been)"
_SEEN = (
    r"(?:observed|detected|seen|found|identified|noted|present|visible|demonstrated|visuali[sz]ed|evident|encountered"
    r"|revealed|shown|noticed|in place)"
)
_IN = r"(?:(?:in|on|at|within) [^,]+, )"
_PLACE = re.compile(
    r"\s(?:in|on|at|within|along|around|throughout|of|involving|adjacent|behind|near|from|to|between|with|compatible|consistent)\b",
    re.IGNORECASE,
)
_SIZE = r"\d+(?:\.\d+)?(?:\s?x\s?\d+(?:\.\d+)?)*\s?-?(?:mm|cm)"
# What size adds to an affirmation: ", the largest measuring 4 mm in diameter", "12 mm" before a noun.
_MEASURE = re.compile(
    r",?\s\(?(?:measuring|the largest|the biggest|up to|reaching|with an?\b[\w\s-]{0,30}\bof|less than|smaller than"
    rf"|larger than|about|approximately|of)\b[^,.\d]{{0,40}}{_SIZE}(?: (?:in|at) (?:(?:its|the) )?(?:\w+ )?"
    r"(?:diameter|size|axis|thickness|part|point))?\)?",
    re.IGNORECASE,
)
_SIZE_BEFORE = re.compile(rf"\b{_SIZE}(?:[\s-](?:diameter|sized?))?\s(?!in\b|thick|of\b)")
_NEGATIVE = re.compile(r"\b(?:no|not|without|absent|negative|free|never|none)\b", re.IGNORECASE)

Turn = Callable[[re.Match[str]], str]


def opposite(sentence: str) -> str | None:
    """Return a sentence that says the opposite, or None where the rules cannot make one soundly.

    The result is in normal form (see `sentences.normalise`).
    """
    text = normalise(sentence).rstrip(".")
    if not text or "?" in text or ";" in text or any_of(REFUSED).search(lowered(text)):
        return None
    if len(split_clauses(lowered(text))) > 1:
        return None
    for rule in (_affirmed, _denied):
        turned = rule(text)
        if turned is not None:
            turned = normalise(turned)
            return turned if _is_opposite(normalise(sentence), turned) else None
    return None


def _is_opposite(sentence: str, turned: str) -> bool:
    """Whether the labeller sees the same findings in both sentences, each affirmed in one and denied in the other."""
    before = {mention.finding: mention.assertion for mention in label_sentence(sentence)}
    after = {mention.finding: mention.assertion for mention in label_sentence(turned)}
    pair = {Assertion.PRESENT, Assertion.ABSENT}
    return before.keys() == after.keys() and all({before[name], after[name]} == pair for name in before)


def _affirmed(text: str) -> str | None:
    """Turn a denial into an affirmation; None where the text is no plain denial."""
    if len(_NEGATIVE.findall(text)) != 1:
        return None
    return _first(_DENIALS, text)


def _denied(text: str) -> str | None:
    """Turn an affirmation into a denial; None where the text is no plain affirmation."""
    text, measures = _MEASURE.subn("", text)
    text, sizes = _SIZE_BEFORE.subn("", text)
    if measures + sizes > 1:
        return None
    if _NEGATIVE.search(text) or re.search(r"\d|,", re.sub(_IN, "", text, count=1, flags=re.IGNORECASE)):
        return None
    turned = _first(_AFFIRMATIONS, text)
    if turned is None and not has_verb(lowered(text)) and re.match(r"(?!the\b)\w.*(?<!ed)$", text, re.IGNORECASE):
        turned = f"No {_bare(text)}"
    return None if turned is None or re.search(r"\bno (?:and|or|to|more)\b", turned) else turned


def _first(forms: tuple[tuple[str, Turn], ...], text: str) -> str | None:
    for form, make in forms:
        match = re.fullmatch(form, text, re.IGNORECASE)
        if match:
            return make(match)
    return None


def _negated(verb: str) -> str:
    return verb.replace(" been", " not been") if " been" in verb else f"{verb} not"


def _parted(phrase: str) -> tuple[str, str]:
    """Return a noun phrase and the words on its place."""
    match = _PLACE.search(phrase)
    return (phrase[: match.start()], phrase[match.start() :]) if match else (phrase, "")


def _either(phrase: str) -> str:
    """Return a noun phrase with "or" for "and": of things denied together, one may be there."""
    head, place = _parted(phrase)
    return head.replace(" and ", " or ") + place


def _one(phrase: str) -> str:
    """Return a noun phrase in small letters with the article it needs."""
    words = _either(_uncapitalised(phrase))
    article = "an" if words[:1] in "aeiou" else "a"
    return f"{article} {words}" if _parted(words)[0].split()[-1] in COUNTED else words


def _exists(phrase: str) -> str:
    """Return "There is" with a noun phrase, or "There are" with one in the plural."""
    plural = re.search(r"[^isu]s$", _parted(phrase)[0])
    return f"There {'are' if plural else 'is'} {_one(phrase)}"


def _bare(phrase: str) -> str:
    """Return a noun phrase in small letters without article, degree and number, with "or" for "and"."""
    head, place = _parted(_uncapitalised(phrase))
    opening = any_of(tuple(sorted(OPENINGS, key=len, reverse=True))).match(lowered(head))
    head = head[opening.end() :] if opening else head
    degrees = any_of(tuple(sorted(DEGREES, key=len, reverse=True)))
    while match := degrees.search(lowered(head)):
        head = head[: match.start()] + head[match.end() :]
    return _either(" ".join(head.split()) + place)


def _uncapitalised(phrase: str) -> str:
    return phrase if phrase[:2].isupper() else phrase[:1].lower() + phrase[1:]


_EVIDENCE = r"(?:(?:evidence|signs?|findings?) of )?"
_DENIALS: tuple[tuple[str, Turn], ...] = (
    (rf"there (is|are|was|were) no {_EVIDENCE}(.+)", lambda match: f"There {match[1]} {_one(match[2])}"),
    (rf"({_IN}?)no {_EVIDENCE}(.+?) ({_BE} {_SEEN}.*)", lambda match: f"{match[1]}{_one(match[2])} {match[3]}"),
    (rf"(?:no|without) {_EVIDENCE}(.+?)(?: {_SEEN})?", lambda match: _exists(match[1])),
    (r"negative for (.+)", lambda match: f"Positive for {_either(match[1])}"),
    (rf"(.+? (?:is|are|was|were)) not ({_SEEN}.*|\w+ed\b.*)", lambda match: f"{_either(match[1])} {match[2]}"),
    (r"(.+? (?:has|have)) not (been .+)", lambda match: f"{_either(match[1])} {match[2]}"),
    (r"(.+? (?:is|are|was|were)) absent(.*)", lambda match: f"{_either(match[1])} present{match[2]}"),
)
_AFFIRMATIONS: tuple[tuple[str, Turn], ...] = (
    (r"there (is|are|was|were) (.+)", lambda match: f"There {match[1]} no {_bare(match[2])}"),
    (r"positive for (.+)", lambda match: f"Negative for {_bare(match[1])}"),
    (rf"(the .+?) ({_BE}) ({_SEEN}.*)", lambda match: f"{match[1]} {_negated(match[2])} {match[3]}"),
    (
        rf"({_IN}?)((?!the )[^,]+?) ({_BE} {_SEEN}.*)",
        lambda match: f"{match[1]}no {_bare(match[2])} {match[3]}",
    ),
    (r"(.+?) (is|are|was|were) (\w+ed\b.*)", lambda match: f"{match[1]} {match[2]} not {match[3]}"),
    (r"(.+?s) (increased|decreased)(| .*)", lambda match: f"{match[1]} were not {match[2]}{match[3]}"),
    (r"(.+?) (increased|decreased)(| .*)", lambda match: f"{match[1]} was not {match[2]}{match[3]}"),
)
