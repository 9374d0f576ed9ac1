"""What a sentence says of a term: affirmed, doubted or denied, and how far a denial reaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.language import cues
from colipri_core.language.assertions import assertion_of
from colipri_core.language.clauses import split_clauses
from colipri_core.language.patterns import any_of
from colipri_core.language.patterns import compiled
from colipri_core.language.patterns import found
from colipri_core.language.patterns import lowered


def says(sentence: str, term: str) -> str:
    start = sentence.lower().index(term)
    return str(assertion_of(sentence, start, start + len(term)))


@pytest.mark.parametrize(
    "sentence",
    [
        "No effusion.",
        "There is no evidence of effusion.",
        "Effusion was not observed.",
        "Effusion is not clearly seen.",
        "The lungs are free of effusion.",
        "Pleura without effusion.",
        "Negative for mass, nodule or effusion.",
        "No mass, nodule, consolidation or effusion was detected in the chest.",
        "The heart is normal and no effusion is detected.",
        "Effusion, which was seen before, was not detected.",
        "Neither mass nor effusion is seen.",
        "Effusion - no thickening is identified.",
        "There was no appearance that could be called an effusion.",
        "Effusion is absent.",
    ],
)
def test_denied(sentence: str) -> None:
    assert says(sentence, "effusion") == "absent"


@pytest.mark.parametrize(
    "sentence",
    [
        "Effusion.",
        "There is an effusion on the right.",
        "No nodule is seen, but effusion is present.",
        "No nodule; effusion on the left.",
        "No nodule was detected and there is an effusion.",
        "No nodule was detected in the right lung, and effusion is seen on the left.",
        "Effusion is observed and no nodule was detected.",
        "Effusion is seen, no nodule was detected.",
        "Other than an effusion no abnormality.",
        "Nothing except effusion: no findings other than effusion.",
        "No significant change in the effusion.",
        "Effusion which does not reach the apex is observed.",
        "Not only effusion is seen.",
        "No increase in size of the effusion.",
        "Areas without walls, consistent with effusion.",
    ],
)
def test_affirmed(sentence: str) -> None:
    assert says(sentence, "effusion") == "present"


@pytest.mark.parametrize(
    "sentence",
    [
        "Possible effusion.",
        "Effusion?",
        "Fluid density (effusion?) on the left.",
        "Effusion cannot be excluded.",
        "An effusion could not be ruled out.",
        "This may represent effusion.",
        "Suspicious for effusion.",
    ],
)
def test_left_open(sentence: str) -> None:
    assert says(sentence, "effusion") == "uncertain"


def test_a_stretch_outside_the_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="stretch of a sentence of 5 characters"):
        assertion_of("Mass.", 3, 9)


@given(st.lists(st.sampled_from(["no", "and", ",", "which", "is", "are", "seen", "but", ";", "mass", "there"])))
def test_clauses_cover_the_sentence(words: list[str]) -> None:
    sentence = " ".join(words)
    clauses = split_clauses(sentence)
    covered = {
        clause.start + offset
        for clause in clauses
        for offset, letter in enumerate(clause.text)
        if letter == sentence[clause.start + offset]
    }
    assert {index for index, letter in enumerate(sentence) if letter != " "} <= covered


def test_one_statement_is_one_clause() -> None:
    assert len(split_clauses("no mass, nodule or infiltration was detected in the upper and lower lobes")) == 1
    assert [clause.text for clause in split_clauses("the heart is normal and no mass is seen")] == [
        "the heart is normal",
        " and no mass is seen",
    ]


def test_phrases() -> None:
    assert found(("pleur* ... effusion*",), "pleural-pericardial thickening or effusions")
    assert found(("thick* (of) (the) wall|walls",), "thickening of the walls")
    assert found(("thick* (of) (the) wall|walls",), "thick wall")
    assert not found(("pleur* ... effusion",), "pleural plaque; pericardial effusion")
    assert not found(("lap",), "overlap")


@pytest.mark.parametrize("phrase", ["", "... effusion", "pleural ...", "(mild) effusion", "effusion (mild)"])
def test_phrases_without_a_first_or_last_word_are_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match="begins and ends with a word"):
        compiled(phrase)


def test_small_letters_keep_their_places() -> None:
    text = "\u0130zmir CT: No Effusion"
    assert len(lowered(text)) == len(text)
    assert lowered(text).endswith("no effusion")


@pytest.mark.parametrize("name", [name for name in vars(cues) if name.isupper() and name != "SEEN"])
def test_every_table_of_cues_can_be_read(name: str) -> None:
    phrases = getattr(cues, name)
    assert len(set(phrases)) == len(phrases)
    assert any_of(phrases).search("the report") is None
