"""What a step costs: floating-point operations by part of the network, counted on shapes alone, without computing.

Model operations, as utilisation figures count them: a training step is three forward passes (one forward, two for the
backward pass), and what activation checkpointing or the two passes of a batch in parts compute again does not count.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from einops import rearrange
from torch import Tensor

from colipri_core.vocabulary.findings import CT_RATE_FINDINGS
from colipri_training.config import PretrainConfig
from colipri_training.config import RunConfig
from colipri_training.data.batch import Masked
from colipri_training.network import PretrainNetwork
from colipri_training.objectives.reconstruction import visible_count
from colipri_training.operations import count as _count
from colipri_training.t3d.config import T3DConfig
from colipri_training.t3d.cost import forward_cost

_PASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepCost:
    """Operations of the forward passes of one step over the global batch.

    Args:
        image: Encoding the volumes that come with a report, and pooling them; of T3D, telling them the report too.
        text: Encoding reports and sentences, each as long as the config allows: an upper bound.
        report: The report decoder, with reports as long as it allows.
        reconstruction: Encoding what is visible of the volumes to reconstruct or restore, and decoding them.
    """

    image: int
    text: int
    report: int
    reconstruction: int

    @property
    def forward(self) -> int:
        """Operations of the forward passes."""
        return self.image + self.text + self.report + self.reconstruction

    @property
    def training(self) -> int:
        """Operations of the whole step."""
        return _PASSES * self.forward


def step_cost(config: RunConfig) -> StepCost:
    """Count the operations of a step of a run."""
    if isinstance(config, T3DConfig):
        image, text, restoration = forward_cost(config)
        return StepCost(image=image, text=text, report=0, reconstruction=restoration)
    assert isinstance(config, PretrainConfig), "there are no other runs"
    with torch.device("meta"):
        network = PretrainNetwork(config).eval()
    volumes = config.data.batch_size
    mae = config.reconstruction
    hidden = 0 if network.reconstruction is None or mae is None else config.data.unpaired + volumes * mae.paired
    return StepCost(
        image=volumes * _count(lambda: _image(network, config)),
        text=_text(network, config),
        report=0 if network.report is None else volumes * _count(lambda: _report(network, config)),
        reconstruction=0 if not hidden else hidden * _count(lambda: _reconstruction(network, config)),
    )


def steps_of_equal_cost(config: RunConfig, like: RunConfig) -> int:
    """Steps of one run that cost as much as all steps of another; at least 1."""
    return max(1, round(like.optimizer.steps * step_cost(like).training / step_cost(config).training))


def encoder_cost(config: PretrainConfig, tokens: int) -> int:
    """Operations of encoding so many tokens of one volume in a forward pass."""
    with torch.device("meta"):
        network = PretrainNetwork(config).eval()
    return _count(lambda: network.colipri.encode_tokens(_volume(config), _first(tokens)))


def _volume(config: PretrainConfig) -> Tensor:
    size = config.data.volumes.crop or config.preprocessing.size
    return torch.empty(1, config.model.image.in_channels, *size, device="meta")


def _first(tokens: int) -> Tensor:
    return torch.zeros(1, tokens, dtype=torch.int64, device="meta")


def _all_tokens(config: PretrainConfig) -> int:
    return math.prod(edge // config.model.image.patch_size for edge in _volume(config).shape[2:])


def _image(network: PretrainNetwork, config: PretrainConfig) -> Tensor:
    kept = min(config.data.tokens, _all_tokens(config))
    raw = network.colipri.encode_tokens(_volume(config), _first(kept))
    encoder = network.colipri.image_encoder
    grid = rearrange(raw, "b n c -> b c n 1 1")
    return encoder.dense(grid) if config.loss.region else encoder.pool(grid)


def _text(network: PretrainNetwork, config: PretrainConfig) -> int:
    data, texts = config.data, network.colipri.text_encoder

    def cost(length: int) -> int:
        ids = torch.zeros(1, length, dtype=torch.int64, device="meta")
        return _count(lambda: texts.pooler(texts.backbone(ids).last_hidden_state))

    sentences = 0
    if config.loss.opposite or config.loss.region or config.loss.distinct:
        shared = 2 * len(CT_RATE_FINDINGS)
        sentences = 2 * data.volumes.statements * data.batch_size if data.sources else shared
    return data.batch_size * cost(data.max_report_length) + sentences * cost(data.max_sentence_length)


def _report(network: PretrainNetwork, config: PretrainConfig) -> Tensor:
    assert network.report is not None
    total, kept = _all_tokens(config), min(config.data.tokens, _all_tokens(config))
    tokens = torch.empty(1, kept, config.model.image.width, device="meta")
    x, y, z = network.colipri.image_encoder.backbone.grid_shape(_volume(config))
    memory = network.report.memory(tokens, (x, y, z), None if kept == total else _first(kept))
    ids = torch.zeros(1, network.report.config.max_length - 1, dtype=torch.int64, device="meta")
    return network.report(ids, memory)


def _reconstruction(network: PretrainNetwork, config: PretrainConfig) -> Tensor:
    assert network.reconstruction is not None
    total = _all_tokens(config)
    visible = visible_count(total, network.reconstruction.config)
    tokens = network.colipri.encode_tokens(_volume(config), _first(visible))
    masked = Masked(images=_volume(config), visible=_first(visible))
    return network.reconstruction.predict(tokens, masked, _first(total - visible))
