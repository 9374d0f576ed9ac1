"""Small random bundles for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from colipri_core.model.colipri import ColipriModel
from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.config import TextEncoderConfig
from colipri_core.model.spec import BundleSpec
from colipri_core.model.spec import TextSpec
from colipri_core.model.tokenizer import tokenizer_from_vocabulary
from colipri_core.preprocess_spec import PreprocessSpec

WORDS = ("pleural", "effusion", "lung", "nodule", "no", "there", "is", "##s", ".", "present")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)


def small_config(**image: Any) -> ModelConfig:
    sizes: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "embed_dim": 12, "patch_size": 4, **image}
    text = TextEncoderConfig(
        vocab_size=len(VOCABULARY), hidden=sizes["embed_dim"], layers=1, heads=2, intermediate=16, max_length=32
    )
    return ModelConfig(image=ImageEncoderConfig(**sizes), text=text, pooler_heads=2)


def small_model(seed: int = 0) -> ColipriModel:
    torch.manual_seed(seed)
    return ColipriModel(small_config()).eval()


def small_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    path = folder / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return tokenizer_from_vocabulary(path)


def small_spec(**changes: Any) -> BundleSpec:
    values: dict[str, Any] = {
        "name": "small",
        "description": "Random weights.",
        "architecture": small_config(),
        "preprocessing": PreprocessSpec(size=(16, 16, 16), spacing_mm=(8.0, 8.0, 8.0), padding=-1.0),
        "text": TextSpec(max_length=32),
        "vocabulary": "ct-rate-18",
        "calibration": {"SCT:60046008": (2.5, -0.5)},
        "licence": "Apache-2.0",
        "training_data": "None; random weights.",
        "synthetic": True,
        **changes,
    }
    return BundleSpec(**values)
