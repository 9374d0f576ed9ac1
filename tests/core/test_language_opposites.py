"""Opposites of report sentences: right where they are given, refused where they would be unsound."""

from __future__ import annotations

import pytest

from colipri_core.language.labeller import label_sentence
from colipri_core.language.opposites import opposite
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No pleural effusion.", "There is pleural effusion."),
        ("There is no pleural effusion.", "There is pleural effusion."),
        ("There is no evidence of nodule in the right lung.", "There is a nodule in the right lung."),
        ("No pericardial effusion was detected.", "Pericardial effusion was detected."),
        ("No nodules identified.", "There are nodules."),
        ("Pericardial effusion was not observed.", "Pericardial effusion was observed."),
        ("Pleural and pericardial effusion were not seen.", "Pleural or pericardial effusion were seen."),
        ("No mass, nodule or consolidation is seen.", "Mass, nodule or consolidation is seen."),
        ("In the left lung, no nodule is observed.", "In the left lung, a nodule is observed."),
        ("The heart is not enlarged.", "The heart is enlarged."),
        ("Heart size has not been increased.", "Heart size has been increased."),
        ("Negative for emphysema.", "Positive for emphysema."),
        ("Without emphysema.", "There is emphysema."),
        ("Emphysema is absent.", "Emphysema is present."),
    ],
)
def test_denials_become_affirmations(sentence: str, expected: str) -> None:
    assert opposite(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("There is a small pleural effusion.", "There is no pleural effusion."),
        ("Mild emphysema in both lungs.", "No emphysema in both lungs."),
        ("A few nodules are observed in both lungs.", "No nodules are observed in both lungs."),
        ("Nodules are seen, the largest measuring 4.5 mm.", "No nodules are seen."),
        ("A 12 mm nodule is seen in the left lung.", "No nodule is seen in the left lung."),
        ("A nodule measuring 12x9 mm was seen in the left lung.", "No nodule was seen in the left lung."),
        ("Atelectasis and minimal consolidation are seen.", "No atelectasis or consolidation are seen."),
        ("The pacemaker is seen.", "The pacemaker is not seen."),
        ("Interlobular septa are thickened.", "Interlobular septa are not thickened."),
        ("Heart size increased.", "Heart size was not increased."),
        ("In the right lung, a nodule is seen.", "In the right lung, no nodule is seen."),
        ("CT-guided drain is noted.", "No CT-guided drain is noted."),
    ],
)
def test_affirmations_become_denials(sentence: str, expected: str) -> None:
    assert opposite(sentence) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "Possible nodule.",
        "A nodule cannot be excluded.",
        "Hypodense lesion (cyst?).",
        "No significant change in the nodules.",
        "The effusion has increased compared to the previous scan.",
        "A nodule is seen and no effusion is seen.",
        "No nodule, but an effusion is seen.",
        "Neither nodule nor effusion.",
        "No effusion and no nodule.",
        "Follow-up of the nodule is recommended.",
        "Nodules of 3 mm on the right, of 5 mm on the left and of 8 mm in the lingula.",
        "Emphysema, consolidation, effusion.",
        "The heart is of normal size.",
        "There are nodules, the largest of which is calcified.",
    ],
)
def test_refused(sentence: str) -> None:
    assert opposite(sentence) is None


@pytest.mark.parametrize("term", [term for concept in CT_RATE_CONCEPTS for term in concept.terms])
@pytest.mark.parametrize("pattern", ["There is {}.", "There is no {}.", "{} is seen.", "No {} was detected."])
def test_terms_of_all_findings_turn_round_and_back(term: str, pattern: str) -> None:
    sentence = pattern.format(term)
    turned = opposite(sentence)
    assert turned is not None
    again = opposite(turned)
    assert again is not None

    read = [{m.finding: str(m.assertion) for m in label_sentence(text)} for text in (sentence, turned, again)]
    assert read[0]
    assert read[0] == read[2]
    assert read[0].keys() == read[1].keys()
    assert all({read[0][name], read[1][name]} == {"present", "absent"} for name in read[0])
