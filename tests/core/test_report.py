"""A draft stays a draft, keeps the reader's edits apart from the model's words, and says all this in every form."""

from __future__ import annotations

import dataclasses
import json

import pytest
from drafts import AFFIRMED
from drafts import CARD
from drafts import DENIED
from drafts import PLAIN
from drafts import WARNING
from drafts import small_report

from colipri_core.language.assertions import Assertion
from colipri_core.language.sides import side_named
from colipri_core.report import DraftOptions
from colipri_core.report import Flag
from colipri_core.report_words import as_markdown
from colipri_core.report_words import as_text


class TestStatus:
    def test_it_is_always_a_draft(self) -> None:
        assert small_report().status == "DRAFT"
        with pytest.raises(ValueError, match=r'expected the status "DRAFT", got "FINAL"'):
            dataclasses.replace(small_report(), status="FINAL")

    def test_json_is_the_documented_one(self) -> None:
        document = json.loads(json.dumps(small_report().to_json()))
        assert document["status"] == "DRAFT"
        assert document["model"]["name"] == "drafter"
        assert "Research use only" in document["notice"]
        first = document["sections"][0]["sentences"][0]
        assert set(first) == {"text", "finding", "support", "place_ras", "flags"}
        assert first["flags"] == ["contradicted", "side disputed", "place disputed"]
        assert first["support"]["probability"] == 0.31
        assert document["unmentioned"][0]["name"] == "Emphysema"


class TestEdits:
    def test_new_words_are_the_readers_and_the_numbers_go(self) -> None:
        report = small_report().edited(0, 0, "  Small  left pleural effusion. ")
        sentence = report.sections[0].sentences[0]
        assert sentence.text == "Small left pleural effusion."
        assert (sentence.finding, sentence.support.assertion) == ("Pleural effusion", Assertion.PRESENT)
        assert sentence.flags == (Flag.EDITED,)
        assert sentence.support.probability is None
        assert sentence.place_ras == AFFIRMED.place_ras
        assert sentence.original == AFFIRMED
        assert report.has_edits
        assert not small_report().has_edits

    def test_a_turned_sentence_says_the_opposite_of_its_finding(self) -> None:
        sentence = small_report().edited(0, 0, "No pleural effusion.").sections[0].sentences[0]
        assert sentence.support.assertion is Assertion.ABSENT

    def test_another_finding_does_not_keep_the_place(self) -> None:
        sentence = small_report().edited(0, 0, "There is cardiomegaly.").sections[0].sentences[0]
        assert sentence.finding == "Cardiomegaly"
        assert sentence.place_ras is None
        assert sentence.support.evidence_text == "Cardiomegaly"

    def test_words_of_another_script_keep_the_place(self) -> None:
        words = "\u80f8\u8154\u79ef\u6db2"
        sentence = small_report().edited(0, 0, words).sections[0].sentences[0]
        assert sentence.text == words
        assert sentence.place_ras == AFFIRMED.place_ras
        assert sentence.support.evidence_text == "Pleural effusion"

    def test_the_models_words_bring_its_sentence_back(self) -> None:
        report = small_report().edited(0, 0, "Effusion.").edited(0, 0, "Effusions.").edited(0, 0, AFFIRMED.text)
        assert report == small_report()

    def test_the_same_words_are_no_edit(self) -> None:
        assert small_report().edited(0, 1, DENIED.text) == small_report()

    def test_empty_text_removes(self) -> None:
        report = small_report().edited(0, 1, "  ")
        assert report.sections[0].sentences == (AFFIRMED, PLAIN)

    def test_a_readers_own_sentence_stands_at_the_end(self) -> None:
        report = small_report().added(1, "Follow-up advised.")
        own = report.sections[1].sentences[-1]
        assert (own.text, own.support.source, own.flags, own.original) == (
            "Follow-up advised.",
            "reader",
            (Flag.EDITED,),
            None,
        )
        assert report.edited(1, 1, "Follow-up in a year.").sections[1].sentences[-1].text == "Follow-up in a year."
        with pytest.raises(ValueError, match="empty"):
            report.added(0, " \n ")

    def test_a_sentence_that_is_not_there_cannot_be_edited(self) -> None:
        with pytest.raises(IndexError):
            small_report().edited(0, 9, "x")


@pytest.mark.parametrize("form", [as_text, as_markdown])
def test_every_form_says_draft_model_research_use_and_flags_in_words(form) -> None:
    text = form(small_report().edited(0, 1, "No *large* nodule <b>."))
    assert text.lstrip("# ").startswith("DRAFT")
    assert CARD.name in text
    assert "Research use only" in text
    assert WARNING in text
    assert "contradicted" in text
    assert "edited" in text
    assert "Emphysema, probability 0.77, uncalibrated" in text


def test_markdown_shows_support_and_takes_words_as_words() -> None:
    text = as_markdown(small_report().edited(0, 1, "No *large* nodule <b>."))
    assert "Place: R 41, A -10, S 5 mm, right; the decoder looked 81 mm from there" in text
    assert 'Second opinion: 0.31 against "There is no pleural effusion on the left."' in text
    assert r"No \*large\* nodule \<b\>." in text
    assert "The model's own words: No lung nodule." in text
    assert "Most suspicious place: R -30" in as_markdown(small_report())


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Nodule in the left upper lobe.", "left"),
        ("Effusion on the right.", "right"),
        ("Consolidation of the lingula.", "left"),
        ("Atelectasis of the middle lobe.", "right"),
        ("Effusions on both sides, more on the left.", None),
        ("Nodules in the right upper and left lower lobes.", None),
        ("Calcified plaques in the left anterior descending artery.", None),
        ("No pneumothorax.", None),
    ],
)
def test_the_side_a_sentence_names(text: str, side: str | None) -> None:
    assert side_named(text) == side


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"threshold": 1.0}, {"beams": 0}, {"max_length": 1}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected a threshold"):
        DraftOptions(**wrong)
