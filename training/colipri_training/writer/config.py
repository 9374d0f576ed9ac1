"""WriterConfig: a run that teaches a report decoder on a frozen encoder."""

from __future__ import annotations

import dataclasses

from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_training.phantom_stage import PhantomCourse


@dataclasses.dataclass(frozen=True, kw_only=True)
class WriterConfig(PhantomCourse):
    """What the decoder is and how it learns. All numbers are our choice.

    Args:
        decoder: Its sizes.
        affirmed_weight: How much the word pieces of an affirming sentence count. Above 1 the decoder affirms what is
            less likely than not: from a probability of about 1 / (1 + weight).
    """

    decoder: ReportDecoderConfig
    affirmed_weight: float = 1.6
