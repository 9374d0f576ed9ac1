"""The report decoder writes what it was taught, the same with and without its cache, and travels in a bundle."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bundles import VOCABULARY
from bundles import small_config
from bundles import small_model
from bundles import small_spec
from bundles import small_tokenizer

from colipri_core.errors import BundleError
from colipri_core.model.bundle import load_bundle
from colipri_core.model.bundle import save_bundle
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.report_generation import GenerationOptions
from colipri_core.model.report_generation import generate

PAD, UNKNOWN, BEGIN, END = range(4)
GRID = (2, 2, 3)


def small_decoder(**changes: Any) -> ReportDecoder:
    sizes = {"vocab_size": 9, "memory_width": 10, "width": 12, "layers": 2, "heads": 2, "hidden": 16, "max_length": 8}
    torch.manual_seed(0)
    decoder = ReportDecoder(ReportDecoderConfig(**{**sizes, "memory_pool": 1, "dropout": 0.0, **changes})).eval()
    for value in decoder.parameters():  # fresh weights are so small that every piece is as likely as any other
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=0.6)
    return decoder


def options(**changes: Any) -> GenerationOptions:
    return GenerationOptions(**{"begin": BEGIN, "end": END, "pad": PAD, "min_length": 0, **changes})


@pytest.fixture
def memory() -> torch.Tensor:
    torch.manual_seed(1)
    return small_decoder().memory(torch.randn(2, 12, 10), GRID).detach()


class TestConfig:
    def test_round_trip(self) -> None:
        config = ReportDecoderConfig(layers=3)
        assert ReportDecoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config

    @pytest.mark.parametrize("wrong", [{"width": 10}, {"layers": 0}, {"dropout": 1.0}, {"heads": 5}])
    def test_impossible_sizes_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong)) if "heads" not in wrong else "width"):
            ReportDecoderConfig(**{"width": 12, "heads": 2, **wrong})


class TestForward:
    def test_later_pieces_do_not_change_earlier_logits(self, memory: torch.Tensor) -> None:
        decoder, ids = small_decoder(), torch.tensor([[2, 4, 5, 6], [2, 7, 8, 4]])
        changed = ids.clone()
        changed[:, 2:] = 1
        torch.testing.assert_close(decoder(ids, memory)[:, :2], decoder(changed, memory)[:, :2])
        assert not torch.allclose(decoder(ids, memory)[:, 2], decoder(changed, memory)[:, 2])

    def test_one_piece_at_a_time_equals_all_at_once(self, memory: torch.Tensor) -> None:
        decoder, ids = small_decoder(), torch.tensor([[2, 4, 5, 6, 7], [2, 7, 8, 4, 1]])
        state, logits = decoder.start(memory), []
        for column in ids.split(1, dim=1):
            step, state = decoder.advance(column, state)
            logits.append(step)
        torch.testing.assert_close(torch.cat(logits, dim=1), decoder(ids, memory), atol=1e-3, rtol=1e-3)

    def test_too_long_a_report_is_refused(self, memory: torch.Tensor) -> None:
        with pytest.raises(ValueError, match=r"at most 8"):
            small_decoder()(torch.ones(2, 9, dtype=torch.long), memory)

    def test_checkpointing_keeps_the_gradient(self, memory: torch.Tensor) -> None:
        gradients = []
        for flag in (False, True):
            decoder = small_decoder().train()
            decoder.activation_checkpointing = flag
            decoder(torch.tensor([[2, 4, 5], [2, 6, 7]]), memory).square().sum().backward()
            gradients.append(decoder.layers[0].mlp[0].weight.grad)
        torch.testing.assert_close(*gradients)


class TestMemory:
    def test_the_place_of_a_token_is_seen(self) -> None:
        decoder, tokens = small_decoder(), torch.randn(1, 12, 10)
        ids, order = torch.tensor([[2, 4]]), torch.randperm(12)
        moved = decoder(ids, decoder.memory(tokens[:, order], GRID))
        assert not torch.allclose(decoder(ids, decoder.memory(tokens, GRID)), moved, atol=1e-3)

    def test_kept_tokens_keep_their_places(self) -> None:
        decoder, tokens = small_decoder(), torch.randn(2, 12, 10)
        keep = torch.tensor([[0, 5, 11], [3, 4, 9]])
        kept = decoder.memory(tokens.take_along_dim(keep[..., None], dim=1), GRID, keep)
        whole = decoder.memory(tokens, GRID)
        torch.testing.assert_close(kept, whole.take_along_dim(keep[..., None], dim=1))

    def test_cubes_are_averaged_with_their_rim(self) -> None:
        decoder = small_decoder(memory_pool=2)
        assert decoder.memory(torch.randn(1, 12, 10), GRID).shape == (1, 2, 12)


class TestGenerate:
    def test_greedy_takes_the_likeliest_piece_each_time(self, memory: torch.Tensor) -> None:
        decoder = small_decoder()
        written = generate(decoder, memory, options())
        for row, pieces in enumerate(written):
            ids = [BEGIN]
            while len(ids) < 8 and ids[-1] != END:
                logits = decoder(torch.tensor([ids]), memory[row : row + 1])[0, -1]
                logits[[BEGIN, PAD]] = -torch.inf
                ids.append(int(logits.argmax()))
            assert pieces == [piece for piece in ids if piece not in (BEGIN, END)]

    def test_enough_beams_find_the_likeliest_report(self, memory: torch.Tensor) -> None:
        decoder = small_decoder()
        best, best_score = [], -float("inf")
        writable = [piece for piece in range(9) if piece not in (BEGIN, PAD)]
        for pieces in itertools.product(writable, repeat=3):
            cut = pieces[: pieces.index(END) + 1] if END in pieces else pieces
            ids = torch.tensor([[BEGIN, *cut]])
            logits = decoder(ids[:, :-1], memory[:1])[0]
            logits[:, [BEGIN, PAD]] = -torch.inf
            score = float(logits.log_softmax(-1)[torch.arange(len(cut)), ids[0, 1:]].sum().detach())
            if score > best_score:
                best, best_score = [piece for piece in cut if piece != END], score
        found = generate(decoder, memory, options(beams=60, max_length=4, length_penalty=0.0))
        assert found[0] == best

    def test_shortest_length_and_forbidden_pieces_hold(self, memory: torch.Tensor) -> None:
        plain = generate(small_decoder(), memory, options())
        used = plain[0][0]
        for beams in (1, 3):
            written = generate(small_decoder(), memory, options(min_length=8, forbidden=(used,), beams=beams))
            assert all(len(row) >= 6 and used not in row for row in written)

    def test_sampling_repeats_with_its_seed_and_narrows_to_greedy(self, memory: torch.Tensor) -> None:
        decoder = small_decoder()
        draws = [generate(decoder, memory, options(temperature=1.5, seed=seed)) for seed in (0, 0, 1, 2, 3)]
        assert draws[0] == draws[1]
        assert any(draw != draws[0] for draw in draws[2:])
        assert generate(decoder, memory, options(temperature=1.0, top_p=1e-6)) == generate(decoder, memory, options())

    def test_repetition_penalty_lowers_what_was_written(self, memory: torch.Tensor) -> None:
        repeated = generate(small_decoder(), memory, options(min_length=8))
        varied = generate(small_decoder(), memory, options(min_length=8, repetition_penalty=50.0))
        assert sum(len(set(row)) for row in varied) > sum(len(set(row)) for row in repeated)

    def test_contradicting_options_are_refused(self) -> None:
        with pytest.raises(ValueError, match="beams"):
            options(beams=2, temperature=1.0)
        with pytest.raises(ValueError, match="top_p"):
            options(top_p=0.0)

    def test_learns_to_say_what_it_sees(self) -> None:
        torch.manual_seed(0)
        config = dataclasses.replace(small_decoder().config, hidden=24)
        decoder, tokens = ReportDecoder(config), torch.randn(2, 12, 10)
        said = torch.tensor([[BEGIN, 4, 5, 6, END], [BEGIN, 7, 8, END, PAD]])
        adam = torch.optim.Adam(decoder.parameters(), lr=0.01)
        for _ in range(60):
            logits = decoder(said[:, :-1], decoder.memory(tokens, GRID))
            loss = F.cross_entropy(logits.flatten(0, 1), said[:, 1:].flatten(), ignore_index=PAD)
            adam.zero_grad()
            loss.backward()
            adam.step()
        decoder.eval()
        assert generate(decoder, decoder.memory(tokens, GRID), options()) == [[4, 5, 6], [7, 8]]
        assert generate(decoder, decoder.memory(tokens, GRID), options(beams=3)) == [[4, 5, 6], [7, 8]]


class TestBundle:
    def decoder(self, **changes: Any) -> ReportDecoder:
        width = small_config().image.width
        return small_decoder(**{"vocab_size": len(VOCABULARY), "memory_width": width, **changes})

    def save(self, folder: Path, decoder: ReportDecoder) -> None:
        spec = small_spec(report=decoder.config.to_json())
        parts = {"model": small_model(), "tokenizer": small_tokenizer(folder.parent), "report_decoder": decoder}
        save_bundle(folder, spec=spec, **parts)

    def test_comes_back_with_its_weights(self, tmp_path: Path) -> None:
        decoder = self.decoder()
        self.save(tmp_path / "b", decoder)
        loaded = load_bundle(tmp_path / "b").report_decoder
        assert loaded is not None
        assert not loaded.training
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in decoder.state_dict().items())

    def test_a_bundle_without_one_has_no_such_key_and_loads(self, tmp_path: Path) -> None:
        save_bundle(tmp_path / "b", spec=small_spec(), model=small_model(), tokenizer=small_tokenizer(tmp_path))
        assert "report" not in json.loads((tmp_path / "b" / "spec.json").read_text())
        assert load_bundle(tmp_path / "b").report_decoder is None

    def test_sizes_of_another_encoder_are_refused(self, tmp_path: Path) -> None:
        self.save(tmp_path / "b", self.decoder(memory_width=30))
        with pytest.raises(BundleError, match=r"tokens of width 24"):
            load_bundle(tmp_path / "b")

    def test_spec_and_decoder_must_belong_together(self, tmp_path: Path) -> None:
        parts: dict[str, Any] = {"model": small_model(), "tokenizer": small_tokenizer(tmp_path)}
        with pytest.raises(ValueError, match=r"spec.report"):
            save_bundle(tmp_path / "b", spec=small_spec(), report_decoder=self.decoder(), **parts)
