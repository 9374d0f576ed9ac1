"""Reports sorted by a language model: only what says the same is taken, and nothing is asked twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import GPT2Config
from transformers import GPT2LMHeadModel
from transformers import LlamaConfig
from transformers import LlamaForCausalLM
from transformers import PreTrainedTokenizerFast

from colipri_core.errors import ModelUnavailableError
from colipri_training.cli.main import main
from colipri_training.data import report_llm
from colipri_training.data.manifest import Entry
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest_files import read_manifest
from colipri_training.data.manifest_files import write_manifest
from colipri_training.data.report_llm import LanguageModel
from colipri_training.data.report_llm import ReportStructurer
from colipri_training.data.report_llm import by_rules
from colipri_training.data.report_llm import structure_manifest

REPORT = "A 6 mm nodule is seen in the left lung. No pleural effusion. Impression: Lung nodule."
ANSWER = json.dumps(
    {"findings": ["A 6 mm nodule is seen in the left lung.", "No pleural effusion."], "impression": ["Lung nodule."]}
)


class Says:
    """A model that always gives the same answer, and counts."""

    def __init__(self, answer: str, name: str = "says") -> None:
        self.name, self.answer, self.prompts = name, answer, list[str]()

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.answer


class TestChecks:
    def test_an_answer_that_says_the_same_is_taken(self, tmp_path: Path) -> None:
        model = Says(f"Here it is:\n{ANSWER}\nAnything else?")
        found = ReportStructurer(model, tmp_path)(REPORT)
        assert (found.source, found.reason) == ("model", "")
        assert found.text == (
            "Findings: A 6 mm nodule is seen in the left lung. No pleural effusion.\nImpression: Lung nodule."
        )
        assert REPORT in model.prompts[0]

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ("", "no JSON object"),
            ("The report is normal.", "no JSON object"),
            (ANSWER[:40], "no JSON object"),
            ("[1]", "no JSON object|not the two lists"),
            ('{"findings": []}', "not the two lists"),
            ('{"findings": "a", "impression": []}', "findings is no list of sentences"),
            ('{"findings": [""], "impression": []}', "findings is no list of sentences"),
            ('{"findings": [], "impression": []}', "it is empty"),
            (ANSWER.replace("6 mm", "8 mm"), "numbers that the report has not: 8"),
            (ANSWER.replace("A 6 mm nodule", "A nodule"), "lost numbers of the report: 6"),
            (ANSWER.replace("Lung nodule.", "Probable metastasis of a tumour."), "words that the report has not"),
            (ANSWER.replace("No pleural", "Pleural"), "says otherwise of Pleural effusion"),
            (ANSWER.replace("A 6 mm nodule is", "No 6 mm nodule is"), "otherwise of Lung nodule"),
        ],
    )
    def test_any_other_is_not_and_the_reason_is_given(self, tmp_path: Path, answer: str, reason: str) -> None:
        found = ReportStructurer(Says(answer), tmp_path)(REPORT)
        assert found.source == "rules"
        assert re.search(reason, found.reason), found.reason
        assert found.findings == by_rules(REPORT).findings
        assert found.impression == ("Lung nodule.",)

    def test_text_without_sections_is_all_findings(self) -> None:
        assert by_rules("Technique: Low dose.").findings == ("Technique.", "Low dose.")
        assert by_rules("Clear lungs. No effusion.").impression == ()


class TestCache:
    def test_nothing_is_asked_twice(self, tmp_path: Path) -> None:
        first, second = Says(ANSWER), Says("something else")
        expected = ReportStructurer(first, tmp_path)(REPORT)
        assert ReportStructurer(second, tmp_path)(REPORT) == expected
        assert (len(first.prompts), len(second.prompts)) == (1, 0)

    def test_another_report_model_or_prompt_is_asked_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = Says(ANSWER)
        ReportStructurer(model, tmp_path)(REPORT)
        ReportStructurer(model, tmp_path)(REPORT + " ")
        ReportStructurer(other := Says(ANSWER, name="other"), tmp_path)(REPORT)
        monkeypatch.setattr(report_llm, "PROMPT_VERSION", 2)
        ReportStructurer(model, tmp_path)(REPORT)
        assert (len(model.prompts), len(other.prompts)) == (3, 1)
        assert len(list(tmp_path.glob("*/*.json"))) == 4


def tokenizer_of(text: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=600, special_tokens=["<end>"], initial_alphabet=ByteLevel.alphabet())
    backend.train_from_iterator([text] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of random weights, with a chat template."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = tokenizer_of(report_llm.PROMPT)
    tokenizer.chat_template = "{% for m in messages %}USER {{ m['content'] }}{% endfor %} ASSISTANT "
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=400, eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class TestModels:
    def test_a_random_llama_answers_nonsense_which_is_not_taken(self, tmp_path: Path, llama: Path) -> None:
        model = LanguageModel(str(llama), max_new_tokens=20)
        assert model("a") == model("a")
        found = ReportStructurer(model, tmp_path)(REPORT)
        assert found.source == "rules"
        assert found.reason

    def test_a_report_longer_than_the_context_is_left_to_the_rules(self, tmp_path: Path, llama: Path) -> None:
        found = ReportStructurer(LanguageModel(str(llama)), tmp_path)("No pleural effusion. " * 400)
        assert found.findings == ("No pleural effusion.",)

    def test_a_gpt2_that_has_learned_one_answer_gives_it(self, tmp_path: Path) -> None:
        prompt = f"{report_llm.PROMPT}{REPORT}{report_llm._ANSWER}"
        tokenizer = tokenizer_of(prompt + ANSWER)
        tokenizer.save_pretrained(tmp_path / "gpt2")
        asked, answer = (tokenizer(text, return_tensors="pt")["input_ids"] for text in (prompt, ANSWER))
        ids = torch.cat([asked, answer, torch.zeros(1, 1, dtype=torch.int64)], dim=1)
        labels = torch.where(torch.arange(ids.shape[1]) < asked.shape[1], -100, ids)
        torch.manual_seed(0)
        size = {"n_embd": 48, "n_layer": 1, "n_head": 2, "n_positions": 400}
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **size, **dropout)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            model(ids, labels=labels).loss.backward()
            optimizer.step()
        model.save_pretrained(tmp_path / "gpt2")
        found = ReportStructurer(LanguageModel(str(tmp_path / "gpt2")), tmp_path / "cache")(REPORT)
        assert (found.source, found.reason) == ("model", "")
        assert found.impression == ("Lung nodule.",)

    def test_what_is_no_model_is_refused(self, tmp_path: Path, llama: Path) -> None:
        with pytest.raises(ModelUnavailableError, match="causal language model"):
            LanguageModel(str(tmp_path))
        weights = llama / "model.safetensors"
        pickled = tmp_path / "pickled"
        pickled.mkdir()
        for path in llama.iterdir():
            if path != weights:
                (pickled / path.name).write_bytes(path.read_bytes())
        torch.save({}, pickled / "pytorch_model.bin")
        with pytest.raises(ModelUnavailableError, match="safetensors"):
            LanguageModel(str(pickled))


class TestManifests:
    def manifest(self, folder: Path) -> Manifest:
        reports = (REPORT, None, "No nodule.")
        return Manifest(
            entries=tuple(
                Entry(id=f"s{n}", image=folder / f"{n}.nii.gz", patient=f"p{n}", split="train", report=report)
                for n, report in enumerate(reports)
            )
        )

    def test_reports_are_replaced_and_their_sources_counted(self, tmp_path: Path) -> None:
        done = structure_manifest(self.manifest(tmp_path), ReportStructurer(Says(ANSWER), tmp_path))
        assert [entry.report and entry.report[:12] for entry in done.entries] == ["Findings: A ", None, "Findings: No"]
        assert done.notes == ("1 of 2 reports were sorted by rules, since the model's answer could not be used.",)

    def test_the_command_line(self, tmp_path: Path, llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_manifest(tmp_path / "in.csv", self.manifest(tmp_path))
        arguments = ["sort-reports", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
        assert main([*arguments, "--model", str(tmp_path / "none"), "--cache", str(tmp_path / "c")]) == 4
        assert main([*arguments, "--model", str(llama), "--cache", str(tmp_path / "c")]) == 0
        assert "2 of 2 reports were sorted by rules" in capsys.readouterr().out
        assert read_manifest(tmp_path / "out.csv").entries[2].report == "Findings: No nodule."
