"""DataConfig: which volumes a run of COLIPRI sees, and how it reads them."""

from __future__ import annotations

import dataclasses

from colipri_training.checks import at_least
from colipri_training.checks import shares
from colipri_training.data.sentences import ReportTextOptions
from colipri_training.data.variation import Variation


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """How a run reads prepared volumes and their reports; how many of each kind stands in `DataConfig`.

    Args:
        crop: Voxels of a training crop, multiples of the patch; None takes the model grid. Validation always sees the
            centre crop of the model grid.
        lend_images: Whether volumes with a report also take turns as image-only ones, their report put aside.
        variation: Where crops come from and how they are varied.
        text: How a report becomes the text of one step.
        statements: Pairs of opposite sentences of a volume; 8 is our choice.
    """

    crop: tuple[int, int, int] | None = None
    lend_images: bool = True
    variation: Variation = dataclasses.field(default_factory=Variation)
    text: ReportTextOptions = dataclasses.field(default_factory=ReportTextOptions)
    statements: int = 8

    def __post_init__(self) -> None:
        """Refuse numbers below 0."""
        at_least(self, 0, "statements")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which volumes a run sees: phantoms of its own, or prepared data sets.

    Args:
        train_cases: Number of training phantoms, seeds 0 and up; prepared data sets are read whole.
        validation_cases: Number of validation phantoms, and most volumes that validation takes of prepared data sets.
        batch_size: Volumes of a step that come with a report.
        tokens: Image tokens of a volume that are encoded; the others are dropped (language-image pretraining with
            masking: Li et al., FLIP, 2023).
        lesion_share: Largest share of these that is taken from tokens that show a finding, so that a step sees them.
        air_share: Share of these that is taken from outside the body.
        max_report_length: Report length in word pieces.
        max_sentence_length: Sentence length in word pieces.
        unpaired: Volumes of a step that come without report, for reconstruction alone.
        shift_voxels: Largest random shift of a phantom along each axis.
        sources: Folders that `colipri-train prepare` filled from manifests; empty for phantoms.
        volumes: How these are read.
    """

    train_cases: int
    validation_cases: int
    batch_size: int
    tokens: int
    lesion_share: float = 0.35
    air_share: float = 0.1
    max_report_length: int = 192
    max_sentence_length: int = 40
    unpaired: int = 0
    shift_voxels: int = 6
    sources: tuple[str, ...] = ()
    volumes: VolumeConfig = VolumeConfig()

    def __post_init__(self) -> None:
        """Refuse numbers, lengths and shares that are none; [CLS] and [SEP] alone are two word pieces."""
        at_least(self, 0, "train_cases", "validation_cases", "unpaired", "shift_voxels")
        at_least(self, 1, "batch_size", "tokens")
        at_least(self, 2, "max_report_length", "max_sentence_length")
        shares(self, "lesion_share", "air_share")
