"""T3D at full size, small and for tests, with its two single objectives and a text-free twin of each.

    t3d               contrast and restoration, both told the report
    t3d_contrast      contrast alone
    t3d_restoration   restoration alone
    t3d_masked        masked autoencoding: restoration of hidden cubes, without anything else that corrupts
    t3d_views         contrast, restoration and consistency of what sentences find, after the later T3D
    ..._textfree      one learned token in the report's place; not of t3d_views, which asks the report's sentences

and the same of `t3d_tiny` and `t3d_smoke`. We could read no sizes of the paper: the encoder is the 3D ResNet-50
that its third version is said to use, the sub-volume of 128 voxels and the temperature of 0.1 are those of its nearest
public relative (MG-3D), and everything else is our choice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.encoder_config import ResNetConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_training.config import ComputeConfig
from colipri_training.config import OptimizerConfig
from colipri_training.config import StructureConfig
from colipri_training.data.corruption import Corruption
from colipri_training.data.views import Views
from colipri_training.t3d.config import FusionConfig
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.config import T3DData
from colipri_training.t3d.config import T3DLoss

Recipe = Callable[..., T3DConfig]

_LOSSES = {
    "": T3DLoss(contrast=1.0, restoration=1.0),
    "_contrast": T3DLoss(contrast=1.0, restoration=0.0),
    "_restoration": T3DLoss(contrast=0.0, restoration=1.0),
    "_masked": T3DLoss(contrast=0.0, restoration=1.0),
    "_views": T3DLoss(contrast=1.0, restoration=1.0, consistency=0.5),
}
_MASKED = Corruption(shuffle=0.0, curve=0.0, paint=0.0, hide=0.75)
"""The share that COLIPRI's masked autoencoder hides, in cubes of its patches' size."""
TEXT_FREE = "_textfree"


def t3d(*, vocab_size: int) -> T3DConfig:
    """The full size, for GPUs: slices of 1 mm or thicker keep all they hold; our choice of grid.

    Args:
        vocab_size: Word pieces of the tokenizer; 30,522 for CXR-BERT's.
    """
    return T3DConfig(
        name="t3d",
        preprocessing=PreprocessSpec(spacing_mm=(1.0, 1.0, 1.0), size=(384, 384, 384)),
        encoder=ResNetConfig(),
        text=TextEncoderConfig(vocab_size=vocab_size),
        data=T3DData(batch_size=32, crop=(128, 128, 128)),
        fusion=FusionConfig(heads=16),
        optimizer=OptimizerConfig(steps=50_000, learning_rate=1e-4, text_share=0.1, average=0.0),
        compute=ComputeConfig(activation_checkpointing=True, tensorboard=True, workers=8),
        checkpoint_every=250,
        validate_every=1000,
    )


def t3d_tiny(*, vocab_size: int) -> T3DConfig:
    """A small run on phantoms of 1.5 mm: minutes on a GPU, hours on a processor.

    Views overlap by half, since those that hardly do are not told from other scans within so few steps; at twice the
    learning rate the contrast without text collapses to one point. The text encoder is frozen, to be started from a
    trained one: from nothing, at the full rate, it told every report alike after 1,000 steps.

    Args:
        vocab_size: Word pieces of the tokenizer that was trained on the phantom reports.
    """
    return T3DConfig(
        name="t3d_tiny",
        preprocessing=PreprocessSpec(spacing_mm=(1.5, 1.5, 1.5), size=(256, 256, 256)),
        encoder=ResNetConfig(
            block="basic", layers=(1, 1, 2, 2), planes=(16, 32, 64, 128), stem_kernel=5, max_pool=False
        ),
        text=TextEncoderConfig(
            vocab_size=vocab_size, hidden=192, layers=3, heads=6, intermediate=512, max_length=192, dropout=0.1
        ),
        data=T3DData(
            batch_size=16,
            crop=(64, 64, 64),
            validation_cases=64,
            views=Views(overlap=0.5),
            max_report_length=192,
            max_sentence_length=40,
        ),
        fusion=FusionConfig(heads=8, embed_dim=128, decoder=16),
        optimizer=OptimizerConfig(steps=4000, learning_rate=5e-4, text_share=0.0, average=0.995),
        validate_every=500,
    )


def t3d_smoke(*, vocab_size: int) -> T3DConfig:
    """The same made small enough for a test."""
    return dataclasses.replace(
        t3d_tiny(vocab_size=vocab_size),
        name="t3d_smoke",
        preprocessing=PreprocessSpec(spacing_mm=(8.0, 8.0, 8.0), size=(48, 48, 48), padding="minimum"),
        encoder=ResNetConfig(
            block="basic", layers=(1, 1, 1, 1), planes=(16, 16, 32, 32), stem_kernel=3, max_pool=False
        ),
        text=TextEncoderConfig(
            vocab_size=vocab_size, hidden=48, layers=1, heads=4, intermediate=96, max_length=192, dropout=0.0
        ),
        data=T3DData(
            batch_size=4,
            crop=(32, 32, 32),
            validation_cases=4,
            max_report_length=64,
            sentences=2,
            max_sentence_length=24,
        ),
        fusion=FusionConfig(layers=1, heads=4, hidden=2, embed_dim=32, decoder=16),
        optimizer=OptimizerConfig(steps=6, learning_rate=1e-4),
        compute=ComputeConfig(workers=0),
        bf16=False,
        checkpoint_every=2,
        validate_every=100,
    )


def variant(base: Recipe, name: str, loss: T3DLoss, *, is_text_free: bool, vocab_size: int) -> T3DConfig:
    """A recipe with other objectives, with the report or without.

    Args:
        base: Gives everything else.
        name: Name of the run.
        loss: The objectives.
        is_text_free: Whether a learned token takes the report's place.
        vocab_size: Number of word pieces.
    """
    config = base(vocab_size=vocab_size)
    return dataclasses.replace(config, name=name, loss=loss, conditioning="null" if is_text_free else "report")


def masked(made: Recipe, *, vocab_size: int) -> T3DConfig:
    """A recipe whose only corruption is hidden cubes."""
    config = made(vocab_size=vocab_size)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, corruption=_MASKED))


@functools.cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name."""
    found: dict[str, Recipe] = {}
    for base in (t3d, t3d_tiny, t3d_smoke):
        for suffix, loss in _LOSSES.items():
            for is_text_free in (False, True):
                if is_text_free and loss.consistency:
                    continue
                name = base.__name__ + suffix + TEXT_FREE * is_text_free
                made = functools.partial(variant, base, name, loss, is_text_free=is_text_free)
                found[name] = functools.partial(masked, made) if suffix == "_masked" else made
    return found


def base_of(name: str) -> str:
    """Name of the recipe whose sizes another one has: "t3d", "t3d_tiny" or "t3d_smoke"."""
    return next(base for base in ("t3d_tiny", "t3d_smoke", "t3d") if name.startswith(base))


def t3d_structures(config: T3DConfig) -> StructureConfig:
    """A structure head on sub-volumes of phantoms of the run's own spacing."""
    return StructureConfig(
        optimizer=OptimizerConfig(steps=4000, learning_rate=1e-3, weight_decay=0.01),
        preprocessing=config.preprocessing,
        train_cases=200,
        crop=config.data.crop,
    )


def t3d_tiny_structures(config: T3DConfig) -> StructureConfig:
    """The same, smaller."""
    return dataclasses.replace(
        t3d_structures(config),
        optimizer=OptimizerConfig(steps=600, learning_rate=3e-3, weight_decay=0.01),
        train_cases=60,
        crop=(96, 96, 96),
        channels=16,
    )


def t3d_smoke_structures(config: T3DConfig) -> StructureConfig:
    """Two steps of a small structure head."""
    return dataclasses.replace(
        t3d_structures(config),
        optimizer=OptimizerConfig(steps=2, learning_rate=2e-3, weight_decay=0.01),
        train_cases=2,
        batch_size=1,
        channels=4,
    )
