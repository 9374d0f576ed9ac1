"""Reports: findings and impression in varied radiology English, written from the drawn lesions and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from colipri_training.phantoms import phrases
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.case import PhantomReport
from colipri_training.phantoms.case import Sentence
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.lesions import base

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
_ADVERBS = {"mild": "mildly", "moderate": "moderately", "severe": "markedly"}
_SEVERITIES = {
    "mild": ("mild", "slight", "minimal"),
    "moderate": ("moderate",),
    "severe": ("severe", "marked", "extensive"),
}
_LUNG_FINDINGS = frozenset({7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})
_ENUMERATED = frozenset({base.LUNG_NODULE, base.LYMPHADENOPATHY})


def write_report(seed: int, lesions: Sequence[Lesion], *, enhanced: bool) -> tuple[PhantomReport, list[Sentence]]:
    """Write the report of one phantom.

    Args:
        seed: Chooses among the wordings.
        lesions: What the phantom has.
        enhanced: Whether contrast medium was given.

    Returns:
        The report and its sentences in order, those of the findings before those of the impression.
    """
    rng = stream(seed, "report")
    present = {lesion.finding for lesion in lesions}
    body = [sentence for lesion in lesions for sentence in _positive(rng, lesion)]
    body += _negatives(rng, present)
    body += _normal(rng, present)
    order = rng.permutation(len(body))
    if rng.random() < 0.5:
        order = np.array(sorted(order, key=lambda index: not body[index].positive), dtype=int)
    findings = [body[index] for index in order]
    if rng.random() < 0.4:
        findings.insert(0, _plain(str(rng.choice(phrases.TECHNIQUE[enhanced]))))
    impression = _impression(rng, lesions)
    report = PhantomReport(findings=_join(findings), impression=_join(impression))
    return report, findings + impression


def fill(template: str, lesion: Lesion, term: str, rng: np.random.Generator) -> str:
    """Return a wording with its slots filled from a lesion, as a tidy sentence."""
    severity = str(rng.choice(_SEVERITIES[lesion.severity]))
    plural = "nodules" if lesion.count > 1 else "nodule"
    text = template.format(
        term=term,
        place=place_of(lesion),
        side=lesion.side,
        location=lesion.location,
        severity=severity,
        severity_adverb=_ADVERBS[lesion.severity],
        size_word=lesion.kind,
        kind=lesion.kind,
        a_kind=_article(lesion.kind),
        size=_size(lesion.size_mm, rng),
        count=count_of(lesion.count),
        count_kind_nodules=f"{count_of(lesion.count)} {lesion.kind} {plural}",
    )
    return tidy(agree(text, subject=lesion.kind if lesion.finding == base.MEDICAL_MATERIAL else term))


def _article(kind: str) -> str:
    if kind.endswith(("wires", "clips", "hardware")):
        return kind
    return f"a {kind}"


def count_of(count: int) -> str:
    """Return a number in words, "multiple" above eight."""
    return _NUMBERS[count] if count < len(_NUMBERS) else "multiple"


def agree(text: str, *, subject: str) -> str:
    """Return the sentence with its verb in the plural where its subject is."""
    if not subject.endswith(phrases.PLURAL_ENDINGS):
        return text
    return text.replace(" is ", " are ").replace(" was ", " were ")


def tidy(text: str) -> str:
    """Return a sentence with single spaces, a capital letter and a full stop."""
    text = re.sub(r"\s+", " ", text).replace(" .", ".").replace(" ,", ",").strip()
    text = re.sub(r"\ba ([aeiou])", r"an \1", text)
    return text[0].upper() + text[1:]


def place_of(lesion: Lesion) -> str:
    """Return where a lesion is, as an adverbial phrase; empty for what has only one place."""
    if lesion.finding == base.PLEURAL_EFFUSION:
        return "on both sides" if lesion.side == "bilateral" else f"on the {lesion.side}"
    if lesion.finding in {base.CARDIOMEGALY, base.PERICARDIAL_EFFUSION}:
        return ""
    if lesion.finding == base.HIATAL_HERNIA:
        return "behind the heart"
    if lesion.finding == base.LYMPHADENOPATHY:
        return f"in the {lesion.location} region"
    if lesion.location in {
        "both lungs",
        "both apices",
        "both lower lobes",
        "central airways",
        "upper lobes",
        "lower lobes",
    }:
        prefix = "" if lesion.location.startswith("both") else "the "
        return f"in {prefix}{lesion.location}"
    return f"in the {lesion.location}"


def _size(size_mm: float, rng: np.random.Generator) -> str:
    if size_mm >= 10 and rng.random() < 0.3:
        return f"{size_mm / 10:.1f} cm"
    return f"{size_mm:.0f} mm"


def _plain(text: str) -> Sentence:
    return Sentence(text=text, finding=None, positive=False)


def _positive(rng: np.random.Generator, lesion: Lesion) -> list[Sentence]:
    """Return one sentence that affirms the lesion and at times a detail."""
    words = phrases.PHRASES[lesion.finding]
    generic = words.generic and rng.random() < 0.35
    template = str(rng.choice(phrases.GENERIC_POSITIVE if generic else _fitting(words.positive, lesion)))
    texts = [fill(template, lesion, str(rng.choice(words.terms)), rng)]
    if words.detail and rng.random() < 0.3:
        texts.append(fill(str(rng.choice(words.detail)), lesion, words.terms[0], rng))
    return [Sentence(text=text, finding=lesion.finding, positive=True) for text in texts]


def _fitting(templates: tuple[str, ...], lesion: Lesion) -> list[str]:
    """Keep the wordings that agree with the number of lesions."""
    if lesion.finding != base.LUNG_NODULE or lesion.count == 1:
        return list(templates)
    return [template for template in templates if "count" in template or "nodularity" in template]


def _negatives(rng: np.random.Generator, present: set[int]) -> list[Sentence]:
    """Return denials of a random share of the absent findings."""
    share = rng.uniform(0.1, 0.8)
    absent = [finding for finding in range(len(phrases.PHRASES)) if finding not in present]
    return [
        Sentence(text=negative_text(rng, finding), finding=finding, positive=False)
        for finding in absent
        if rng.random() < share
    ]


def negative_text(rng: np.random.Generator, finding: int) -> str:
    """Return one of the wordings that deny a finding."""
    words = phrases.PHRASES[finding]
    if rng.random() < 0.6:
        term = str(rng.choice(words.terms))
        return tidy(agree(str(rng.choice(phrases.GENERIC_NEGATIVE)).format(term=term), subject=term))
    return str(rng.choice(words.negative))


def _normal(rng: np.random.Generator, present: set[int]) -> list[Sentence]:
    """Return sentences on normal anatomy, which speak of no finding."""
    picked = rng.choice(len(phrases.FILLER), size=int(rng.integers(0, 5)), replace=False)
    sentences = [_plain(phrases.FILLER[index]) for index in picked]
    if not present & _LUNG_FINDINGS and rng.random() < 0.6:
        sentences.append(_plain(str(rng.choice(phrases.NORMAL_LUNGS))))
    return sentences


def _impression(rng: np.random.Generator, lesions: Sequence[Lesion]) -> list[Sentence]:
    """Return the impression: the findings again, in short, or that there are none."""
    if not lesions:
        return [_plain(str(rng.choice(phrases.NORMAL_IMPRESSION)))]
    kept = [lesion for lesion in lesions if rng.random() < 0.85] or [lesions[0]]
    sentences = []
    for lesion in kept:
        template = str(rng.choice(phrases.GENERIC_IMPRESSION))
        if lesion.finding in _ENUMERATED or lesion.finding == base.CARDIOMEGALY:
            template = "{term} {place}."
        if lesion.finding == base.MEDICAL_MATERIAL:
            template = "{kind} {place}."
        term = str(rng.choice(phrases.PHRASES[lesion.finding].terms))
        sentences.append(Sentence(text=fill(template, lesion, term, rng), finding=lesion.finding, positive=True))
    return sentences


def _join(sentences: Sequence[Sentence]) -> str:
    return " ".join(sentence.text for sentence in sentences)
