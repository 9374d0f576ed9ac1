"""PretrainNetwork: everything a pretraining trains, the shipped model and the decoders around it, as one module.

One forward pass makes all that the objectives of the run need of a part of the batch, so that DistributedDataParallel
can wrap it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TypeVar

import torch
from torch import Tensor
from torch import nn

from colipri_core.model.blocks import Block
from colipri_core.model.colipri import ColipriModel
from colipri_core.model.encoder import ImageBackbone
from colipri_core.model.encoder import Transformer
from colipri_core.model.report_decoder import ReportDecoder
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.model.stem import STEM_SEES
from colipri_training.config import ComputeConfig
from colipri_training.config import OptimizerConfig
from colipri_training.config import PretrainConfig
from colipri_training.data.batch import Batch
from colipri_training.distributed import World
from colipri_training.encoders import ResNetEncoder
from colipri_training.encoders import SwinEncoder
from colipri_training.objectives.attention import RegionAttention
from colipri_training.objectives.cached import Weighted
from colipri_training.objectives.config import LossConfig
from colipri_training.objectives.config import ReconstructionConfig
from colipri_training.objectives.contrastive import Contrastive
from colipri_training.objectives.distinct import DistinctFindings
from colipri_training.objectives.encoded import Encoded
from colipri_training.objectives.encoded import encode
from colipri_training.objectives.opposite import OppositeSentences
from colipri_training.objectives.reconstruction import Reconstruction
from colipri_training.objectives.reconstruction import Reconstructor
from colipri_training.objectives.reconstruction import blank
from colipri_training.objectives.reconstruction import hide
from colipri_training.objectives.region import RegionSentences
from colipri_training.objectives.report import ReportGeneration
from colipri_training.objectives.report import writing_losses

_LARGEST_SCALE = 100.0
_Sizes = TypeVar("_Sizes", ReportDecoderConfig, ReconstructionConfig)


class PretrainNetwork(nn.Module):
    """The model, its learned temperature, and a decoder for each objective that has one.

    Args:
        config: The run.

    Raises:
        ValueError: If an objective has a weight but its decoder has no sizes.
    """

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.loss = config.loss
        self.patch_size = config.model.image.patch_size
        self.objectives = objectives_of(config.loss)
        self.colipri = ColipriModel(config.model)
        _freeze(self.colipri.image_encoder.backbone, config.optimizer)
        self.log_scale = learned_scale(config.loss.temperature)
        self.report: ReportDecoder | None = None
        self.reconstruction: Reconstructor | None = None
        if config.loss.report:
            self.report = ReportDecoder(_sizes(config.report, "report"))
        if config.loss.reconstruction:
            self.reconstruction = Reconstructor(_sizes(config.reconstruction, "reconstruction"), config.model.image)

    @property
    def model(self) -> ColipriModel:
        """What is shipped."""
        return self.colipri

    def shipped(self, scale: Tensor) -> ColipriModel:
        """The model with its learned temperature, 1 / scale, in its buffer."""
        self.colipri.softmax_temperature.copy_(1 / scale)
        return self.colipri

    def draw(self, batch: Batch, *, seed: int, world: World) -> Batch:
        """Draw which patches are hidden, the same for any number of processes."""
        if self.reconstruction is None:
            return batch
        return hide(batch, self.reconstruction.config, self.patch_size, seed=seed, world=world)

    def unreached(self) -> list[nn.Parameter]:
        """What no objective of the run looks at, and so never has a gradient."""
        loss, encoder = self.loss, self.colipri.image_encoder
        pools = loss.contrastive or loss.opposite
        reached: list[nn.Module] = []
        if pools or loss.region or loss.distinct:
            reached.append(self.colipri.text_encoder)
        if pools or loss.region or loss.attention or loss.report or loss.reconstruction:
            reached.append(encoder.backbone)
        if pools or loss.region or loss.attention:
            reached += [encoder.projector, encoder.pooler if pools else encoder.pooler.attn]
        known = {id(value) for module in reached for value in module.parameters()}
        if not (pools or loss.region):  # attention asks the pooler where it looks, and not what it sees there
            known -= {id(value) for value in encoder.pooler.attn.out_proj.parameters()}
        scale = [self.log_scale] * (not (pools or loss.region))
        return [value for value in self.colipri.parameters() if id(value) not in known] + scale

    @property
    def scale(self) -> Tensor:
        """The learned inverse temperature, at most 100."""
        return scale_of(self.log_scale)

    def forward(self, batch: Batch, *, embeddings_only: bool = False) -> Encoded:
        """Encode a batch or a part of one.

        Args:
            batch: The inputs.
            embeddings_only: Leave the decoders out and put zeros in their place: their losses are sums over volumes,
                so the gradient at these does not depend on them.
        """
        if not (self.loss.opposite or self.loss.region or self.loss.distinct):
            batch = dataclasses.replace(batch, affirming=None, denying=None, statements=None)
        raw = self._raw(batch)
        encoded = encode(
            self.colipri,
            batch,
            raw,
            self.scale,
            dense=self.loss.region > 0,
            attention=self.loss.attention > 0,
        )
        return dataclasses.replace(
            encoded,
            writing=self._write(batch, raw, skip=embeddings_only),
            reconstruction=self._reconstruct(batch, skip=embeddings_only),
        )

    def _raw(self, batch: Batch) -> Tensor:
        """Raw tokens of the volumes; the embedding is one convolution if all tokens are kept."""
        return self.colipri.encode_tokens(batch.images, None if self._whole(batch) else batch.keep)

    def _whole(self, batch: Batch) -> bool:
        return batch.keep.shape[1] == math.prod(self._grid(batch))

    def _grid(self, batch: Batch) -> tuple[int, int, int]:
        return self.colipri.image_encoder.backbone.grid_shape(batch.images)

    def _write(self, batch: Batch, raw: Tensor, *, skip: bool) -> Tensor | None:
        if self.report is None:
            return None
        if skip:
            return raw.new_zeros(len(raw), dtype=torch.float32)
        assert batch.targets is not None
        memory = self.report.memory(raw, self._grid(batch), None if self._whole(batch) else batch.keep)
        return writing_losses(self.report, memory, batch.targets)

    def _reconstruct(self, batch: Batch, *, skip: bool) -> Tensor | None:
        if self.reconstruction is None:
            return None
        assert batch.masked is not None
        if skip:
            return batch.masked.images.new_zeros(len(batch.masked.images))
        tokens = self.colipri.encode_tokens(blank(batch.masked, self.patch_size), batch.masked.visible)
        errors: Tensor = self.reconstruction(tokens, batch.masked)
        return errors


def objectives_of(loss: LossConfig) -> Weighted:
    """The objectives that have a weight, with their weights."""
    return [
        (weight, objective)
        for weight, objective in (
            (loss.contrastive, Contrastive()),
            (loss.opposite, OppositeSentences()),
            (loss.region, RegionSentences()),
            (loss.attention, RegionAttention()),
            (loss.distinct, DistinctFindings()),
            (loss.report, ReportGeneration()),
            (loss.reconstruction, Reconstruction()),
        )
        if weight
    ]


def learned_scale(temperature: float) -> nn.Parameter:
    """The logarithm of an inverse temperature; it has one axis so that it can be sharded."""
    return nn.Parameter(torch.tensor([min(math.log(1 / temperature), math.log(_LARGEST_SCALE))]))


def scale_of(log_scale: Tensor) -> Tensor:
    """The inverse temperature, a scalar of at most 100, from its logarithm.

    Its gradient is that of the exponential at the bound too: a plain clamp has none there, and would hold it for good.
    """
    scale = log_scale.exp().squeeze(0)
    return scale - (scale - _LARGEST_SCALE).clamp(min=0).detach()


@torch.no_grad()
def bound_scale(log_scale: Tensor) -> None:
    """Bring the logarithm of an inverse temperature back to its bound after an update, so that it does not run away."""
    log_scale.clamp_(max=math.log(_LARGEST_SCALE))


def prepare_for(network: nn.Module, compute: ComputeConfig) -> None:
    """Switch on activation checkpointing and compilation where the run asks for them; neither changes the result.

    Blocks are compiled one by one: they all share one graph, and the rest of the network costs next to nothing.
    """
    for module in network.modules():
        if isinstance(module, Transformer | ReportDecoder | ResNetEncoder | SwinEncoder):
            module.activation_checkpointing = compute.activation_checkpointing
        if isinstance(module, Block) and compute.compile:
            module.compile()


def _freeze(backbone: ImageBackbone, config: OptimizerConfig) -> None:
    """Keep what has no learning rate as it is; how tokens are told of what a stem sees still learns."""
    stem = backbone.down_projection.stem
    if not config.stem_share and stem is not None:
        for part in STEM_SEES:
            if (module := getattr(stem, part)) is not None:
                module.requires_grad_(False)
    if not config.trunk_share:
        backbone.requires_grad_(False)
        if stem is not None and stem.recall is not None:
            stem.recall.requires_grad_(True)


def _sizes(sizes: _Sizes | None, name: str) -> _Sizes:
    if sizes is None:
        msg = f"loss.{name} has a weight, so config.{name} must give the sizes of its decoder, got None"
        raise ValueError(msg)
    return sizes
