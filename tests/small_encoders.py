"""A dense encoder small enough for tests, saved as a bundle."""

from __future__ import annotations

from pathlib import Path

import torch

from colipri_core.model.dense_spec import DenseSpec
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.encoders import ResNetConfig
from colipri_training.encoders import build_encoder
from colipri_training.encoders import save_encoder

SMALL_RESNET = ResNetConfig(
    block="basic", layers=(1, 1, 1, 1), planes=(8, 8, 16, 16), stem_kernel=3, stem_stride=2, max_pool=False
)
"""Feature maps of strides 2, 4, 8 and 16."""


def save_small_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a bundle of random weights; returns its folder."""
    torch.manual_seed(seed)
    spec = DenseSpec(
        name=folder.name,
        description="Random weights.",
        architecture=SMALL_RESNET,
        preprocessing=PreprocessSpec(spacing_mm=(4.0, 4.0, 4.0), size=(32, 32, 32)),
        licence="Apache-2.0",
        training_data="Nothing.",
        synthetic=True,
    )
    save_encoder(build_encoder(SMALL_RESNET), folder, spec=spec)
    return folder
