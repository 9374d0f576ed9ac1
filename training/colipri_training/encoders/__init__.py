"""Image encoders behind one protocol, for objectives and downstream tasks that do not care which one it is."""

from __future__ import annotations

from colipri_core.model.dense_encoder import AnyEncoder
from colipri_core.model.dense_encoder import DenseEncoder
from colipri_core.model.dense_encoder import PrimusEncoder
from colipri_core.model.dense_encoder import ResNetEncoder
from colipri_core.model.dense_encoder import SwinEncoder
from colipri_core.model.dense_encoder import build_encoder
from colipri_core.model.encoder_config import EncoderConfig
from colipri_core.model.encoder_config import ResNetConfig
from colipri_core.model.encoder_config import SwinConfig
from colipri_training.encoders.bundles import LoadedEncoder
from colipri_training.encoders.bundles import load_encoder
from colipri_training.encoders.bundles import save_encoder

__all__ = [
    "AnyEncoder",
    "DenseEncoder",
    "EncoderConfig",
    "LoadedEncoder",
    "PrimusEncoder",
    "ResNetConfig",
    "ResNetEncoder",
    "SwinConfig",
    "SwinEncoder",
    "build_encoder",
    "load_encoder",
    "save_encoder",
]
