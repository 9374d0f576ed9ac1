"""Sentences for training: a bank of what reports say of each finding, and the tokenizer trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer

from colipri_core.vocabulary.findings import CT_RATE_CONCEPTS
from colipri_training.data.sentences import shortened
from colipri_training.data.sentences import shuffled
from colipri_training.data.store import CaseStore

_AFFIRM = ("{}.", "there is {}.", "{} is seen.", "findings of {}.", "{} can be seen.", "the scan shows {}.")
_DENY = (
    "no {}.",
    "there is no {}.",
    "{} is not seen.",
    "no findings of {}.",
    "no {} can be seen.",
    "the scan shows no {}.",
)

VOCABULARY_SIZE = 4096
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceBank:
    """What the training reports say of each finding.

    Args:
        affirming: For each finding, sentences that affirm it.
        denying: For each finding, sentences that deny it.
    """

    affirming: tuple[tuple[str, ...], ...]
    denying: tuple[tuple[str, ...], ...]

    @classmethod
    def from_store(cls, store: CaseStore, seeds: Iterable[int]) -> SentenceBank:
        """Collect the distinct sentences of the given cases."""
        affirming: list[set[str]] = [set() for _ in CT_RATE_CONCEPTS]
        denying: list[set[str]] = [set() for _ in CT_RATE_CONCEPTS]
        for seed in seeds:
            for sentence in store.read_text(seed)["sentences"]:
                if sentence["finding"] is not None:
                    (affirming if sentence["positive"] else denying)[sentence["finding"]].add(sentence["text"])
        return cls(
            affirming=tuple(tuple(sorted(texts)) for texts in affirming),
            denying=tuple(tuple(sorted(texts)) for texts in denying),
        )

    def denial(self, finding: int, rng: np.random.Generator) -> str:
        """Draw a sentence that denies a finding; of its terms and a plain pattern if no report has one."""
        if self.denying[finding]:
            return str(rng.choice(self.denying[finding]))
        return str(rng.choice(_DENY)).format(rng.choice(CT_RATE_CONCEPTS[finding].terms))

    def draw_pairs(self, rng: np.random.Generator, *, generic: float = 0.5) -> tuple[list[str], list[str]]:
        """Draw one affirming and one denying sentence for every finding.

        Args:
            rng: Source of randomness.
            generic: Share of pairs made from a term and a plain pattern instead of taken from reports.
        """
        affirming, denying = [], []
        for index, concept in enumerate(CT_RATE_CONCEPTS):
            if rng.random() < generic or not (self.affirming[index] and self.denying[index]):
                pattern, term = int(rng.integers(len(_AFFIRM))), str(rng.choice(concept.terms))
                affirming.append(_AFFIRM[pattern].format(term))
                denying.append(_DENY[pattern].format(term))
            else:
                affirming.append(str(rng.choice(self.affirming[index])))
                denying.append(str(rng.choice(self.denying[index])))
        return affirming, denying


def shorten(sentences: Sequence[str], rng: np.random.Generator, *, probability: float = 0.5) -> str:
    """Join a report's sentences in random order, at times only some of them (at least one).

    Args:
        sentences: The report's sentences.
        rng: Source of randomness.
        probability: Chance that a random subset is kept.
    """
    kept = shuffled(sentences, rng)
    return " ".join(shortened(kept, rng) if rng.random() < probability else kept)


def train_tokenizer(texts: Iterable[str], folder: Path) -> int:
    """Train a lower-casing WordPiece tokenizer and write `vocab.txt`; the same texts give the same vocabulary.

    Args:
        texts: Training texts, their order does not matter.
        folder: Where the vocabulary goes.

    Returns:
        The vocabulary's size.
    """
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    texts = list(texts)
    # The trainer numbers the pieces within words as it meets them in a hash map, and breaks ties by these numbers.
    words = {word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalize(text))}
    letters = sorted({letter for word in words for letter in word[1:]})
    tokenizer.train_from_iterator(
        texts,
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*_SPECIAL, *(f"##{letter}" for letter in letters)],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_model(str(folder))
    return int(tokenizer.get_vocab_size())
