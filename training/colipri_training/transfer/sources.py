"""Where the encoder of a downstream run comes from: a bundle, a pretraining run, or fresh weights of the same sizes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.dense_model import DenseModel
from colipri_training.encoders import AnyEncoder
from colipri_training.encoders import EncoderConfig
from colipri_training.encoders import PrimusEncoder
from colipri_training.encoders import ResNetConfig
from colipri_training.encoders import SwinConfig
from colipri_training.encoders import build_encoder
from colipri_training.encoders import load_encoder
from colipri_training.identity import weights_sha256
from colipri_training.run import Run

RANDOM = "random"
KINDS: dict[str, EncoderConfig] = {"primus": ImageEncoderConfig(), "resnet": ResNetConfig(), "swin": SwinConfig()}
"""Families that can be named after `random:`, at their published sizes."""

_WINDOW_HU = (-1000.0, 1000.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SourceEncoder:
    """An encoder with what must be known to use it.

    Attributes:
        encoder: In evaluation mode, on the CPU; its weights are trainable.
        source: What was asked for.
        window_hu: Intensities that it maps to [-1, 1].
        spacing_mm: Voxel size of its model grid; None where it has none.
        pretrained: Whether its weights are more than random.
        weights: SHA-256 of all its tensors.
    """

    encoder: AnyEncoder
    source: str
    window_hu: tuple[float, float]
    spacing_mm: tuple[float, float, float] | None
    pretrained: bool
    weights: str


def open_source(source: str, *, seed: int = 0) -> SourceEncoder:
    """Load or make an encoder.

    Args:
        source: Folder, shipped name or hub id of a bundle; folder of a pretraining run, whose last checkpoint is
            taken; `random:SOURCE` for fresh weights of the same sizes, where SOURCE may also be "primus", "resnet"
            or "swin".
        seed: Decides fresh weights.

    Raises:
        ModelUnavailableError: If it is not there.
        BundleError: If it is damaged, or has no image encoder.
        CheckpointError: If the run has no whole checkpoint.
    """
    kind, colon, like = source.partition(":")
    if kind == RANDOM and colon:
        known = None if like in KINDS else _stored(like)
        config = KINDS[like] if known is None else known.encoder.config
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = build_encoder(config).eval()
        window, spacing = (_WINDOW_HU, None) if known is None else (known.window_hu, known.spacing_mm)
        return _described(encoder, source, window, spacing, pretrained=False)
    return _stored(source)


def _stored(source: str) -> SourceEncoder:
    folder = Path(source).expanduser()
    if (folder / "config.json").is_file():
        run = Run.begun(folder)
        spec = run.config.preprocessing
        encoder = _encoder_of(run.pretrained())
        return _described(encoder, source, spec.intensity_window, spec.spacing_mm, pretrained=True)
    loaded = load_encoder(source)
    grid = loaded.spec.preprocessing
    return _described(loaded.encoder, source, grid.intensity_window, grid.spacing_mm, pretrained=True)


def _encoder_of(model: ColipriModel | DenseModel) -> AnyEncoder:
    if isinstance(model, DenseModel):
        return model.encoder
    encoder = PrimusEncoder(model.config.image).eval()
    encoder.backbone.load_state_dict(model.image_encoder.backbone.state_dict())
    return encoder


def _described(
    encoder: AnyEncoder,
    source: str,
    window_hu: tuple[float, float],
    spacing_mm: tuple[float, float, float] | None,
    *,
    pretrained: bool,
) -> SourceEncoder:
    return SourceEncoder(
        encoder=encoder,
        source=source,
        window_hu=window_hu,
        spacing_mm=spacing_mm,
        pretrained=pretrained,
        weights=weights_sha256(encoder),
    )
