"""Reports sorted into findings and impression by a language model, checked, kept on disk, or else by rules.

Free text mixes sections, and puts several statements into one sentence. An instruction-tuned model can set that right;
it can also invent. So its answer is only taken if it says the same: the labeller must find the same statements on the
18 findings in both, the numbers must be those of the report, and nearly all words must stand in it. Otherwise the
rule-based sections are used, and the result says why. Any causal model of transformers will do, from a folder or the
hub; remote code and pickles are refused. Which model and prompt the published system used is not known; these are our
choice.

An answer is kept under the hash of (model, prompt version, report), before it is checked: a second pass over a data set
asks the model nothing, also when the checks have changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import Literal
from typing import Protocol

import torch
from transformers import AutoModelForCausalLM
from transformers import AutoTokenizer

from colipri_core.errors import ModelUnavailableError
from colipri_core.io.atomic import write_json
from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_sentence
from colipri_core.language.sections import findings_and_impression
from colipri_core.language.sentences import distinct
from colipri_core.language.sentences import split_sentences
from colipri_training.data.manifest import Manifest
from colipri_training.data.manifest import join_report

logger = logging.getLogger(__name__)

PROMPT_VERSION = 1
PROMPT = """Sort the sentences of this chest CT report into two lists, findings and impression. Write one statement a
sentence. Keep the report's words, sides, sizes and negations. Add nothing. Leave out technique, history and comparison.
Answer with JSON alone, in this form: {"findings": ["..."], "impression": ["..."]}

Report:
"""
_ANSWER = "\n\nJSON:\n"
_SECTIONS = ("findings", "impression")
_LEAST_KNOWN_WORDS = 0.9
"""Share of an answer's words that must stand in the report (our choice)."""

_WORD = re.compile(r"[a-z]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructuredReport:
    """A report as sentences.

    Args:
        findings: Sentences of the findings.
        impression: Sentences of the impression.
        source: Who sorted them: the model, or the rules.
        reason: Why the model's answer was not taken; empty if it was.
    """

    findings: tuple[str, ...]
    impression: tuple[str, ...]
    source: Literal["model", "rules"]
    reason: str = ""

    @property
    def text(self) -> str:
        """The report with headings, as manifests hold it."""
        return join_report(" ".join(self.findings), " ".join(self.impression)) or ""


class Writer(Protocol):
    """Something that answers a prompt."""

    name: str

    def __call__(self, prompt: str) -> str:
        """Return the answer alone."""
        ...


class LanguageModel:
    """A causal language model of transformers, decoding greedily.

    Args:
        source: Folder or hub id, safetensors only.
        device: Where it computes.
        max_new_tokens: Longest answer.

    Raises:
        ModelUnavailableError: If it cannot be loaded; the message has the reason.
    """

    def __init__(self, source: str, *, device: str = "cpu", max_new_tokens: int = 1024) -> None:
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            self._model = AutoModelForCausalLM.from_pretrained(
                source, trust_remote_code=False, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError) as error:
            msg = f"Expected a causal language model in safetensors at {source}, but it cannot be loaded: {error}"
            raise ModelUnavailableError(msg) from error
        self._model.to(device).eval()
        self._max_new_tokens = max_new_tokens
        revision = getattr(self._model.config, "_commit_hash", None)
        self.name = f"{source}@{revision}" if revision else source

    def __call__(self, prompt: str) -> str:
        """Answer a prompt; an empty answer where prompt and answer would not fit the model's context."""
        ids = self._ids(prompt)
        room = getattr(self._model.config, "max_position_embeddings", 1 << 30) - ids.shape[1]
        if room < 1:
            return ""
        with torch.inference_mode():
            written = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(room, self._max_new_tokens),
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
            )
        return str(self._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))

    def _ids(self, prompt: str) -> torch.Tensor:
        if self._tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            prompt = self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        encoded = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=not self._tokenizer.chat_template)
        ids: torch.Tensor = encoded["input_ids"].to(self._model.device)
        return ids


class ReportStructurer:
    """Sorts reports, asking a model only what it has not been asked before.

    Args:
        writer: The model.
        cache: Folder of its answers; made if absent. Several processes may share it.
    """

    def __init__(self, writer: Writer, cache: Path) -> None:
        self._writer = writer
        self._cache = cache

    def __call__(self, report: str) -> StructuredReport:
        """Sort one report."""
        answer = self._answer(report)
        try:
            found = parse(answer)
            check(found, report)
        except ValueError as error:
            logger.info("The rules sort a report, since the model's answer cannot be used: %s", error)
            return dataclasses.replace(by_rules(report), reason=str(error))
        return found

    def _answer(self, report: str) -> str:
        digest = hashlib.sha256(json.dumps([self._writer.name, PROMPT_VERSION, report]).encode()).hexdigest()
        path = self._cache / digest[:2] / f"{digest}.json"
        if path.is_file():
            return str(json.loads(path.read_text(encoding="utf-8"))["answer"])
        answer = self._writer(f"{PROMPT}{report}{_ANSWER}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"model": self._writer.name, "prompt_version": PROMPT_VERSION, "answer": answer})
        return answer


def parse(answer: str) -> StructuredReport:
    """Read a model's answer.

    Raises:
        ValueError: If it holds no JSON object of two lists of sentences.
    """
    start = answer.find("{")
    try:
        document: Any = json.JSONDecoder().raw_decode(answer, max(start, 0))[0]
    except ValueError as error:
        msg = f"it holds no JSON object ({error})"
        raise ValueError(msg) from error
    if not isinstance(document, dict) or set(document) != set(_SECTIONS):
        msg = f"its JSON has not the two lists {' and '.join(_SECTIONS)}"
        raise ValueError(msg)
    for name in _SECTIONS:
        sentences = document[name]
        if not isinstance(sentences, list) or not all(isinstance(each, str) and each.strip() for each in sentences):
            msg = f"{name} is no list of sentences"
            raise ValueError(msg)
    lists = {name: tuple(" ".join(each.split()) for each in document[name]) for name in _SECTIONS}
    return StructuredReport(**lists, source="model")


def check(found: StructuredReport, report: str) -> None:
    """See that a sorted report says what the report says, as far as rules can.

    Raises:
        ValueError: If it is empty, or says more, less, or something else; the message names what.
    """
    text = " ".join((*found.findings, *found.impression))
    if not text:
        msg = "it is empty"
        raise ValueError(msg)
    meant = " ".join((*by_rules(report).findings, *by_rules(report).impression))
    numbers = set(_NUMBER.findall(text))
    if invented := numbers - set(_NUMBER.findall(report)):
        msg = f"it has numbers that the report has not: {', '.join(sorted(invented))}"
        raise ValueError(msg)
    if lost := set(_NUMBER.findall(meant)) - numbers:
        msg = f"it has lost numbers of the report: {', '.join(sorted(lost))}"
        raise ValueError(msg)
    own, words = set(_WORD.findall(report.lower())), set(_WORD.findall(text.lower()))
    if len(words & own) < _LEAST_KNOWN_WORDS * len(words):
        msg = f"it has words that the report has not: {', '.join(sorted(words - own)[:5])}"
        raise ValueError(msg)
    if different := {finding for finding, _ in _claims(text) ^ _claims(meant)}:
        msg = f"it says otherwise of {', '.join(sorted(different))}"
        raise ValueError(msg)


def _claims(text: str) -> set[tuple[str, Assertion]]:
    """What the sentences of a text say of findings."""
    mentions = (mention for sentence in split_sentences(text) for mention in label_sentence(sentence))
    return {(mention.finding, mention.assertion) for mention in mentions}


def by_rules(report: str) -> StructuredReport:
    """Sort a report by its headings; text without any is findings."""
    parts = findings_and_impression(report)
    findings, impression = (distinct(split_sentences(part)) for part in parts)
    if not findings and not impression:
        findings = distinct(split_sentences(report))
    return StructuredReport(findings=findings, impression=impression, source="rules")


def structure_manifest(
    manifest: Manifest, structure: Callable[[str], StructuredReport], on_report: Callable[[int], None] | None = None
) -> Manifest:
    """Replace the reports of a manifest by sorted ones.

    Args:
        manifest: The manifest; entries without report stay as they are.
        structure: Sorts one report.
        on_report: Told how many entries are done.

    Returns:
        The manifest, with a note of how many reports the rules had to sort.
    """
    entries, rules = [], 0
    for done, entry in enumerate(manifest.entries, start=1):
        if entry.report is not None:
            sorted_report = structure(entry.report)
            rules += sorted_report.source == "rules"
            entry = dataclasses.replace(entry, report=sorted_report.text or entry.report)  # noqa: PLW2901
        entries.append(entry)
        if on_report is not None:
            on_report(done)
    reports = sum(entry.report is not None for entry in entries)
    note = f"{rules} of {reports} reports were sorted by rules, since the model's answer could not be used."
    return Manifest(entries=tuple(entries), notes=(*manifest.notes, note))
