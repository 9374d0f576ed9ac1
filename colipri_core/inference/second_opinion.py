"""The model's second opinion on a sentence: what it names, where that lies, and how probable its opposite is.

A sentence is compared with its opposite (`language.opposites`) by zero-shot scoring, as any finding is. Where the rules
find no sound opposite and the sentence names one finding, the finding's own question stands in. The place is the peak
of the finding's evidence map, the one a front end shows for `evidence_text`. All thresholds are our choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from colipri_core.findings import Finding
from colipri_core.inference.evidence import Peak
from colipri_core.inference.evidence import evidence_peak
from colipri_core.inference.evidence import token_grid
from colipri_core.inference.features import Features
from colipri_core.inference.report_composing import EVEN
from colipri_core.inference.report_composing import affirmation
from colipri_core.inference.report_composing import term_of
from colipri_core.inference.report_lines import Line
from colipri_core.inference.runtime import ModelRuntime
from colipri_core.inference.zero_shot import score
from colipri_core.language.assertions import Assertion
from colipri_core.language.labeller import label_sentence
from colipri_core.language.labeller import main_mention
from colipri_core.language.opposites import opposite
from colipri_core.language.sides import side_named
from colipri_core.report import DEFAULT_THRESHOLD
from colipri_core.report import Flag
from colipri_core.report import Place
from colipri_core.report import ReportSentence
from colipri_core.report import SentenceSupport
from colipri_core.vocabulary.wordings import Wording
from colipri_core.vocabulary.wordings import wording

NEAR_MM = 40.0
NEAR_CELLS = 1.5
"""The decoder and the evidence agree on a place within this distance, or within this many cells of what the decoder
sees, whichever is more."""

MIDLINE_MM = 10.0
"""Half the width of what counts as neither left nor right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Check:
    """A sentence's probability against its opposite."""

    probability: float
    opposite: str


class SecondOpinion:
    """Checks the sentences of one draft.

    Args:
        runtime: The loaded model.
        features: What is known of the volume.
        dense: Unit vectors (E, x, y, z) of its tokens.
        threshold: Probability from which a finding counts as there: an affirmation below it is contradicted, and so is
            a denial whose opposite reaches it.
    """

    def __init__(
        self, runtime: ModelRuntime, features: Features, dense: Tensor, *, threshold: float = DEFAULT_THRESHOLD
    ) -> None:
        self._threshold = threshold
        self._runtime = runtime
        self._features = features
        self._dense = dense
        self._midline = _midline(features)
        self._near = max(NEAR_MM, NEAR_CELLS * _cell_mm(runtime, features, dense))
        self._peaks: dict[str, Peak] = {}

    def findings(self, names: Sequence[str]) -> dict[str, Finding]:
        """Return the probability of each finding, as `classify` gives it.

        Args:
            names: Names of findings.
        """
        return {name: self._score(name, wording(name)) for name in names}

    def sentence(self, line: Line, findings: Mapping[str, Finding]) -> ReportSentence:
        """Check a line and return it with its support and flags.

        Args:
            line: The line.
            findings: Probabilities by name, for the finding it names.
        """
        main = main_mention(line.text)
        check = self._check(line.text, findings)
        subject = main.finding if main else line.text
        peak = self._peak(subject)
        finding = findings.get(main.finding) if main else None
        support = SentenceSupport(
            source=line.source,
            assertion=main.assertion if main else None,
            probability=check.probability if check else None,
            opposite=check.opposite if check else None,
            finding_probability=finding.probability if finding else None,
            calibrated=finding.calibrated if finding else False,
            evidence_text=subject,
            evidence_value=peak.value,
            side=self._side(peak),
            attention_ras=line.attention_ras,
            distance_mm=_distance(line.attention_ras, peak),
        )
        flags = self._flags(line, support)
        name = main.finding if main else None
        return ReportSentence(text=line.text, finding=name, support=support, place_ras=_place(peak), flags=flags)

    def _check(self, text: str, findings: Mapping[str, Finding]) -> _Check | None:
        turned = opposite(text)
        if turned is not None:
            return _Check(probability=self._against(text, turned), opposite=turned)
        mentions = label_sentence(text)
        if len(mentions) != 1 or mentions[0].finding not in findings:
            return None
        (mention,) = mentions
        probability = findings[mention.finding].probability
        if mention.assertion is Assertion.ABSENT:
            return _Check(probability=1.0 - probability, opposite=affirmation(mention.finding))
        return _Check(probability=probability, opposite=f"No {term_of(mention.finding)}.")

    def _against(self, text: str, turned: str) -> float:
        """Probability of a sentence against its opposite; calibrated as its finding is, if it names just one."""
        mentions = label_sentence(text)
        subject = mentions[0].finding if len(mentions) == 1 else text
        if len(mentions) == 1 and mentions[0].assertion is Assertion.ABSENT:
            return 1.0 - self._score(subject, Wording(present=(turned,), absent=(text,))).probability
        return self._score(subject, Wording(present=(text,), absent=(turned,))).probability

    def _score(self, name: str, question: Wording) -> Finding:
        """Answer a question; the calibration is that of the finding `name`, if it is one."""
        bundle = self._runtime.language
        pair = self._runtime.texts.pair(question, self._runtime.device)
        temperature = float(bundle.model.softmax_temperature)
        calibration = bundle.spec.calibration
        return score(name, pair, self._features.pooled, temperature=temperature, calibration=calibration)

    def _peak(self, subject: str) -> Peak:
        if subject not in self._peaks:
            pair = self._runtime.texts.pair(wording(subject), self._runtime.device)
            self._peaks[subject] = evidence_peak(self._features, self._dense, pair.direction)
        return self._peaks[subject]

    def _side(self, peak: Peak) -> str:
        offset = float(peak.ras[0]) - self._midline
        if abs(offset) <= MIDLINE_MM:
            return "midline"
        return "right" if offset > 0 else "left"

    def _is_contradicted(self, support: SentenceSupport) -> bool:
        assert support.probability is not None
        if support.assertion is Assertion.ABSENT:
            return 1.0 - support.probability >= self._threshold
        return support.probability < (EVEN if support.assertion is None else self._threshold)

    def _flags(self, line: Line, support: SentenceSupport) -> tuple[Flag, ...]:
        affirmed = support.assertion in {Assertion.PRESENT, Assertion.UNCERTAIN}
        named = side_named(line.text)
        checks = {
            Flag.CONTRADICTED: support.probability is not None and self._is_contradicted(support),
            Flag.SIDE_DISPUTED: affirmed and {named, support.side} == {"left", "right"},
            Flag.PLACE_DISPUTED: affirmed and support.distance_mm is not None and support.distance_mm > self._near,
            Flag.UNCHECKED: support.probability is None,
        }
        return tuple(flag for flag, holds in checks.items() if holds)


def _place(peak: Peak) -> Place:
    r, a, s = (round(float(value), 2) for value in peak.ras)
    return r, a, s


def _distance(attention: Place | None, peak: Peak) -> float | None:
    return None if attention is None else round(float(np.linalg.norm(np.asarray(attention) - peak.ras)), 1)


def _midline(features: Features) -> float:
    """R coordinate of the middle of the body, in mm; that of the volume where no body is found."""
    body = features.body
    indices = np.argwhere(body.inside)
    if not len(indices):
        return float(features.prepared.source.center[0])
    across = body.geometry.index_to_world(indices)[:, 0]
    return float((across.min() + across.max()) / 2)


def _cell_mm(runtime: ModelRuntime, features: Features, dense: Tensor) -> float:
    """Edge in mm of what one memory token of the decoder covers; 0 without a decoder."""
    decoder = runtime.language.report_decoder
    return 0.0 if decoder is None else decoder.config.memory_pool * max(token_grid(features, dense).spacing)
