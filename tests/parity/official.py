"""The official colipri package on a CPU machine, built without network, beside our model with the same weights.

Nothing that pulls in transformers is imported before a function runs: the shim below must come first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import nn
from torchvision_shim import install_torchvision_shim

from colipri_core.model.config import ImageEncoderConfig
from colipri_core.model.config import ModelConfig
from colipri_core.model.config import TextEncoderConfig

if TYPE_CHECKING:
    from colipri_core.model.colipri import ColipriModel

TEMPERATURE = 0.07
SHAPE = (32, 48, 40)
"""Voxels of the small volumes: three different grid axes."""


def build_official(config: ModelConfig, input_shape: tuple[int, int, int]) -> nn.Module:
    """Build ``colipri.model.multimodal.Model`` of the given sizes for one input shape in voxels."""
    install_torchvision_shim()
    pytest.importorskip("colipri", reason="the official package is not installed: pip install colipri==0.1.3")
    from colipri.model.image import ImageEncoder
    from colipri.model.multimodal import Model
    from colipri.model.text import TextEncoder
    from colipri.pooling import AttentionPool1D
    from dynamic_network_architectures.architectures.primus import Primus
    from transformers import BertConfig
    from transformers import BertModel

    image, text = config.image, config.text
    backbone = Primus(
        input_channels=image.in_channels,
        num_classes=1,
        embed_dim=image.width,
        patch_embed_size=(image.patch_size,) * 3,
        input_shape=input_shape,
        eva_depth=image.depth,
        eva_numheads=image.heads,
        **_published_backbone_options(),
    )
    bert = BertConfig(
        vocab_size=text.vocab_size,
        hidden_size=text.hidden,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        intermediate_size=text.intermediate,
        max_position_embeddings=text.max_length,
    )
    image_encoder = ImageEncoder(
        backbone,
        nn.Conv3d(image.width, image.embed_dim, kernel_size=1),
        AttentionPool1D(image.embed_dim, config.pooler_heads),
    )
    text_encoder = TextEncoder(
        BertModel(bert, add_pooling_layer=False), AttentionPool1D(text.hidden, config.pooler_heads)
    )
    return Model(image_encoder, text_encoder, temperature=TEMPERATURE).eval()


def _published_backbone_options() -> dict[str, Any]:
    """The backbone options the package's own configuration file sets, read from it."""
    from colipri.checkpoint import load_model_config

    published = load_model_config()["image_encoder"]["backbone"]
    names = ("use_rot_pos_emb", "use_abs_pos_embed", "drop_path_rate", "init_values", "scale_attn_inner")
    return {name: published[name] for name in (*names, "num_register_tokens")}


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter and buffer values that no wrong wiring survives.

    Initial values hide mistakes: scales of 1, biases of 0 and residual scales of 0.1 make two different networks
    almost equal. Here residual scales and norm weights spread around 1, biases around 0, weights keep their size.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name == "softmax_temperature":
                continue
            if "gamma" in name or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.copy_(1 + 0.3 * noise)
            elif tensor.ndim == 1 or "mask_token" in name:
                tensor.copy_(0.2 * noise)
            else:
                tensor.copy_(noise * (tensor[0].numel() ** -0.5))


@dataclasses.dataclass(frozen=True)
class Pair:
    """Our model and the official one with identical random weights, both in evaluation mode."""

    ours: ColipriModel
    official: nn.Module


def build_pair(config: ModelConfig, input_shape: tuple[int, int, int], *, seed: int = 0) -> Pair:
    """Build both models; the official one fits the given input shape in voxels only."""
    official = build_official(config, input_shape)
    from colipri_core.model.colipri import ColipriModel

    randomise(official, seed)
    ours = ColipriModel(config).eval()
    ours.load_state_dict(official.state_dict(), strict=True, assign=True)
    return Pair(ours, official)


def small_config(**image: Any) -> ModelConfig:
    """Return a model a test can build in a second; keywords replace sizes of the image encoder."""
    sizes: dict[str, Any] = {"width": 48, "depth": 3, "heads": 4, "embed_dim": 24, "patch_size": 8, **image}
    text = TextEncoderConfig(
        vocab_size=97, hidden=sizes["embed_dim"], layers=2, heads=2, intermediate=40, max_length=64
    )
    return ModelConfig(image=ImageEncoderConfig(**sizes), text=text, pooler_heads=3)


def random_images(shape: tuple[int, int, int], *, batch: int = 1, seed: int = 1) -> Tensor:
    """Return volumes (batch, 1, X, Y, Z) with values in [-1, 1]."""
    return torch.rand(batch, 1, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
