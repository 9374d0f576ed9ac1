"""The published size: 258 M parameters, and decoders of ours around them, trained on prepared data sets.

The model and its grid are the published ones. Batch, mixture, optimiser, schedule, loss weights and decoders are not
published: what stands here is our choice, after the public Primus trainers where those have a value. The text encoder
learns at a tenth of the rate, since it is meant to start from a trained one, as the published one did from CXR-BERT.

The published run took 288 hours of A100s. One step of CRM is 3.3 PFLOP (`colipri-train cost colipri-crm`), 4.4 with
what activation checkpointing computes again: 30,000 steps in those hours mean 41 % of the peak, which nobody has
measured.
"""

from __future__ import annotations

import dataclasses

from colipri_core.model.config import ModelConfig
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.config import ComputeConfig
from colipri_training.config import OptimizerConfig
from colipri_training.config import PretrainConfig
from colipri_training.data.config import DataConfig
from colipri_training.objectives.config import LossConfig
from colipri_training.objectives.config import ReconstructionConfig

_ALL_TOKENS = 24**3


def colipri(*, vocab_size: int) -> PretrainConfig:
    """The base of the published variants; `variants` sets its objectives.

    Args:
        vocab_size: Word pieces of the tokenizer; 30,522 for CXR-BERT's.
    """
    published = ModelConfig.published()
    return PretrainConfig(
        name="colipri",
        model=dataclasses.replace(published, text=dataclasses.replace(published.text, vocab_size=vocab_size)),
        preprocessing=PreprocessSpec(),
        data=DataConfig(
            train_cases=0,
            validation_cases=500,
            batch_size=64,
            tokens=_ALL_TOKENS,
            max_report_length=512,
            max_sentence_length=256,
            unpaired=64,
        ),
        loss=LossConfig(),
        optimizer=OptimizerConfig(
            steps=30_000, learning_rate=3e-4, weight_decay=0.05, decay="poly", text_share=0.1, average=0.0
        ),
        report=ReportDecoderConfig(vocab_size=vocab_size),
        reconstruction=ReconstructionConfig(paired=False),
        compute=ComputeConfig(micro_batch=16, activation_checkpointing=True, tensorboard=True),
        whiten=False,
        checkpoint_every=250,
        validate_every=1000,
    )
