"""How findings, phrases and sentences become the two sides of a question."""

from __future__ import annotations

import pytest

from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_core.vocabulary.wordings import wording


def test_a_known_finding_uses_all_its_terms() -> None:
    question = wording("Pleural effusion")
    assert "Pleural effusion present" in question.present
    assert "There is pleural fluid." in question.present
    assert "No pleural effusion present" in question.absent


@pytest.mark.parametrize("text", ["pleural fluid", "PLEURAL EFFUSION", "  pleural   effusion. "])
def test_synonyms_and_spelling_do_not_matter(text: str) -> None:
    assert wording(text) == wording("Pleural effusion")


@pytest.mark.parametrize("concept", CT_RATE_CONCEPTS, ids=lambda concept: concept.name)
def test_both_sides_of_a_known_finding_are_as_many_and_differ(concept) -> None:
    question = wording(concept.name)
    assert len(question.present) == len(question.absent)
    assert not set(question.present) & set(question.absent)


def test_a_phrase_goes_through_the_templates() -> None:
    question = wording("Ground-glass halo")
    assert question.present == (
        "Ground-glass halo present",
        "Ground-glass halo is present.",
        "There is ground-glass halo.",
    )
    assert question.absent[0] == "No ground-glass halo present"


def test_acronyms_keep_their_capitals() -> None:
    assert wording("CT artefact").absent[0] == "No CT artefact present"


@pytest.mark.parametrize(
    "negated", ["No halo", "without halo", "There is no halo.", "No evidence of halo", "there are no halo"]
)
def test_a_negation_exchanges_the_sides(negated: str) -> None:
    assert wording(negated) == wording("halo").swapped()


@pytest.mark.parametrize("text", ["There is a halo.", "there is halo", "There are some halo"])
def test_existence_asks_for_the_thing(text: str) -> None:
    assert wording(text) == wording("halo")


@pytest.mark.parametrize(
    ("sentence", "opposite"),
    [
        ("The heart is enlarged.", "The heart is not enlarged."),
        ("The bronchi are dilated", "The bronchi are not dilated."),
        ("Nodules have been seen", "Nodules have not been seen."),
    ],
)
def test_a_sentence_stands_against_its_opposite(sentence: str, opposite: str) -> None:
    question = wording(sentence)
    assert question.present == (sentence.rstrip(".") + ".",)
    assert question.absent == (opposite,)
    assert wording(opposite) == question.swapped()


@pytest.mark.parametrize("text", ["", "  ", ".", " ; "])
def test_empty_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        wording(text)


def test_text_longer_than_a_sentence_is_refused_before_it_is_read() -> None:
    assert wording("no " * 600 + "nodule").present
    with pytest.raises(ValueError, match="at most 2000 characters"):
        wording("nodule " * 150_000)
