"""Zero-shot classification: the probability of a finding from two sides of a question, without training for it.

With unit vectors v of the volume and t+, t- of the two sides, the probability is the softmax over the pair of cosine
similarity / temperature, which is the logistic function of (v.t+ - v.t-) / T (COLIPRI; T travels with the weights).
A bundle may carry a calibration, `finding code -> [a, b]`: then it is the logistic function of a * logit + b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence

from torch import Tensor

from colipri_core.findings import Finding
from colipri_core.findings import FindingEvidence
from colipri_core.inference.evidence import Peak
from colipri_core.inference.texts import PromptPair
from colipri_core.vocabulary.findings import FindingConcept
from colipri_core.vocabulary.findings import find_concept

Calibration = Mapping[str, Sequence[float]]


def score(
    text: str,
    pair: PromptPair,
    pooled: Tensor,
    *,
    temperature: float,
    calibration: Calibration | None = None,
    peak: Peak | None = None,
) -> Finding:
    """Return the probability of one finding.

    Args:
        text: What was asked for.
        pair: The question in the joint space.
        pooled: Unit vector (E,) of the volume.
        temperature: Divides the difference of cosine similarities.
        calibration: Slope and offset by finding code, or None.
        peak: Where its evidence is highest, if that was looked for.
    """
    concept = find_concept(text)
    logit = float(pooled @ pair.direction) / temperature
    fitted = (calibration or {}).get(concept.code) if concept is not None else None
    if fitted is not None:
        slope, offset = fitted
        logit = slope * logit + offset
    return Finding(
        name=_name(text, concept),
        code=concept.code if concept is not None else "",
        probability=_logistic(logit),
        calibrated=fitted is not None,
        evidence=None if peak is None else _evidence(peak),
    )


def _evidence(peak: Peak) -> FindingEvidence:
    r, a, s = (float(value) for value in peak.ras)
    return FindingEvidence(place_ras=(r, a, s), value=peak.value)


def _name(text: str, concept: FindingConcept | None) -> str:
    return concept.name if concept is not None else " ".join(text.split())


def _logistic(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))
