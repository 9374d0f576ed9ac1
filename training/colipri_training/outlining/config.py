"""OutliningConfig: a run that teaches a phrase head on a frozen encoder."""

from __future__ import annotations

import dataclasses

from colipri_core.model.phrase_head import PhraseHeadConfig
from colipri_training.config import OptimizerConfig
from colipri_training.phantoms.case import VALIDATION_FIRST_SEED


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutliningConfig:
    """What the head is and how it learns. All numbers are our choice.

    Args:
        head: Its sizes.
        optimizer: The optimiser and its schedule.
        cases: Number of training phantoms.
        first_case: Seed of the first; best one that the encoder has not learned from.
        batch_size: Phantoms in a step.
        phrases: Phrases asked of each; one of them names what the phantom lacks, where there is such a finding.
        sentences: Share of the phrases that are sentences of the phantom's report; the others are names of findings.
        token_dropout: Share of the phantoms whose tokens the U-Net does not get, so that it also learns to see.
        validation_cases: Phantoms of the validation split that the best state is chosen by; 0 keeps the last.
        seed: Decides the wordings and the order of the phantoms.
        save_every: Steps between checkpoints, at which the state is judged.
    """

    head: PhraseHeadConfig
    optimizer: OptimizerConfig
    cases: int
    first_case: int = 0
    batch_size: int = 2
    phrases: int = 4
    sentences: float = 0.4
    token_dropout: float = 0.2
    validation_cases: int = 32
    seed: int = 0
    save_every: int = 200

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
