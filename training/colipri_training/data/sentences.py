"""Reports as training text: which parts are read, in which order, and sentences with their opposites.

Every draw is a function of a numpy generator alone, so a resumed run draws what the interrupted one would have. Reading
one of the sections, shuffling and shortening follow the published model as far as it is known; the probabilities are
our choice. The pairs are those of the opposite-sentence loss: a sentence that holds for the scan or one that does not,
each with its opposite.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_report
from colipri_core.language.labeller import label_sentence
from colipri_core.language.opposites import opposite
from colipri_core.language.sections import findings_and_impression
from colipri_core.language.sentences import distinct
from colipri_core.language.sentences import split_sentences


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportTextOptions:
    """How a report becomes the text of one training step.

    Args:
        one_section: Chance that only the findings or only the impression is read, where there are both.
        shuffle: Chance that the sentences change their order.
        shorten: Chance that only some of the sentences are kept, at least one.
    """

    one_section: float = 0.3
    shuffle: float = 0.5
    shorten: float = 0.5

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= 1:
                msg = f"Expected a chance between 0 and 1 for {name}, got {value}."
                raise ValueError(msg)


def shuffled(sentences: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return the sentences in random order."""
    return [sentences[index] for index in rng.permutation(len(sentences))]


def shortened(sentences: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return some of the sentences in their order: a number drawn evenly from 1 to all, then which."""
    if not sentences:
        return []
    count = int(rng.integers(1, len(sentences) + 1))
    return [sentences[index] for index in sorted(rng.choice(len(sentences), size=count, replace=False))]


def draw_text(report: str, rng: np.random.Generator, *, options: ReportTextOptions | None = None) -> str:
    """Return the text of a report for one training step: distinct normalised sentences, joined by spaces.

    Args:
        report: The whole report.
        rng: Source of randomness.
        options: The chances; the defaults of `ReportTextOptions` if None.
    """
    options = options or ReportTextOptions()
    # All draws are made for every report, so that what one report draws does not depend on what it contains.
    chances = rng.random(4)
    parts = [part for part in findings_and_impression(report) if part]
    if len(parts) > 1 and chances[0] < options.one_section:
        parts = [parts[int(chances[1] * len(parts))]]
    sentences: Sequence[str] = distinct(sentence for part in parts for sentence in split_sentences(part))
    if chances[2] < options.shorten:
        sentences = shortened(sentences, rng)
    if chances[3] < options.shuffle:
        sentences = shuffled(sentences, rng)
    return " ".join(sentences)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statement:
    """A sentence that affirms or denies findings, with its opposite.

    Args:
        text: The sentence, normalised.
        opposite: A sentence that says the opposite.
        findings: CT-RATE names of the findings it speaks of.
        affirms: Whether it affirms them; else it denies them.
    """

    text: str
    opposite: str
    findings: tuple[str, ...]
    affirms: bool

    def turned(self) -> Statement:
        """The opposite statement."""
        return dataclasses.replace(self, text=self.opposite, opposite=self.text, affirms=not self.affirms)


def statements(report: str) -> tuple[Statement, ...]:
    """Return the sentences of a report that affirm findings or deny findings, and nothing else.

    Sentences that do both, leave something open, name no finding, or have no sound opposite are left out.
    """
    parts = findings_and_impression(report)
    found = map(_statement, distinct(sentence for part in parts for sentence in split_sentences(part)))
    return tuple(statement for statement in found if statement is not None)


@functools.lru_cache(maxsize=65536)
def _statement(sentence: str) -> Statement | None:
    mentions = label_sentence(sentence)
    kinds = {mention.assertion for mention in mentions}
    if kinds not in ({Assertion.PRESENT}, {Assertion.ABSENT}):
        return None
    turned = opposite(sentence)
    if turned is None:
        return None
    findings = tuple(mention.finding for mention in mentions)
    return Statement(text=sentence, opposite=turned, findings=findings, affirms=kinds == {Assertion.PRESENT})


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementPool:
    """Affirming statements of many reports, by what they speak of.

    Args:
        by_findings: Distinct statements for each combination of findings.
    """

    by_findings: Mapping[tuple[str, ...], tuple[Statement, ...]]

    @classmethod
    def from_reports(cls, reports: Iterable[str]) -> StatementPool:
        """Collect what the reports affirm."""
        collected: dict[tuple[str, ...], dict[str, Statement]] = {}
        for report in reports:
            for statement in statements(report):
                if statement.affirms:
                    collected.setdefault(statement.findings, {})[statement.text] = statement
        ordered = sorted(collected.items())
        return cls(by_findings={key: tuple(texts[text] for text in sorted(texts)) for key, texts in ordered})

    def draw_false(self, present: Iterable[str], rng: np.random.Generator, count: int) -> list[Statement]:
        """Draw statements that are false where only the findings `present` are there: all their findings are absent.

        A combination of findings is drawn first, then a statement, so that common findings do not crowd out rare ones.
        Fewer than `count` come back where there are fewer combinations.
        """
        there = set(present)
        absent = [key for key in self.by_findings if not there & set(key)]
        picked = rng.permutation(len(absent))[:count]
        return [self.by_findings[absent[index]][rng.integers(len(self.by_findings[absent[index]]))] for index in picked]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatementPair:
    """A statement and its opposite, of which one holds for a scan.

    Args:
        text: The statement.
        opposite: Its opposite.
        holds: Whether the statement holds; else its opposite does.
    """

    text: str
    opposite: str
    holds: bool


def draw_pairs(
    report: str, pool: StatementPool, rng: np.random.Generator, *, count: int = 8
) -> tuple[StatementPair, ...]:
    """Draw the pairs of one scan for the opposite-sentence loss.

    Half (rounded up) are sentences of its own report that affirm a finding; the others are what other reports affirm
    of findings this report does not affirm. A finding that a report does not mention counts as absent, as in the
    published description of the loss.

    Args:
        report: The scan's report.
        pool: What the training reports affirm.
        rng: Source of randomness.
        count: Largest number of pairs; the size of 8 is our choice.

    Returns:
        At most `count` pairs, those that hold first.
    """
    own = [statement for statement in statements(report) if statement.affirms]
    held = [own[index] for index in rng.permutation(len(own))[: (count + 1) // 2]]
    false = pool.draw_false(label_report(report).positive, rng, count // 2)
    return tuple(
        StatementPair(text=statement.text, opposite=statement.opposite, holds=holds)
        for chosen, holds in ((held, True), (false, False))
        for statement in chosen
    )
