"""What the labeller returns: a label for each finding, and the words that support it."""

from __future__ import annotations

import dataclasses
from typing import Any

from colipri_core.language.assertions import Assertion
from colipri_core.language.sentences import Sentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mention:
    """A finding named in a sentence.

    Args:
        finding: CT-RATE's name.
        assertion: What the sentence says of it.
        start: Position in the sentence of the words that name it.
        end: Position after them.
    """

    finding: str
    assertion: Assertion
    start: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Support:
    """A sentence of the report that a label rests on.

    Args:
        sentence: The sentence and its place in the report.
        mention: The words in it.
    """

    sentence: Sentence
    mention: Mention

    @property
    def span(self) -> tuple[int, int]:
        """Where the words stand in the report: first position, position after the last."""
        return self.sentence.start + self.mention.start, self.sentence.start + self.mention.end


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindingLabel:
    """What a report says of one finding.

    Args:
        name: CT-RATE's name.
        assertion: Present, uncertain, absent, or None where the report does not speak of it.
        support: The sentences that say so, in the report's order; others may say something weaker.
    """

    name: str
    assertion: Assertion | None
    support: tuple[Support, ...]

    @property
    def positive(self) -> bool:
        """Whether the finding counts as there: doubt counts, as in CT-RATE's own labels."""
        return self.assertion in {Assertion.PRESENT, Assertion.UNCERTAIN}

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the name, the label and the supporting sentences with their places."""
        return {
            "name": self.name,
            "assertion": None if self.assertion is None else str(self.assertion),
            "support": [
                {"text": support.sentence.text, "section": str(support.sentence.section), "span": list(support.span)}
                for support in self.support
            ],
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """What a report says of each finding.

    Args:
        findings: One label for each of the 18 findings, in CT-RATE's order.
    """

    findings: tuple[FindingLabel, ...]

    def __getitem__(self, name: str) -> FindingLabel:
        for label in self.findings:
            if label.name == name:
                return label
        msg = f'"{name}" is not one of {", ".join(label.name for label in self.findings)}.'
        raise KeyError(msg)

    @property
    def vector(self) -> tuple[bool, ...]:
        """Whether each finding counts as there, in CT-RATE's order."""
        return tuple(label.positive for label in self.findings)

    @property
    def positive(self) -> tuple[str, ...]:
        """Names of the findings that count as there."""
        return tuple(label.name for label in self.findings if label.positive)

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain values, in CT-RATE's order."""
        return [label.to_json() for label in self.findings]
