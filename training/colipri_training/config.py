"""PretrainConfig: everything that decides a pretraining run, as one frozen value that is saved beside its results."""

from __future__ import annotations

import dataclasses
from typing import Any

from colipri_core.model.config import ModelConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.structures import STRUCTURES


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which prepared cases a run sees, and how they are varied.

    Args:
        train_cases: Number of training phantoms, seeds 0 and up.
        validation_cases: Number of validation phantoms.
        batch_size: Volumes in a step.
        tokens: Image tokens of a volume that are encoded; the others are dropped (language-image pretraining with
            masking: Li et al., FLIP, 2023).
        lesion_share: Largest share of these that is taken from tokens that show a finding, so that a step sees them.
        air_share: Share of these that is taken from outside the body.
        all_tokens_share: Share of the steps, at the end, that encode all tokens, as inference does.
        max_report_length: Report length in word pieces.
        max_sentence_length: Sentence length in word pieces.
        shift_voxels: Largest random shift of a volume along each axis.
    """

    train_cases: int
    validation_cases: int
    batch_size: int
    tokens: int
    lesion_share: float = 0.35
    air_share: float = 0.1
    all_tokens_share: float = 0.02
    max_report_length: int = 192
    max_sentence_length: int = 40
    shift_voxels: int = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the objectives; 0 leaves one out. All are our choice.

    Args:
        contrastive: Symmetric image-report contrast.
        opposite: Opposite-sentence loss on pooled image vectors.
        region: The opposite-sentence loss on single tokens, told by the lesion masks where the sentence holds.
        attention: Share of the pooler's attention that goes to tokens which show a finding, told by the masks.
        temperature: Initial temperature; learned.
    """

    contrastive: float = 1.0
    opposite: float = 1.0
    region: float = 1.0
    attention: float = 0.2
    temperature: float = 0.07


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW, and Muon for the matrices of the image encoder's blocks, with linear warm-up and cosine decay.

    Args:
        steps: Optimiser steps of the whole run.
        learning_rate: Peak learning rate of AdamW.
        text_learning_rate: Peak learning rate of the text encoder.
        matrix_learning_rate: Peak learning rate of Muon; 0 leaves everything to AdamW.
        weight_decay: Decay of matrices; norms, biases, scales and the temperature have none.
        betas: Momentum constants.
        warmup: Share of the steps that warm up.
        gradient_clip: Largest gradient norm.
        average: Decay of the exponential moving average of the weights that is exported; 0 exports the raw weights.
    """

    steps: int
    learning_rate: float = 1e-3
    text_learning_rate: float = 3e-4
    matrix_learning_rate: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05
    gradient_clip: float = 1.0
    average: float = 0.998


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pretraining run.

    Args:
        name: Name of the run and of the bundle it exports.
        model: Sizes of the model.
        preprocessing: The model grid.
        data: The cases.
        loss: The objectives.
        optimizer: The optimiser and its schedule.
        seed: Decides initial weights, order, augmentation and wording of every step.
        whiten: Whether the patch embedding starts from the principal components of the first patches.
        sentence_steps: Steps that the text encoder learns alone from sentences of the reports, before the first step.
        bf16: Whether matrix products run in bfloat16 (autocast); weights and losses stay float32.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
    """

    name: str
    model: ModelConfig
    preprocessing: PreprocessSpec
    data: DataConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    seed: int = 0
    whiten: bool = True
    sentence_steps: int = 0
    bf16: bool = True
    checkpoint_every: int = 100
    validate_every: int = 250

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **dataclasses.asdict(self),
            "model": self.model.to_json(),
            "preprocessing": self.preprocessing.to_json(),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureConfig:
    """A run that fits a structure head.

    Args:
        optimizer: The optimiser and its schedule.
        preprocessing: The model grid.
        train_cases: Number of training phantoms, seeds 0 and up.
        batch_size: Volumes in a step.
        token_dropout: Share of volumes whose tokens are set to zero.
        shift_voxels: Largest random shift of a volume along each axis.
        seed: Decides order and augmentation.
        save_every: Steps between checkpoints.
        channels: Channels of the head's shallowest level.
        structures: Names of the classes, in the order of the labels.
    """

    optimizer: OptimizerConfig
    preprocessing: PreprocessSpec
    train_cases: int
    batch_size: int = 2
    token_dropout: float = 0.5
    shift_voxels: int = 10
    seed: int = 0
    save_every: int = 50
    channels: int = 24
    structures: tuple[str, ...] = tuple(concept.name for concept in STRUCTURES)
