"""SystematicReports: what a decoder is to write of a phantom, finding after finding, each affirmed or denied.

The reports of phantoms, as those of people, go through the findings in any order and leave most of what is absent out.
A decoder that learns from them spends itself on what cannot be foretold: the order, and what is not mentioned. In a
systematic report the one thing to be foretold of each finding is whether it is there (our choice).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_sentence
from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.data.store import CaseStore
from colipri_training.data.text import SentenceBank

Sentence = tuple[str, bool]
"""A sentence, and whether it affirms a finding."""


class SystematicReports:
    """Writes the targets of a decoder.

    Args:
        store: The phantoms.
        bank: Sentences of their reports, from which what a report does not mention is denied.
        tokenizer: The model's.
        max_length: Longest report in word pieces, [CLS] and [SEP] included.
    """

    def __init__(
        self, store: CaseStore, bank: SentenceBank, tokenizer: PreTrainedTokenizerFast, *, max_length: int
    ) -> None:
        self._store = store
        self._bank = bank
        self._tokenizer = tokenizer
        self._longest = max_length

    def sentences(self, seed: int, rng: np.random.Generator) -> list[Sentence]:
        """One sentence on each finding: of the phantom's own report, or a denial of the bank if that is silent.

        A sentence that by itself says whether the finding is there goes before others, such as a recommendation.

        Args:
            seed: The phantom.
            rng: Chooses among several.
        """
        document = self._store.read_text(seed)
        report: list[Sentence] = []
        for finding in range(len(CT_RATE_CONCEPTS)):
            present = finding in document["present"]
            own = [
                sentence["text"]
                for sentence in document["sentences"]
                if (sentence["finding"], sentence["positive"]) == (finding, present)
            ]
            plain = [text for text in own if _says(text, finding, present)]
            said = plain or own
            report.append((str(rng.choice(said)) if said else self._bank.denial(finding, rng), present))
        return report

    def batch(self, seeds: Sequence[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return word pieces from [CLS] to [SEP], and which belong to affirming sentences; 0 and -1 in padding.

        Args:
            seeds: The phantoms.
            rng: Chooses the wordings.

        Returns:
            Ids (B, L) int64, and marks (B, L) int64: 1 in affirming sentences, 0 in others, -1 in padding.
        """
        names = self._tokenizer
        rows = []
        for seed in seeds:
            row = [(names.cls_token_id, 0)]
            for text, affirms in self.sentences(seed, rng):
                row += [(piece, int(affirms)) for piece in names(text, add_special_tokens=False)["input_ids"]]
            rows.append([*row[: self._longest - 1], (names.sep_token_id, 0)])
        longest = max(map(len, rows))
        padded = [row + [(names.pad_token_id, -1)] * (longest - len(row)) for row in rows]
        both = torch.tensor(padded, dtype=torch.int64)
        return both[..., 0], both[..., 1]


@functools.lru_cache(maxsize=100_000)
def _says(text: str, finding: int, present: bool) -> bool:
    """Whether a sentence by itself affirms a finding, or denies it."""
    wanted = Assertion.PRESENT if present else Assertion.ABSENT
    name = CT_RATE_CONCEPTS[finding].name
    return any(mention.finding == name and mention.assertion is wanted for mention in label_sentence(text))
