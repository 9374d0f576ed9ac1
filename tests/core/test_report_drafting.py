"""Drafting: what the decoder writes or the findings say, sentence by sentence, with place, second opinion and flags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chests import chest
from random_bundles import save_random_bundle
from random_bundles import vocabulary

import colipri_core as cc
from colipri_core.cases import Embedding
from colipri_core.errors import Cancelled
from colipri_core.errors import SessionClosedError
from colipri_core.findings import Finding
from colipri_core.inference.report_composing import NOTHING
from colipri_core.inference.report_composing import compose
from colipri_core.inference.report_writing import SentenceSplitter
from colipri_core.inference.report_writing import joined
from colipri_core.language.labeller import label_report
from colipri_core.language.sections import SectionName
from colipri_core.model.report_attention import AttentionWatch
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.tokenizer import tokenizer_from_vocabulary
from colipri_core.progress import CancelToken
from colipri_core.report import DraftOptions
from colipri_core.report import Flag
from colipri_core.report import ReportSentence
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS

WRITES = (
    "There is pleural effusion in the left upper lobe. No lung nodule. "
    "Impression: There is a small cardiac enlargement."
)
COMPOSED = cc.DraftOptions(composed=True)
VOLUME = chest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_bundle(tmp_path_factory.mktemp("models") / "writer", writes=WRITES, local=True)


@pytest.fixture(scope="module")
def writer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cc.Engine]:
    with cc.open_engine(folder, device="cpu", cache_dir=tmp_path_factory.mktemp("cache")) as engine:
        yield engine


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cc.Engine]:
    with cc.open_engine("tiny", device="cpu", cache_dir=tmp_path_factory.mktemp("cache")) as engine:
        yield engine


class TestWriting:
    def test_the_engine_says_who_can_write(self, writer: cc.Engine) -> None:
        assert writer.capabilities.report

    def test_sections_and_sentences_are_those_of_the_decoder(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            report = session.draft_report()
        assert [section.name for section in report.sections] == ["Findings", "Impression"]
        assert [sentence.text for sentence in report] == [
            "There is pleural effusion in the left upper lobe.",
            "No lung nodule.",
            "There is a small cardiac enlargement.",
        ]
        assert [sentence.finding for sentence in report] == ["Pleural effusion", "Lung nodule", "Cardiomegaly"]
        assert all(sentence.support.source == "report decoder" for sentence in report)
        assert report.provenance.model.name == "writer"
        assert "draft" in report.provenance.timings

    def test_it_is_composed_where_that_is_asked_for(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            composed = session.draft_report(options=COMPOSED)
        assert {sentence.support.source for sentence in composed} == {"findings"}

    def test_sentences_stream_while_the_next_are_written(self, writer: cc.Engine) -> None:
        seen: list[tuple[str, float]] = []
        last = [0.0]

        def progress(fraction: float, message: str) -> None:
            last[0] = fraction

        with writer.open(VOLUME) as session:
            report = session.draft_report(
                on_sentence=lambda sentence: seen.append((sentence.text, last[0])), progress=progress
            )
        assert [text for text, _ in seen] == [sentence.text for sentence in report]
        fractions = [fraction for _, fraction in seen]
        assert fractions == sorted(set(fractions))
        assert fractions[-1] < last[0]

    def test_beams_write_the_same_report(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            greedy, beams = session.draft_report(), session.draft_report(options=DraftOptions(beams=3))
        assert greedy.text == beams.text
        for one, other in zip(greedy, beams, strict=True):
            assert one.support.attention_ras == other.support.attention_ras

    def test_cancelled_in_the_middle_of_a_sentence(self, writer: cc.Engine) -> None:
        token, seen = CancelToken(), []

        def progress(fraction: float, message: str) -> None:
            if seen and message == "Writing the draft":
                token.cancel()

        with writer.open(VOLUME) as session:
            with pytest.raises(Cancelled):
                session.draft_report(on_sentence=seen.append, progress=progress, cancel=token)
            assert len(seen) == 1
            assert len(session.draft_report()) == 3

    def test_an_error_of_the_listener_reaches_the_caller(self, writer: cc.Engine) -> None:
        def broken(sentence: ReportSentence) -> None:
            raise ZeroDivisionError

        with writer.open(VOLUME) as session:
            with pytest.raises(ZeroDivisionError):
                session.draft_report(on_sentence=broken)
            assert len(session.draft_report()) == 3

    def test_a_closed_session_refuses(self, writer: cc.Engine) -> None:
        session = writer.open(VOLUME)
        session.close()
        with pytest.raises(SessionClosedError):
            session.draft_report()


class TestSecondOpinion:
    def test_the_place_is_the_peak_of_the_evidence_and_lies_in_the_volume(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            for sentence in session.draft_report():
                assert sentence.place_ras is not None
                evidence = session.evidence(sentence.support.evidence_text or "")
                assert sentence.place_ras == pytest.approx(tuple(evidence.peak_ras), abs=0.01)
                assert sentence.support.evidence_value == pytest.approx(evidence.peak_value, abs=1e-5)
                assert VOLUME.geometry.contains(sentence.support.attention_ras)

    def test_probabilities_are_those_of_the_opposites(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            findings, report = session.classify(), session.draft_report()
        effusion, nodule, _ = report
        assert effusion.support.opposite == "There is no pleural effusion in the left upper lobe."
        assert effusion.support.finding_probability == pytest.approx(findings["Pleural effusion"].probability)
        assert nodule.support.opposite == "There is a lung nodule."
        for sentence in report:
            likely = sentence.support.probability >= 0.3
            if not sentence.is_affirmed:
                likely = sentence.support.probability > 0.7
            assert (Flag.CONTRADICTED in sentence.flags) == (not likely)

    def test_the_threshold_decides_what_is_contradicted(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            strict, lenient = (session.draft_report(options=DraftOptions(threshold=t)) for t in (0.99, 0.01))
        affirmed, denied, _ = zip(strict, lenient, strict=True)
        assert [Flag.CONTRADICTED in sentence.flags for sentence in affirmed] == [True, False]
        assert [Flag.CONTRADICTED in sentence.flags for sentence in denied] == [False, True]

    def test_a_sentence_is_calibrated_as_its_finding_is(self, tmp_path: Path, folder: Path) -> None:
        codes = {concept.name: concept.code for concept in CT_RATE_CONCEPTS}
        calibration = {codes["Pleural effusion"]: (0.0, 2.0), codes["Lung nodule"]: (0.0, 2.0)}
        bundle = save_random_bundle(tmp_path / "b", writes=WRITES, local=True, calibration=calibration)
        with cc.open_engine(bundle, device="cpu", cache_dir=tmp_path) as engine, engine.open(VOLUME) as session:
            effusion, nodule, _ = session.draft_report()
        assert effusion.support.probability == pytest.approx(1 / (1 + np.exp(-2.0)))
        assert nodule.support.probability == pytest.approx(1 - 1 / (1 + np.exp(-2.0)))
        assert effusion.support.calibrated

    def test_given_sentences_are_checked_as_written_ones_are(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            written = next(iter(session.draft_report()))
            checked = next(iter(session.check_sentences([written.text.lower()])))
            assert checked.support.source == "reader"
            assert (checked.text, checked.finding) == (written.text, written.finding)
            assert checked.support.probability == written.support.probability
            assert checked.place_ras == written.place_ras
            with pytest.raises(ValueError, match="needs words"):
                session.check_sentences(["..."])
            with pytest.raises(TypeError, match="list"):
                session.check_sentences("No nodule.")

    def test_the_side_is_disputed_where_the_evidence_lies_on_the_other(self, writer: cc.Engine) -> None:
        """A mirrored volume moves what the model sees to the other side; the words stay."""
        dense = np.arange(VOLUME.shape[0])[:, None, None] < 20
        lopsided = VOLUME.replace_voxels(np.where(dense, 40, VOLUME.voxels))
        disputed = {}
        for volume in (lopsided, lopsided.replace_voxels(lopsided.voxels[::-1])):
            with writer.open(volume) as session:
                sentence = next(iter(session.draft_report()))
            disputed[sentence.support.side] = Flag.SIDE_DISPUTED in sentence.flags
        assert disputed == {"left": False, "right": True}

    def test_likely_findings_that_no_sentence_names_are_listed(self, writer: cc.Engine) -> None:
        with writer.open(VOLUME) as session:
            findings, report = session.classify(), session.draft_report()
        named = {label.name for label in label_report(report.text).findings if label.assertion is not None}
        expected = {item.name for item in findings if item.probability >= 0.3} - named
        assert {item.name for item in report.unmentioned} == expected
        assert expected


class TestComposing:
    def test_a_composed_draft_says_what_the_findings_say(self, tiny: cc.Engine) -> None:
        with tiny.open(VOLUME) as session:
            findings, report = session.classify(), session.draft_report(options=COMPOSED)
        labels = label_report(report.text)
        for item in findings:
            assert labels[item.name].positive == (item.probability >= 0.3)
        assert {sentence.support.source for sentence in report} == {"findings"}
        assert report.unmentioned == ()

    def test_every_finding_can_be_affirmed_doubted_and_denied(self) -> None:
        for probability, wanted in ((0.9, True), (0.55, True), (0.2, False)):
            items = [
                Finding(name=concept.name, code=concept.code, probability=probability, calibrated=False)
                for concept in CT_RATE_CONCEPTS
            ]
            lines = compose(items, threshold=0.5)
            labels = label_report(" ".join(line.text for line in lines))
            assert [label.positive for label in labels.findings] == [wanted] * 18

    def test_an_empty_impression_says_so(self) -> None:
        items = [Finding(name="Emphysema", code="", probability=0.1, calibrated=False)]
        lines = compose(items, threshold=0.5)
        assert [line.text for line in lines if line.section is SectionName.IMPRESSION] == [NOTHING]

    def test_sentences_of_similar_cases_are_taken_where_they_say_nothing_else(self) -> None:
        texts = (
            "Nodule and emphysema are seen.",  # emphysema is not there
            "No nodule is seen.",
            "  There is a 6 mm nodule in the right upper lobe ",
            "Another nodule is seen.",
        )

        def find(k: int) -> list[SimpleNamespace]:
            return [SimpleNamespace(text=text, case=f"case-{n}") for n, text in enumerate(texts)][:k]

        items = [
            Finding(name="Lung nodule", code="", probability=0.8, calibrated=False),
            Finding(name="Emphysema", code="", probability=0.1, calibrated=False),
        ]
        first = compose(items, threshold=0.5, find=find)[0]
        assert first.text == "There is a 6 mm nodule in the right upper lobe."
        assert first.source == "similar case case-2"

    def test_the_session_hands_its_vector_to_the_store(self, tiny: cc.Engine) -> None:
        given = []

        class Store:
            def sentences(self, query: Embedding, k: int) -> list[SimpleNamespace]:
                given.append(query)
                return []

        with tiny.open(VOLUME) as session:
            session.draft_report(store=Store(), options=COMPOSED)
        (query,) = given
        assert np.linalg.norm(query.vector) == pytest.approx(1.0, abs=1e-5)
        assert query.provenance.model == tiny.card


@pytest.mark.parametrize("composed", [False, True], ids=["written", "composed"])
def test_a_real_scan_gets_a_checked_draft(tiny: cc.Engine, shared_data: Path, *, composed: bool) -> None:
    volume = cc.read_volume(shared_data / "lung_masks" / "imlab_id001_ct.nii.gz")
    with tiny.open(volume) as session:
        report = session.draft_report(options=cc.DraftOptions(composed=composed))
    assert {sentence.support.source for sentence in report} == {"findings" if composed else "report decoder"}
    for sentence in report:
        assert sentence.place_ras is not None
        assert volume.geometry.contains(sentence.place_ras)
        assert sentence.support.probability is not None or Flag.UNCHECKED in sentence.flags
    assert report.sections[0].name == "Findings"


class TestSplitting:
    @pytest.mark.parametrize(
        ("pieces", "text"),
        [
            (["ground", "-", "glass", "opac", "##ity"], "ground-glass opacity"),
            (["4", ".", "5", "mm"], "4.5 mm"),
            (["patient", "'", "s"], "patient's"),
            (["nodule", ".", "no"], "nodule . no"),
        ],
    )
    def test_word_pieces_become_text(self, pieces: list[str], text: str) -> None:
        assert joined(pieces) == text

    def test_sentences_end_once_it_is_certain(self, tmp_path: Path) -> None:
        words = [*vocabulary(), "4", "5", "mm", "segment"]
        (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
        tokenizer = tokenizer_from_vocabulary(tmp_path / "vocab.txt")
        lines, spans, after = [], [], []

        def look(start: int, stop: int) -> tuple[float, float, float]:
            spans.append((start, stop))
            return (0.0, 0.0, 0.0)

        splitter = SentenceSplitter(tokenizer, look, lines.append)
        text = "nodule 4 . 5 mm . no effusion in segment 4 . findings : effusion"
        for word in text.split():
            splitter.add(tokenizer.convert_tokens_to_ids(word))
            after.append(len(lines))
        splitter.finish()
        assert [line.text for line in lines] == ["Nodule 4.5 mm.", "No effusion in segment 4.", "Effusion."]
        assert after[5] == 1  # the full stop after "mm" is certain at once, that after "4" only with the next word
        assert (after[11], after[12]) == (1, 2)
        assert spans == [(0, 6), (6, 12), (14, 15)]


class TestAttention:
    @pytest.fixture
    def decoder(self) -> ReportDecoder:
        torch.manual_seed(0)
        sizes = {"vocab_size": 9, "memory_width": 10, "width": 12, "layers": 2, "heads": 1, "hidden": 16}
        return ReportDecoder(ReportDecoderConfig(memory_pool=1, dropout=0.0, **sizes)).eval()

    def test_weights_are_those_the_layer_uses(self, decoder: ReportDecoder) -> None:
        attention = decoder.layers[0].cross
        x, memory = torch.randn(1, 3, 12), torch.randn(1, 5, 12)
        known = attention.remember(memory)
        weighted = attention.out(attention.weights(x, known) @ known.values[:, 0])
        torch.testing.assert_close(weighted, attention(x, known))

    def test_piece_by_piece_equals_all_at_once_and_hooks_are_removed(self, decoder: ReportDecoder) -> None:
        memory = decoder.memory(torch.randn(1, 12, 10), (2, 2, 3))
        ids = torch.tensor([[2, 4, 5, 6]])
        with torch.inference_mode():
            with AttentionWatch(decoder) as whole:
                decoder(ids, memory)
            with AttentionWatch(decoder) as stepwise:
                state = decoder.start(memory)
                for column in ids.split(1, dim=1):
                    _, state = decoder.advance(column, state)
        torch.testing.assert_close(whole.mean(1, 3), stepwise.mean(1, 3))
        assert float(whole.mean(0, 4).sum()) == pytest.approx(1.0, abs=1e-5)
        assert not any(layer.cross._forward_hooks for layer in decoder.layers)


@pytest.mark.parametrize("beams", [1, 2])
def test_half_a_sentence_at_the_longest_length_is_dropped(writer: cc.Engine, beams: int) -> None:
    with writer.open(VOLUME) as session:
        short = session.draft_report(options=DraftOptions(max_length=13, beams=beams))
    assert [sentence.text for sentence in short] == ["There is pleural effusion in the left upper lobe."]
