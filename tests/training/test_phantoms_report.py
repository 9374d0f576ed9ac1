"""The reports: they say what is there and nothing else, in many words, never in those kept for evaluation."""

from __future__ import annotations

import re

import pytest

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.phantoms import phrases
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.case import Sentence
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.report import fill
from colipri_training.phantoms.report import negative_text
from colipri_training.phantoms.report import write_report

Written = list[tuple[list[Lesion], str, list[Sentence]]]


@pytest.fixture(scope="module")
def reports() -> Written:
    """2,000 reports on the lesions of 25 phantoms."""
    written = []
    for seed in range(25):
        lesions = [model.lesion for model in draw_phantom(seed).models]
        for variant in range(80):
            report, sentences = write_report(1000 * seed + variant, lesions, enhanced=bool(variant % 2))
            written.append((lesions, f"{report.findings} {report.impression}", sentences))
    return written


def test_every_finding_is_affirmed_and_nothing_else(reports: Written) -> None:
    for lesions, _, sentences in reports:
        present = {lesion.finding for lesion in lesions}
        assert {s.finding for s in sentences if s.positive} == present
        assert not {s.finding for s in sentences if not s.positive and s.finding is not None} & present


def test_sentences_make_up_the_report(reports: Written) -> None:
    for _, text, sentences in reports[::50]:
        assert " ".join(sentence.text for sentence in sentences) == text


def test_evaluation_wordings_are_never_used(reports: Written) -> None:
    prompts = {
        side.format(x=term).lower().rstrip(".")
        for words in phrases.PHRASES
        for term in words.terms
        for pair in phrases.EVALUATION_TEMPLATES
        for side in pair
    }
    for sentence in {s.text.lower().rstrip(".") for _, _, sentences in reports for s in sentences}:
        assert not any(prompt in sentence for prompt in prompts), sentence


def test_evaluation_wordings_come_in_pairs_of_known_terms() -> None:
    assert len(phrases.EVALUATION_TEMPLATES) >= 3
    assert all("{x}" in present and "{x}" in absent for present, absent in phrases.EVALUATION_TEMPLATES)


@pytest.mark.parametrize("finding", range(18))
def test_wordings_are_many(finding: int) -> None:
    words = phrases.PHRASES[finding]
    assert words.terms[0] == CT_RATE_FINDINGS[finding].lower()
    assert len(words.positive) >= 8
    rng = stream(finding, "wordings")
    assert len({negative_text(rng, finding) for _ in range(300)}) >= 8


def test_sentences_are_tidy(reports: Written) -> None:
    for sentence in {s.text for _, _, sentences in reports for s in sentences}:
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
        assert not re.search(r"[{}]|  | [.,]|\b(\w+) \1\b", sentence), sentence


def test_reports_vary(reports: Written) -> None:
    assert len({text for _, text, _ in reports}) > 0.97 * len(reports)


def test_sides_and_sizes_are_those_of_the_lesion() -> None:
    lesion = Lesion(
        finding=12, side="left", location="pleural space", kind="large", severity="severe", size_mm=52.0, count=1,
        centroid_ras=(0.0, 0.0, 0.0),
    )  # fmt: skip
    text = fill("There is a {size_word} {side} pleural effusion of {size} {place}.", lesion, "x", stream(3, "t"))
    assert text in {
        "There is a large left pleural effusion of 52 mm on the left.",
        "There is a large left pleural effusion of 5.2 cm on the left.",
    }


def test_a_normal_case_has_a_normal_impression() -> None:
    report, sentences = write_report(3, [], enhanced=False)
    assert report.impression in phrases.NORMAL_IMPRESSION
    assert not any(sentence.positive for sentence in sentences)
