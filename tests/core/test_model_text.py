"""The tokenizer and the text encoder: plain vocabularies, padding, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundles import VOCABULARY
from bundles import small_model
from bundles import small_tokenizer

from colipri_core.errors import BundleError
from colipri_core.model.tokenizer import load_tokenizer
from colipri_core.model.tokenizer import save_tokenizer
from colipri_core.model.tokenizer import tokenize
from colipri_core.model.tokenizer import tokenizer_from_vocabulary

CLS, SEP, UNK = 2, 3, 1


class TestTokenizer:
    def test_lower_case_word_pieces(self, tmp_path: Path) -> None:
        ids, mask = tokenize(small_tokenizer(tmp_path), ["No Lung Nodules.", "Lung zebra"], 32)
        assert ids.tolist() == [[CLS, 9, 7, 8, 12, 13, SEP], [CLS, 7, UNK, SEP, 0, 0, 0]]
        assert mask.tolist() == [[1] * 7, [1, 1, 1, 1, 0, 0, 0]]
        assert ids.dtype == mask.dtype == torch.int64

    def test_long_texts_are_cut(self, tmp_path: Path) -> None:
        ids, _ = tokenize(small_tokenizer(tmp_path), ["lung " * 50], 10)
        assert ids.tolist() == [[CLS, *[7] * 8, SEP]]

    def test_padding_to_the_maximum(self, tmp_path: Path) -> None:
        ids, mask = tokenize(small_tokenizer(tmp_path), ["lung"], 32, pad_to_max=True)
        assert ids.shape == mask.shape == (1, 32)
        assert mask.sum() == 3

    def test_json_gives_the_same_ids(self, tmp_path: Path) -> None:
        tokenizer = small_tokenizer(tmp_path)
        folder = tmp_path / "json"
        folder.mkdir()
        save_tokenizer(tokenizer, folder)
        texts = ["There is no pleural effusion.", "Lung nodules present", ""]
        again = load_tokenizer(folder)
        assert tokenize(again, texts, 32)[0].tolist() == tokenize(tokenizer, texts, 32)[0].tolist()
        assert again.unk_token_id == UNK

    def test_folder_without_tokenizer(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"tokenizer\.json or vocab\.txt"):
            load_tokenizer(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("\n".join(VOCABULARY[1:]).encode(), r"\['\[PAD\]'\] missing"),
            ("\n".join([*VOCABULARY, "lung"]).encode(), r"found 1 repeated"),
            (b"\xff\xfe\x00", r"UTF-8"),
        ],
    )
    def test_wrong_vocabulary(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "vocab.txt").write_bytes(content)
        with pytest.raises(BundleError, match=message):
            tokenizer_from_vocabulary(tmp_path / "vocab.txt")

    def test_wrong_json(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text('{"model": 3}')
        with pytest.raises(BundleError, match=r"cannot be parsed"):
            load_tokenizer(tmp_path)


class TestEncoder:
    @torch.no_grad()
    def test_vectors_are_unit_and_free_of_padding(self, tmp_path: Path) -> None:
        model, tokenizer = small_model(), small_tokenizer(tmp_path)
        short = model.encode_text(*tokenize(tokenizer, ["pleural effusion"], 32))
        padded = model.encode_text(*tokenize(tokenizer, ["pleural effusion"], 32, pad_to_max=True))
        assert torch.allclose(short.norm(dim=1), torch.ones(1))
        assert torch.allclose(short, padded, atol=1e-6)

    @torch.no_grad()
    def test_legacy_padding_depends_on_it(self, tmp_path: Path) -> None:
        model, tokenizer = small_model(), small_tokenizer(tmp_path)
        padded = tokenize(tokenizer, ["pleural effusion"], 32, pad_to_max=True)
        legacy = model.encode_text(*padded, legacy_padding=True)
        assert (legacy - model.encode_text(*padded)).abs().max() > 1e-3

    def test_mask_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"shape"):
            small_model().text_encoder.pooler(torch.zeros(1, 3, 12), torch.ones(1, 4))

    @torch.no_grad()
    def test_probabilities_use_the_temperature(self) -> None:
        model = small_model()
        image, text = torch.eye(12)[:1], torch.eye(12)[:2]
        model.softmax_temperature.fill_(0.5)
        assert model.probabilities(image, text)[0, 0].item() == pytest.approx(1 / (1 + torch.tensor(-2.0).exp().item()))
