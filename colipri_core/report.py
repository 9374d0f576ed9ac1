"""A draft report whose every sentence says what it rests on, where to look, and what speaks against it.

A report is always a draft: there is no other status. Sentences change only through `Report.edited` and its companions,
which return a new report and mark what a reader wrote.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import Protocol

from colipri_core.cases import Embedding
from colipri_core.findings import Finding
from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import main_mention
from colipri_core.provenance import Provenance

DRAFT = "DRAFT"
"""The one status a report has."""

RESEARCH_USE = "DRAFT, not verified. Research use only, not for diagnosis."
"""Stands on every export, beside the name of the model."""

DEFAULT_THRESHOLD = 0.3
"""See `DraftOptions.threshold`."""

READER = "reader"
"""Source of sentences that a person wrote."""

NEAREST_SENTENCES = 64
"""Sentences of earlier reports that are looked at for a draft (our choice)."""

Place = tuple[float, float, float]
"""World position in RAS+ mm."""


class Flag(enum.StrEnum):
    """Why a sentence needs a second look."""

    CONTRADICTED = "contradicted"
    PLACE_DISPUTED = "place disputed"
    SIDE_DISPUTED = "side disputed"
    UNCHECKED = "unchecked"
    EDITED = "edited"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Flag.CONTRADICTED: "The model's own second opinion speaks for the opposite.",
    Flag.PLACE_DISPUTED: "What the decoder looked at while writing lies elsewhere than the evidence for the finding.",
    Flag.SIDE_DISPUTED: "The sentence names the other side than the one on which the evidence peaks.",
    Flag.UNCHECKED: "No second opinion: the sentence has no opposite that the model could be asked.",
    Flag.EDITED: "Written or changed by the reader; the model was not asked about these words.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceSupport:
    """What a sentence rests on, and the model's second opinion.

    Args:
        source: Where the words come from: "report decoder", "findings", "similar case NAME" or "reader".
        assertion: What the sentence says of its finding; None without a finding.
        probability: Zero-shot probability of the sentence against its opposite; None if it was not checked.
        opposite: What it was compared with.
        finding_probability: Probability of its finding, as `classify` gives it.
        calibrated: Whether `finding_probability` is calibrated.
        evidence_text: What to ask `evidence` for to see the heat map whose peak is the sentence's place.
        evidence_value: Value of that map at its peak, a difference of cosine similarities.
        side: Side of the patient the place lies on: "left", "right" or "midline".
        attention_ras: Where the report decoder looked most while it wrote the sentence; None without a decoder.
        distance_mm: From there to the place.
    """

    source: str
    assertion: Assertion | None = None
    probability: float | None = None
    opposite: str | None = None
    finding_probability: float | None = None
    calibrated: bool = False
    evidence_text: str | None = None
    evidence_value: float | None = None
    side: str | None = None
    attention_ras: Place | None = None
    distance_mm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = dataclasses.asdict(self)
        values["assertion"] = None if self.assertion is None else str(self.assertion)
        values["attention_ras"] = None if self.attention_ras is None else list(self.attention_ras)
        return values


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSentence:
    """One sentence of a draft.

    Args:
        text: Its words, with a capital and a full stop.
        finding: CT-RATE's name of the finding it speaks of; None if it names none.
        support: What it rests on.
        place_ras: Where to look, RAS+ mm: the peak of the evidence. For a denied finding this is where the scan comes
            nearest to it.
        flags: Why it needs a second look; empty if nothing speaks against it.
        original: What the model wrote, where a reader changed it.
    """

    text: str
    finding: str | None
    support: SentenceSupport
    place_ras: Place | None = None
    flags: tuple[Flag, ...] = ()
    original: ReportSentence | None = None

    @property
    def is_affirmed(self) -> bool:
        """Whether it says that its finding is, or may be, there."""
        return self.support.assertion in {Assertion.PRESENT, Assertion.UNCERTAIN}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "text": self.text,
            "finding": self.finding,
            "support": self.support.to_json(),
            "place_ras": None if self.place_ras is None else list(self.place_ras),
            "flags": [str(flag) for flag in self.flags],
            **({} if self.original is None else {"original": self.original.to_json()}),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A part of a report.

    Args:
        name: Its heading, "Findings" or "Impression".
        sentences: Its sentences in order.
    """

    name: str
    sentences: tuple[ReportSentence, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "sentences": [sentence.to_json() for sentence in self.sentences]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """A draft report.

    Args:
        case: Name of the volume.
        sections: The sections in order.
        provenance: What produced it.
        unmentioned: Findings above the threshold that no sentence names.
        threshold: Probability from which a finding counted as there.
        status: Always "DRAFT".

    Raises:
        ValueError: If the status is another one.
    """

    case: str
    sections: tuple[ReportSection, ...]
    provenance: Provenance
    unmentioned: tuple[Finding, ...] = ()
    threshold: float = DEFAULT_THRESHOLD
    status: str = DRAFT

    def __post_init__(self) -> None:
        if self.status != DRAFT:
            msg = f'A report of a model is always a draft: expected the status "{DRAFT}", got "{self.status}".'
            raise ValueError(msg)

    def __iter__(self) -> Iterator[ReportSentence]:
        return (sentence for section in self.sections for sentence in section.sentences)

    def __len__(self) -> int:
        return sum(len(section.sentences) for section in self.sections)

    @property
    def text(self) -> str:
        """The words alone, a section a paragraph."""
        return "\n".join(" ".join(sentence.text for sentence in section.sentences) for section in self.sections)

    @property
    def has_edits(self) -> bool:
        """Whether a reader wrote or changed anything; a removed sentence leaves no trace."""
        return any(Flag.EDITED in sentence.flags for sentence in self)

    def edited(self, section: int, index: int, text: str) -> Report:
        """Return the report with the words of one sentence changed.

        The new words are the reader's: what they say of a finding is read from them, the model's numbers do not carry
        over, and its place stays only while the finding is the same or none is named. Empty text removes the sentence;
        the model's own words bring its sentence back.

        Args:
            section: Number of the section.
            index: Number of the sentence in it.
            text: The reader's words, kept as they are but for outer and doubled white space.

        Raises:
            IndexError: If there is no such sentence.
        """
        sentences = self.sections[section].sentences
        former, words = sentences[index], " ".join(text.split())
        if words == former.text:
            return self
        changed = (_reworded(former, words),) if words else ()
        return self._with(section, (*sentences[:index], *changed, *sentences[index + 1 :]))

    def added(self, section: int, text: str) -> Report:
        """Return the report with a reader's sentence at the end of a section.

        Args:
            section: Number of the section.
            text: The words.

        Raises:
            ValueError: If the text is empty.
        """
        words = " ".join(text.split())
        if not words:
            msg = "A sentence needs words, got empty text."
            raise ValueError(msg)
        return self._with(section, (*self.sections[section].sentences, _from_reader(words, None)))

    def to_json(self) -> dict[str, Any]:
        """Return `{"status", "case", "model", "notice", "sections", "unmentioned", "threshold", "provenance"}`."""
        return {
            "status": self.status,
            "case": self.case,
            "model": self.provenance.model.to_json(),
            "notice": RESEARCH_USE,
            "sections": [section.to_json() for section in self.sections],
            "unmentioned": [finding.to_json() for finding in self.unmentioned],
            "threshold": self.threshold,
            "provenance": self.provenance.to_json(),
        }

    def _with(self, section: int, sentences: tuple[ReportSentence, ...]) -> Report:
        sections = list(self.sections)
        sections[section] = dataclasses.replace(sections[section], sentences=sentences)
        return dataclasses.replace(self, sections=tuple(sections))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """How a draft is made. The defaults are our choice.

    Args:
        threshold: Probability from which a finding counts as there, for the draft and for its flags alike. Below one
            half, since the threshold of the best F1 is half that F1 for calibrated probabilities (Lipton et al., 2014).
        beams: Reports the decoder keeps in its search; with 1 sentences stream as they are written.
        max_length: Longest report in word pieces; the decoder's own limit holds too.
        composed: Compose the draft from the findings also where the model has a decoder that could write it.

    Raises:
        ValueError: If a value is out of range.
    """

    threshold: float = DEFAULT_THRESHOLD
    beams: int = 1
    max_length: int = 512
    composed: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or self.beams < 1 or self.max_length < 2:
            msg = (
                "Expected a threshold in (0, 1), at least 1 beam and at least 2 word pieces, "
                f"got {self.threshold}, {self.beams} and {self.max_length}."
            )
            raise ValueError(msg)


class StoredSentence(Protocol):
    """A sentence of an earlier report, as a case store finds it."""

    @property
    def text(self) -> str:
        """Its words."""
        ...

    @property
    def case(self) -> str:
        """Name of the case whose report it stands in."""
        ...


class SentenceStore(Protocol):
    """Where sentences of earlier reports are looked up; a case store is one."""

    def sentences(self, query: Embedding, k: int) -> Sequence[StoredSentence]:
        """Return at most k sentences, nearest to the query first."""
        ...


SentenceCallback = Callable[[ReportSentence], None]
"""Receives each sentence as soon as it is written and checked, on the engine's thread."""


def _reworded(former: ReportSentence, words: str) -> ReportSentence:
    original = former.original if Flag.EDITED in former.flags else former
    if original is not None and words == original.text:
        return original
    return _from_reader(words, original)


def _from_reader(words: str, original: ReportSentence | None) -> ReportSentence:
    main = main_mention(words)
    finding = main.finding if main is not None else None
    stays = original is not None and (finding is None or finding == original.finding)
    place = original.place_ras if original is not None and stays else None
    phrase = original.support.evidence_text if original is not None and stays else finding
    assertion = main.assertion if main is not None else None
    support = SentenceSupport(source=READER, assertion=assertion, evidence_text=phrase)
    return ReportSentence(
        text=words, finding=finding, support=support, place_ras=place, flags=(Flag.EDITED,), original=original
    )
