"""OutliningConfig: a run that teaches a phrase head on a frozen encoder."""

from __future__ import annotations

import dataclasses

from colipri_core.model.phrase_head import PhraseHeadConfig
from colipri_training.phantom_stage import PhantomCourse


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutliningConfig(PhantomCourse):
    """What the head is and how it learns. All numbers are our choice.

    Args:
        head: Its sizes.
        phrases: Phrases asked of each phantom; one of them names what it lacks, where there is such a finding.
        sentences: Share of the phrases that are sentences of the phantom's report; the others are names of findings.
        token_dropout: Share of the phantoms whose tokens the U-Net does not get, so that it also learns to see.
    """

    head: PhraseHeadConfig
    batch_size: int = 2
    phrases: int = 4
    sentences: float = 0.4
    token_dropout: float = 0.2
    validation_cases: int = 32
    save_every: int = 200
