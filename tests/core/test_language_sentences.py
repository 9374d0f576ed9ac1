"""Sections and sentences of reports, with their places."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.language.sections import SectionName
from colipri_core.language.sections import findings_and_impression
from colipri_core.language.sections import split_sections
from colipri_core.language.sentences import distinct
from colipri_core.language.sentences import normalise
from colipri_core.language.sentences import split_report
from colipri_core.language.sentences import split_sentences

HEADED = """CLINICAL INDICATION: cough, rule out pneumonia.
Technique: unenhanced chest CT.
FINDINGS:
The lungs are clear. The heart is of normal size.

Impression
1. No acute finding.
2. Small hiatal hernia.
"""


def names(report: str) -> list[SectionName]:
    return [section.name for section in split_sections(report)]


def test_headings_with_and_without_colons() -> None:
    assert names(HEADED) == ["indication", "technique", "findings", "impression"]
    findings, impression = findings_and_impression(HEADED)
    assert findings == "The lungs are clear. The heart is of normal size."
    assert impression.startswith("1. No acute finding.")


@pytest.mark.parametrize("heading", ["IMPRESSION:", "Conclusion:", "**Opinion:**", "## Impression\n", "RESULT:\n"])
def test_synonyms_of_impression(heading: str) -> None:
    assert findings_and_impression(f"No effusion.\n{heading} Normal.") == ("No effusion.", "Normal.")


def test_a_heading_in_running_text() -> None:
    assert names("No effusion is seen. Impression: normal chest.") == ["findings", "impression"]


def test_words_that_are_headings_elsewhere_stay_in_their_sentence() -> None:
    assert names("There are findings of emphysema. The result is normal.") == ["findings"]


@pytest.mark.parametrize(
    "report",
    [
        'No effusion. The heart is normal. " Normal chest. " No follow-up needed.',
        "No effusion. The heart is normal. \u201c Normal chest. \u201d No follow-up needed.",
    ],
    ids=["straight", "curly"],
)
def test_without_headings_quotes_set_the_impression_off(report: str) -> None:
    sentences = split_report(report)

    assert [sentence.text for sentence in sentences] == [
        "No effusion.",
        "The heart is normal.",
        "Normal chest.",
        "No follow-up needed.",
    ]
    assert [sentence.section for sentence in sentences] == ["findings"] * 2 + ["impression"] * 2


def test_quoted_words_set_nothing_off() -> None:
    assert names('The "crazy paving" sign is seen. The heart is normal.') == ["findings"]
    assert split_sentences('A so called "halo" is seen. Normal heart.') == (
        'A so called "halo" is seen.',
        "Normal heart.",
    )


@pytest.mark.parametrize("report", ["", "  \n", '"', "IMPRESSION:", "FINDINGS:\n\nIMPRESSION:\n"])
def test_nothing_has_no_sections(report: str) -> None:
    assert split_sections(report) == ()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A nodule of 4.5 mm. No mass.", ["A nodule of 4.5 mm.", "No mass."]),
        ("A node of 9 mm. in the hilum. No mass.", ["A node of 9 mm. in the hilum.", "No mass."]),
        ("Loss of height of the T12. vertebra. No mass.", ["Loss of height of the T12. vertebra.", "No mass."]),
        ("Seen by Dr. Smith, i.e. a nodule. No mass.", ["Seen by Dr. Smith, i.e. a nodule.", "No mass."]),
        ("Nodules, approx. 3 mm in size, e.g. in the apex.", ["Nodules, approx. 3 mm in size, e.g. in the apex."]),
        ("Lesion in the liver (cyst? hemangioma?). No mass.", ["Lesion in the liver (cyst? hemangioma?).", "No mass."]),
        ("Heights are preserved.There is no mass.", ["Heights are preserved.", "There is no mass."]),
        ("lungs are clear. heart is normal.", ["lungs are clear.", "heart is normal."]),
        ("1. Nodule.\n2. Effusion.\n10) Hernia", ["Nodule.", "Effusion.", "Hernia"]),
        ("- Nodule\n- Effusion", ["Nodule", "Effusion"]),
        ("\u2022 Nodule \u2022 Effusion", ["Nodule", "Effusion"]),
        ("In the lung window; There is a nodule.", ["In the lung window;", "There is a nodule."]),
        ("Nodules are seen; the largest is 4 mm.", ["Nodules are seen; the largest is 4 mm."]),
        (
            "A long line that is\nwrapped in a report. No mass.",
            ["A long line that is\nwrapped in a report.", "No mass."],
        ),
    ],
)
def test_splitting(text: str, sentences: list[str]) -> None:
    assert list(split_sentences(text)) == sentences


REPORT_TEXT = st.text(alphabet='ab No.?!;:"\u201c\u201d\n-1.2)\u2022() \u0130', max_size=60) | st.lists(
    st.sampled_from(
        [
            "Findings:",
            "IMPRESSION:\n",
            "No mass.",
            "4.5 mm",
            "e.g.",
            '"',
            "1. ",
            "\u2022",
            "T12.",
            "Heart;",
            "Note:",
            "When seen;",
        ]
    )
).map(" ".join)


@given(REPORT_TEXT)
def test_sentences_lie_where_they_say_and_lose_no_word(report: str) -> None:
    sentences = split_report(report)

    assert all(report[sentence.start : sentence.end] == sentence.text for sentence in sentences)
    assert all(first.end <= second.start for first, second in itertools.pairwise(sentences))
    words = [word for part in split_sections(report) for word in part.text.split() if word.isalpha()]
    kept = " ".join(sentence.text for sentence in sentences)
    assert all(word in kept for word in words)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ('  "no  effusion ', "No effusion."),
        ("2) mild emphysema ;", "Mild emphysema."),
        ("Cyst ( simple ) ?", "Cyst (simple)?"),
        ("A nodule of 4.5 mm.", "A nodule of 4.5 mm."),
        ("2.5 mm nodule", "2.5 mm nodule."),
        ("As far as can be seen;", ""),
        ("When examined in the lung window:", ""),
        ("As far as can be seen; no mass", "No mass."),
        ("Note: in the examination of the lung window: 2. mild emphysema", "Mild emphysema."),
        ("In the sections a cyst is seen; the liver is normal", "In the sections a cyst is seen; the liver is normal."),
        (". no mass.", "No mass."),
        ("Impression:", ""),
        (" . ", ""),
        ("", ""),
    ],
)
def test_normal_form(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@given(REPORT_TEXT)
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


def test_repetitions_are_dropped() -> None:
    assert distinct(["Hiatal hernia", '"hiatal hernia."', "", "No mass.", "no mass;"]) == ("Hiatal hernia.", "No mass.")
