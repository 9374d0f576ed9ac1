"""The model that ships with the package: a small COLIPRI trained on phantoms on a laptop's processor.

Every number here is our choice. The grid keeps the published field of view (384 mm) at half its resolution, so a
patch of 8 voxels is a cube of 32 mm.
"""

from __future__ import annotations

import dataclasses
import math

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import OptimizerConfig
from colipri_training.config import PretrainConfig
from colipri_training.config import StemConfig
from colipri_training.config import StructureConfig
from colipri_training.data.config import DataConfig
from colipri_training.objectives.config import LossConfig
from colipri_training.objectives.config import ReconstructionConfig

_RAMPS = ((-1.0, -0.7), (-0.7, -0.15), (-0.15, 0.15), (0.15, 0.45), (0.45, 1.0))
"""Air to emphysema, lung to fat, fat to soft tissue, contrast and cancellous bone, calcium and metal; HU / 1000."""


def tiny(*, vocab_size: int) -> PretrainConfig:
    """The shipped run.

    Args:
        vocab_size: Word pieces of the tokenizer that was trained on the phantom reports.
    """
    image = ImageEncoderConfig(
        width=192,
        depth=6,
        heads=4,
        embed_dim=192,
        drop_path=0.0,
        layer_scale=1.0,
        intensity_ramps=_RAMPS,
        stem=((24, 1), (48, 1), (96, 2)),
        stem_maps=len(CT_RATE_FINDINGS),
    )
    text = TextEncoderConfig(
        vocab_size=vocab_size, hidden=192, layers=3, heads=6, intermediate=512, max_length=192, dropout=0.1
    )
    return PretrainConfig(
        name="tiny",
        model=ModelConfig(image=image, text=text, pooler_heads=12, pooler_peaks=len(CT_RATE_FINDINGS)),
        preprocessing=PreprocessSpec(spacing_mm=(4.0, 4.0, 4.0), size=(96, 96, 96), padding="minimum"),
        data=DataConfig(
            train_cases=2500,
            validation_cases=64,
            batch_size=16,
            tokens=256,
        ),
        loss=LossConfig(contrastive=0.5, distinct=1.0),
        optimizer=OptimizerConfig(
            steps=2000,
            learning_rate=2e-3,
            text_share=0.1,
            stem_share=0.0,
            matrix_learning_rate=0.02,
            average=0.995,
        ),
        sentence_steps=250,
        stem_taught=True,
        report=tiny_decoder(vocab_size=vocab_size, memory_width=image.width),
        reconstruction=ReconstructionConfig(width=96, depth=2, heads=4),
        checkpoint_every=25,
        validate_every=400,
    )


def tiny_decoder(*, vocab_size: int, memory_width: int) -> ReportDecoderConfig:
    """A report decoder for a small encoder.

    Args:
        vocab_size: Word pieces of the tokenizer.
        memory_width: Channels of the encoder's raw tokens.
    """
    return ReportDecoderConfig(
        vocab_size=vocab_size,
        memory_width=memory_width,
        width=192,
        layers=3,
        heads=6,
        hidden=512,
        max_length=384,
        memory_pool=1,
    )


def tiny_whole(*, vocab_size: int) -> PretrainConfig:
    """The end of the shipped run: from its bundle, on whole volumes, with the trunk as it is.

    A pooler that learned from a seventh of the tokens, lesions first, is at a loss when it meets all of them. That a
    run on masked volumes should end with whole ones is the "unmasked tuning" of Li et al., "Scaling language-image
    pre-training via masking" (2023); that only what reads the tokens learns is our choice.
    """
    config = tiny(vocab_size=vocab_size)
    patch = config.model.image.patch_size
    return dataclasses.replace(
        config,
        name="tiny-whole",
        data=dataclasses.replace(config.data, tokens=math.prod(n // patch for n in config.preprocessing.size)),
        optimizer=dataclasses.replace(
            config.optimizer,
            steps=260,
            learning_rate=1.2e-3,
            trunk_share=0.0,
            matrix_learning_rate=0.0,
            average=0.99,
        ),
        validate_every=130,
    )


def tiny_stem(config: PretrainConfig) -> StemConfig:
    """The stem of the shipped run."""
    return StemConfig(
        optimizer=OptimizerConfig(steps=900, learning_rate=4e-3, weight_decay=0.02),
        preprocessing=config.preprocessing,
        train_cases=config.data.train_cases,
        patch_size=config.model.image.patch_size,
    )


def tiny_structures(config: PretrainConfig) -> StructureConfig:
    """The structure head of the shipped run."""
    return StructureConfig(
        optimizer=OptimizerConfig(steps=1200, learning_rate=2e-3, weight_decay=0.01),
        preprocessing=config.preprocessing,
        train_cases=config.data.train_cases,
    )


def smoke(*, vocab_size: int) -> PretrainConfig:
    """The same run made small enough for a test: a few steps of a two-block model."""
    base = tiny(vocab_size=vocab_size)
    return dataclasses.replace(
        base,
        name="smoke",
        model=ModelConfig(
            image=ImageEncoderConfig(width=48, depth=2, heads=4, embed_dim=48, drop_path=0.0),
            text=TextEncoderConfig(
                vocab_size=vocab_size, hidden=48, layers=1, heads=4, intermediate=96, max_length=192, dropout=0.0
            ),
            pooler_heads=4,
        ),
        preprocessing=PreprocessSpec(spacing_mm=(8.0, 8.0, 8.0), size=(48, 48, 48), padding="minimum"),
        data=DataConfig(train_cases=4, validation_cases=2, batch_size=2, tokens=64),
        optimizer=OptimizerConfig(steps=6, matrix_learning_rate=0.02),
        sentence_steps=2,
        stem_taught=False,
        report=ReportDecoderConfig(
            vocab_size=vocab_size,
            memory_width=48,
            width=48,
            layers=1,
            heads=4,
            hidden=96,
            max_length=192,
            memory_pool=1,
            dropout=0.0,
        ),
        reconstruction=ReconstructionConfig(width=24, depth=1, heads=2),
        bf16=False,
        checkpoint_every=2,
        validate_every=100,
    )


def smoke_structures(config: PretrainConfig) -> StructureConfig:
    """Two steps of a small structure head."""
    return dataclasses.replace(
        tiny_structures(config),
        optimizer=OptimizerConfig(steps=2, learning_rate=2e-3, weight_decay=0.01),
        channels=4,
        batch_size=1,
    )


def smoke_stem(config: PretrainConfig) -> StemConfig:
    """Two steps of a small stem."""
    return dataclasses.replace(
        tiny_stem(config),
        optimizer=OptimizerConfig(steps=2, learning_rate=4e-3),
        batch_size=2,
        crops=2,
        crop=16,
        shift_voxels=2,
    )
