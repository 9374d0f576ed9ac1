"""The tokenizer that a run trains on its own reports."""

from __future__ import annotations

from pathlib import Path

from colipri_training.data.text import train_tokenizer

REPORTS = [
    "There is a small nodule in the right upper lobe. No pleural effusion.",
    "Ground-glass opacities in both lower lobes; the heart is enlarged.",
    "No pleural effusion. Nodules of up to 8 mm in the lower lobes.",
    "Emphysema of the upper lobes, small hiatal hernia, no consolidation.",
]


def vocabulary(texts: list[str], folder: Path) -> list[str]:
    size = train_tokenizer(texts, folder)
    pieces = (folder / "vocab.txt").read_text().splitlines()
    assert len(pieces) == size
    return pieces


class TestTrainTokenizer:
    def test_the_same_reports_give_the_same_vocabulary_in_any_order(self, tmp_path: Path) -> None:
        first = vocabulary(REPORTS, tmp_path / "0")
        for number in range(1, 6):
            assert vocabulary(REPORTS[::-1] if number % 2 else REPORTS, tmp_path / str(number)) == first

    def test_special_pieces_come_first_and_every_letter_within_a_word_has_its_own(self, tmp_path: Path) -> None:
        pieces = vocabulary(REPORTS, tmp_path)
        assert pieces[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert {f"##{letter}" for letter in "aefinostu"} <= set(pieces)
        assert len(set(pieces)) == len(pieces)
