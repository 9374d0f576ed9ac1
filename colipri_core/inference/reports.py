"""Drafting a report: written by the bundle's decoder where it has one, else composed from findings; then checked.

A model that was taught to write says more than its findings. One that was not still has them, and each sentence names
its source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

from torch import Tensor

from colipri_core.findings import Finding
from colipri_core.inference.features import Features
from colipri_core.inference.report_composing import FindSentences
from colipri_core.inference.report_composing import compose
from colipri_core.inference.report_lines import Line
from colipri_core.inference.report_writing import write
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.second_opinion import SecondOpinion
from colipri_core.language.labeller import label_report
from colipri_core.language.sections import SectionName
from colipri_core.language.sentences import normalise
from colipri_core.progress import Reporter
from colipri_core.report import DEFAULT_THRESHOLD
from colipri_core.report import READER
from colipri_core.report import DraftOptions
from colipri_core.report import ReportSection
from colipri_core.report import ReportSentence
from colipri_core.report import SentenceCallback


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DraftRequest:
    """What a draft is asked for with.

    Args:
        options: How.
        find: Finds sentences of earlier reports, used where the model has no decoder.
        on_sentence: Receives each sentence once it is written and checked.
    """

    options: DraftOptions
    find: FindSentences | None = None
    on_sentence: SentenceCallback | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """A drafted report without its provenance.

    Args:
        sections: The sections in order.
        unmentioned: Findings above the threshold that no sentence names.
        threshold: Probability from which a finding counted as there.
    """

    sections: tuple[ReportSection, ...]
    unmentioned: tuple[Finding, ...]
    threshold: float


def draft(runtime: ModelRuntime, features: Features, dense: Tensor, request: DraftRequest, report: Reporter) -> Draft:
    """Draft a report of a volume.

    Args:
        runtime: The loaded model.
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of its tokens.
        request: How, and who is told.
        report: Told of the progress; cancelling it ends the draft, also in the middle of a sentence.

    Raises:
        Cancelled: If the reporter's cancel token is set.
    """
    report(0.0, "Asking for the findings")
    opinion = SecondOpinion(runtime, features, dense, threshold=request.options.threshold)
    findings = opinion.findings(runtime.findings)
    written: list[tuple[SectionName, ReportSentence]] = []

    def take(line: Line) -> None:
        sentence = opinion.sentence(line, findings)
        written.append((line.section, sentence))
        if request.on_sentence is not None:
            request.on_sentence(sentence)

    rest = report.part(0.05, 1.0)
    if runtime.language.report_decoder is not None and not request.options.composed:

        def attempt() -> None:
            written.clear()  # a GPU that runs out of memory makes the CPU begin again
            write(runtime, features, request.options, rest, take)

        runtime.on_device(attempt)
    else:
        lines = compose(list(findings.values()), threshold=request.options.threshold, find=request.find)
        for number, line in enumerate(lines):
            rest(number / len(lines), "Writing the draft")
            take(line)
    report(1.0, "The draft is written")
    return _draft(written, findings, request.options.threshold)


def given_line(text: str) -> Line:
    """Return a sentence that somebody wrote as a line to be checked.

    Args:
        text: Its words.

    Raises:
        ValueError: If there are none.
    """
    words = normalise(text)
    if not words:
        msg = f'A sentence needs words, got "{text}".'
        raise ValueError(msg)
    return Line(section=SectionName.FINDINGS, text=words, source=READER)


def check(runtime: ModelRuntime, features: Features, dense: Tensor, lines: Sequence[Line], report: Reporter) -> Draft:
    """Check lines that somebody wrote.

    Args:
        runtime: The loaded model.
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of its tokens.
        lines: The lines.
        report: Told of the progress.
    """
    opinion = SecondOpinion(runtime, features, dense)
    findings = opinion.findings(runtime.findings)
    checked = []
    for number, line in enumerate(lines):
        report(number / len(lines), "Checking the sentences")
        checked.append((line.section, opinion.sentence(line, findings)))
    report(1.0, "Checked")
    return _draft(checked, findings, DEFAULT_THRESHOLD)


def _draft(
    written: Sequence[tuple[SectionName, ReportSentence]], findings: Mapping[str, Finding], threshold: float
) -> Draft:
    """Sentences by section, and what none of them names."""
    sections = tuple(
        ReportSection(name=name.capitalize(), sentences=tuple(own for section, own in written if section is name))
        for name in dict.fromkeys(section for section, _ in written)
    )
    text = " ".join(sentence.text for _, sentence in written)
    named = {label.name for label in label_report(text).findings if label.assertion is not None}
    missing = [item for item in findings.values() if item.probability >= threshold and item.name not in named]
    unmentioned = tuple(sorted(missing, key=lambda item: -item.probability))
    return Draft(sections=sections, unmentioned=unmentioned, threshold=threshold)
