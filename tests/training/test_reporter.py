"""A language model learns to report what patch tokens show: only the adapter learns, and a resume is exact."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from nodule_phantoms import stored
from random_bundles import save_random_bundle
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig
from transformers import LlamaForCausalLM
from transformers import PreTrainedTokenizerFast

from colipri_core.model.bundle import load_bundle
from colipri_training.checkpoints import CheckpointError
from colipri_training.data.store import CaseStore
from colipri_training.data.tokens import pooled_tokens
from colipri_training.reporter.data import Pair
from colipri_training.reporter.data import PairStore
from colipri_training.reporter.data import batches
from colipri_training.reporter.model import LanguageReporter
from colipri_training.reporter.model import ReporterConfig
from colipri_training.reporter.train import ReporterTraining
from colipri_training.reporter.train import train

REPORTS = ("effusion on the left", "no nodule seen")
WIDTH = 12


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ReporterConfig:
    """A random language model of two layers, saved as any other would be."""
    folder = tmp_path_factory.mktemp("language")
    words = ["[PAD]", "[UNK]", "[EOS]", *sorted({word for text in REPORTS for word in text.split()}), "Report", ":"]
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[EOS]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaConfig(vocab_size=len(words), eos_token_id=2, pad_token_id=0, bos_token_id=2, **sizes)
    LlamaForCausalLM(llama).save_pretrained(folder)
    return ReporterConfig(language_model=str(folder), token_width=WIDTH, rank=8, prompt="Report :", max_length=12)


@pytest.fixture
def pairs() -> list[Pair]:
    torch.manual_seed(1)
    return [Pair(tokens=torch.randn(4, WIDTH), report=text) for text in REPORTS]


def fresh(config: ReporterConfig) -> LanguageReporter:
    torch.manual_seed(0)
    return LanguageReporter.fresh(config)


def loss_of(reporter: LanguageReporter, pair: Pair, report: str) -> float:
    with torch.inference_mode():
        return float(reporter(pair.tokens[None], [report]))


def test_learns_to_say_what_it_sees_and_comes_back(config: ReporterConfig, pairs: list[Pair], tmp_path: Path) -> None:
    reporter = fresh(config)
    before = {name: value.clone() for name, value in reporter.named_parameters() if not value.requires_grad}
    learning = ReporterTraining(steps=90, batch=2, learning_rate=3e-3, save_every=1000)
    losses = train(reporter, pairs, learning, tmp_path / "run")
    assert losses[-1] < losses[0] - 0.4  # the frozen random output layer bounds how sure it can be
    assert [reporter.write(pair.tokens) for pair in pairs] == list(REPORTS)
    assert all(torch.equal(value, dict(reporter.named_parameters())[name]) for name, value in before.items())
    assert all("lora" in name or name.startswith("projector") for name in reporter.learned())
    assert loss_of(reporter, pairs[0], REPORTS[1]) > loss_of(reporter, pairs[0], REPORTS[0]) + 0.1

    loaded = LanguageReporter.load(tmp_path / "run" / "reporter")
    assert [loaded.write(pair.tokens) for pair in pairs] == list(REPORTS)
    assert loss_of(loaded, pairs[0], REPORTS[0]) == pytest.approx(loss_of(reporter, pairs[0], REPORTS[0]), rel=1e-4)


def test_a_resumed_run_is_the_same_run(config: ReporterConfig, pairs: list[Pair], tmp_path: Path) -> None:
    learning = ReporterTraining(steps=6, batch=1, save_every=3)
    whole = train(fresh(config), pairs, learning, tmp_path / "whole")

    class KilledError(Exception):
        pass

    class Dying(list):
        def __getitem__(self, index):
            self.reads = getattr(self, "reads", 0) + 1
            if self.reads > 4:
                raise KilledError
            return super().__getitem__(index)

    with pytest.raises(KilledError):
        train(fresh(config), Dying(pairs), learning, tmp_path / "cut")
    rest = train(fresh(config), pairs, learning, tmp_path / "cut")
    assert rest == whole[3:]
    assert train(fresh(config), pairs, learning, tmp_path / "cut") == []


def test_a_checkpoint_of_other_sizes_is_refused(config: ReporterConfig, pairs: list[Pair], tmp_path: Path) -> None:
    learning = ReporterTraining(steps=1, batch=1)
    train(fresh(config), pairs, learning, tmp_path)
    torch.manual_seed(0)
    other = LanguageReporter(config, fresh(config).language_model.get_base_model(), fresh(config).tokenizer)
    with pytest.raises(ValueError, match="another language model or rank"):
        train(other, pairs, dataclasses.replace(learning, steps=2), tmp_path)


@pytest.mark.parametrize("change", [{"batch": 2}, {"learning_rate": 1.0}, {"seed": 1}, {"steps": 4}])
def test_a_checkpoint_of_another_training_is_refused(
    config: ReporterConfig, pairs: list[Pair], tmp_path: Path, change: dict[str, int]
) -> None:
    learning = ReporterTraining(steps=2, batch=1)
    train(fresh(config), pairs, learning, tmp_path)
    (name,) = change
    with pytest.raises(CheckpointError, match=f"training.{name}: "):
        train(fresh(config), pairs, dataclasses.replace(learning, **change), tmp_path)
    with pytest.raises(CheckpointError, match="learned from"):
        train(fresh(config), pairs[:1], learning, tmp_path)
    assert train(fresh(config), pairs, dataclasses.replace(learning, save_every=1), tmp_path) == []


def test_padding_does_not_count(config: ReporterConfig, pairs: list[Pair]) -> None:
    reporter = fresh(config).eval()
    alone = [loss_of(reporter, pair, pair.report) for pair in pairs]
    lengths = [len(pair.report.split()) + 1 for pair in pairs]
    with torch.inference_mode():
        together = float(reporter(torch.stack([pair.tokens for pair in pairs]), list(REPORTS)))
    weighted = sum(loss * length for loss, length in zip(alone, lengths, strict=True)) / sum(lengths)
    assert together == pytest.approx(weighted, rel=1e-4)


def test_a_batch_depends_on_its_step_alone_and_a_pass_sees_every_pair() -> None:
    pairs = [Pair(tokens=torch.zeros(1, 1), report=str(number)) for number in range(6)]
    whole = [[pair.report for pair in batch] for batch in batches(pairs, size=2, steps=range(6), seed=3)]
    late = [[pair.report for pair in batch] for batch in batches(pairs, size=2, steps=range(4, 6), seed=3)]
    assert whole[4:] == late
    for one_pass in (whole[:3], whole[3:]):
        assert sorted(itertools.chain.from_iterable(one_pass)) == list("012345")
    assert whole[:3] != whole[3:]


def test_tokens_are_averaged_row_by_row_and_kept_on_disk(tmp_path: Path) -> None:
    grid = torch.arange(27.0).reshape(1, 1, 3, 3, 3)
    pooled = pooled_tokens(grid, 2)
    assert pooled.shape == (8, 1)
    assert float(pooled[0]) == pytest.approx(float(grid[0, 0, :2, :2, :2].mean()))
    assert float(pooled[-1]) == 26.0

    cases = CaseStore(tmp_path / "cases")
    cases.write(stored(7, nodule=True))
    bundle = load_bundle(save_random_bundle(tmp_path / "bundle"))
    first = PairStore(bundle, cases, tmp_path / "tokens", pool=2)[0]
    (kept,) = (tmp_path / "tokens").rglob("*.npy")
    written = kept.stat().st_mtime_ns
    second = PairStore(bundle, cases, tmp_path / "tokens", pool=2)[0]
    assert kept.stat().st_mtime_ns == written
    assert torch.equal(first.tokens, second.tokens)
    assert first.tokens.shape == (6**3, 24)
    assert first.report == "There is a lung nodule."
