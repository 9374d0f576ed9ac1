"""Reports as training text: what is drawn, that draws repeat, and that pairs say what is true of the scan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colipri_core.language.labeller import label_report
from colipri_core.language.labeller import label_sentence
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.data.sentences import ReportTextOptions
from colipri_training.data.sentences import StatementPool
from colipri_training.data.sentences import draw_pairs
from colipri_training.data.sentences import draw_text
from colipri_training.data.sentences import shortened
from colipri_training.data.sentences import shuffled
from colipri_training.data.sentences import statements
from colipri_training.phantoms.case import Lesion
from colipri_training.phantoms.case import PhantomReport
from colipri_training.phantoms.case import Sentence
from colipri_training.phantoms.report import write_report

REPORT = """FINDINGS: The heart is of normal size. Small pleural effusion on the left. No nodule was detected.
Emphysema in both lungs. Possible consolidation. Hiatal hernia is seen and no pericardial effusion is seen.
IMPRESSION:
1. Left pleural effusion.
2. Emphysema in both lungs."""
AS_IT_IS = ReportTextOptions(one_section=0, shuffle=0, shorten=0)

Case = tuple[frozenset[int], PhantomReport, list[Sentence]]


# One of each finding: index, side, location, kind.
LESIONS = (
    (0, "left", "left chest wall", "pacemaker"),
    (1, "midline", "aortic arch", "plaque"),
    (2, "midline", "heart", "enlarged"),
    (3, "midline", "pericardium", "fluid"),
    (4, "midline", "left anterior descending artery", "plaque"),
    (5, "midline", "retrocardiac", "with gas"),
    (6, "right", "right paratracheal", "nodal"),
    (7, "bilateral", "upper lobes", "centrilobular"),
    (8, "left", "left lower lobe", "plate-like"),
    (9, "right", "right upper lobe", "solid"),
    (10, "bilateral", "both lungs", "patchy"),
    (11, "bilateral", "both apices", "band"),
    (12, "right", "pleural space", "small"),
    (13, "bilateral", "both lungs", "mosaic"),
    (14, "bilateral", "central airways", "diffuse"),
    (15, "right", "right middle lobe", "segmental"),
    (16, "left", "left upper lobe", "cylindrical"),
    (17, "bilateral", "lower lobes", "smooth"),
)


def lesion(index: int, rng: np.random.Generator) -> Lesion:
    finding, side, location, kind = LESIONS[index]
    severity = str(rng.choice(["mild", "moderate", "severe"]))
    size, count = float(rng.integers(4, 30)), int(rng.integers(1, 4))
    return Lesion(
        finding=finding,
        side=side,
        location=location,
        kind=kind,
        severity=severity,
        size_mm=size,
        count=count,
        centroid_ras=(0.0, 0.0, 0.0),
    )


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """180 reports, each on one to six findings."""
    rng = np.random.default_rng(0)
    written = []
    for seed in range(180):
        present = frozenset(map(int, rng.choice(18, size=int(rng.integers(1, 7)), replace=False)))
        lesions = [lesion(index, rng) for index in sorted(present)]
        written.append((present, *write_report(seed, lesions, enhanced=False)))
    return written


def whole(report: PhantomReport) -> str:
    return f"FINDINGS: {report.findings}\nIMPRESSION: {report.impression}"


@given(st.lists(st.text(min_size=1), unique=True), st.integers(0, 2**32))
def test_shuffling_and_shortening_keep_sentences_whole(sentences: list[str], seed: int) -> None:
    assert sorted(shuffled(sentences, np.random.default_rng(seed))) == sorted(sentences)

    kept = shortened(sentences, np.random.default_rng(seed))
    assert [sentence for sentence in sentences if sentence in kept] == kept
    assert bool(kept) == bool(sentences)


def test_every_length_is_as_likely() -> None:
    lengths = [len(shortened(list("abcd"), np.random.default_rng(seed))) for seed in range(2000)]
    assert all(abs(lengths.count(length) - 500) < 80 for length in (1, 2, 3, 4))


def test_without_any_chance_the_whole_report_is_read_once() -> None:
    text = draw_text(REPORT, np.random.default_rng(0), options=AS_IT_IS)
    assert text == (
        "The heart is of normal size. Small pleural effusion on the left. No nodule was detected. "
        "Emphysema in both lungs. Possible consolidation. Hiatal hernia is seen and no pericardial effusion is seen. "
        "Left pleural effusion."
    )


def test_one_section() -> None:
    options = ReportTextOptions(one_section=1, shuffle=0, shorten=0)
    texts = {draw_text(REPORT, np.random.default_rng(seed), options=options) for seed in range(20)}
    assert "Left pleural effusion. Emphysema in both lungs." in texts
    assert len(texts) == 2


def test_the_same_generator_draws_the_same_text() -> None:
    texts = [[draw_text(REPORT, rng) for _ in range(8)] for rng in map(np.random.default_rng, (7, 7, 8))]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert len(set(texts[0])) > 4


def test_a_report_without_sentences_gives_no_text() -> None:
    assert draw_text("", np.random.default_rng(0)) == ""


@pytest.mark.parametrize("chance", [-0.1, 1.1, float("nan")])
def test_chances_lie_between_0_and_1(chance: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1 for shuffle"):
        ReportTextOptions(shuffle=chance)


def test_statements_are_what_a_report_affirms_or_denies() -> None:
    found = {statement.text: (statement.opposite, statement.affirms) for statement in statements(REPORT)}
    assert found == {
        "Small pleural effusion on the left.": ("No pleural effusion on the left.", True),
        "No nodule was detected.": ("A nodule was detected.", False),
        "Emphysema in both lungs.": ("No emphysema in both lungs.", True),
        "Left pleural effusion.": ("No left pleural effusion.", True),
    }
    assert all(statement.turned().turned() == statement for statement in statements(REPORT))


def test_the_labeller_reads_generated_reports_almost_perfectly(cases: list[Case]) -> None:
    truth = np.array([[index in present for index in range(18)] for present, _, _ in cases])
    found = np.array([label_report(whole(report)).vector for _, report, _ in cases])

    true, wrong = (truth & found).sum(axis=0), (truth ^ found).sum(axis=0)
    assert true.min() > 10
    assert (2 * true / (2 * true + wrong)).mean() >= 0.98


def test_most_sentences_of_generated_reports_turn_round(cases: list[Case]) -> None:
    """Both ways; a sentence's opposite never says what the report says of the finding."""
    texts = {s.text: s for _, _, sentences in cases for s in sentences if s.finding is not None}
    found = [statement for _, report, _ in cases for statement in statements(whole(report))]
    turned = {statement.text: statement for statement in found if statement.text in texts}

    for affirms in (True, False):
        of_kind = [text for text, sentence in texts.items() if sentence.positive is affirms]
        assert sum(text in turned for text in of_kind) / len(of_kind) > 0.4
    for text, statement in turned.items():
        finding = CT_RATE_FINDINGS[texts[text].finding or 0]
        said = {mention.finding: str(mention.assertion) for mention in label_sentence(statement.opposite)}
        assert statement.affirms == texts[text].positive
        assert said[finding] == ("absent" if texts[text].positive else "present")


def test_pairs_hold_or_not_as_the_scan_has_the_finding(cases: list[Case]) -> None:
    pool = StatementPool.from_reports(whole(report) for _, report, _ in cases)
    rng = np.random.default_rng(0)
    seen = set()
    for present, report, _ in cases:
        pairs = draw_pairs(whole(report), pool, rng, count=7)
        assert len(pairs) <= 7
        assert sum(pair.holds for pair in pairs) <= 4
        for pair in pairs:
            said = {mention.finding: str(mention.assertion) for mention in label_sentence(pair.text)}
            there = {CT_RATE_FINDINGS.index(finding) in present for finding in said}
            assert set(said.values()) == {"present"}
            assert there == {pair.holds}
            seen.add(pair.holds)
    assert seen == {True, False}


def test_draws_of_pairs_repeat_and_do_not_depend_on_the_order_of_reports(cases: list[Case]) -> None:
    reports = [whole(report) for _, report, _ in cases[:20]]
    pools = [StatementPool.from_reports(order) for order in (reports, reports[::-1])]
    drawn = [draw_pairs(reports[0], pool, np.random.default_rng(3)) for pool in pools]
    assert drawn[0] == drawn[1]


def test_a_pool_without_anything_false_gives_none() -> None:
    pool = StatementPool.from_reports(["Emphysema in both lungs."])
    pairs = draw_pairs("Emphysema in both lungs. Hiatal hernia.", pool, np.random.default_rng(0))
    assert [pair.holds for pair in pairs] == [True, True]
