"""WriterConfig: a run that teaches a report decoder on a frozen encoder."""

from __future__ import annotations

import dataclasses

from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_training.config import OptimizerConfig
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED


@dataclasses.dataclass(frozen=True, kw_only=True)
class WriterConfig:
    """What the decoder is and how it learns. All numbers are our choice.

    Args:
        decoder: Its sizes.
        optimizer: The optimiser and its schedule.
        cases: Number of training phantoms.
        first_case: Seed of the first. An encoder is surer of the phantoms it has learned from than of any others, so
            a decoder should learn from others.
        batch_size: Reports in a step.
        affirmed_weight: How much the word pieces of an affirming sentence count. Above 1 the decoder affirms what is
            less likely than not: from a probability of about 1 / (1 + weight).
        validation_cases: Phantoms of the validation split that the best state is chosen by; 0 keeps the last.
        seed: Decides the wordings and the order of the phantoms.
        save_every: Steps between checkpoints, at which the state is judged.
    """

    decoder: ReportDecoderConfig
    optimizer: OptimizerConfig
    cases: int
    first_case: int = 0
    batch_size: int = 8
    affirmed_weight: float = 1.6
    validation_cases: int = 64
    seed: int = 0
    save_every: int = 400

    @property
    def training_seeds(self) -> range:
        """Phantoms to learn from."""
        return range(self.first_case, self.first_case + self.cases)

    @property
    def validation_seeds(self) -> range:
        """Phantoms that the best state is chosen by."""
        return range(VALIDATION_FIRST_SEED, VALIDATION_FIRST_SEED + self.validation_cases)

    @property
    def seeds(self) -> list[int]:
        """All of them."""
        return [*self.validation_seeds, *self.training_seeds]
