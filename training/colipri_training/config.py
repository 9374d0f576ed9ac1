"""PretrainConfig: everything that decides a pretraining run, as one frozen value that is saved beside its results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import Self

from colipri_core.model.config import ModelConfig
from colipri_core.model.config import later
from colipri_core.model.report_decoder import ReportDecoderConfig
from colipri_core.preprocess_spec import PreprocessSpec
from colipri_core.vocabulary.structures import STRUCTURES
from colipri_training.config_json import build
from colipri_training.config_json import changed
from colipri_training.data.sentences import ReportTextOptions
from colipri_training.data.variation import Variation
from colipri_training.identity import differences


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeConfig:
    """How a run reads prepared volumes and their reports; how many of each kind stands in `DataConfig`.

    Args:
        crop: Voxels of a training crop, multiples of the patch; None takes the model grid. Validation always sees the
            centre crop of the model grid.
        lend_images: Whether volumes with a report also take turns as image-only ones, their report put aside.
        variation: Where crops come from and how they are varied.
        text: How a report becomes the text of one step.
        statements: Pairs of opposite sentences of a volume; 8 is our choice.
    """

    crop: tuple[int, int, int] | None = None
    lend_images: bool = True
    variation: Variation = dataclasses.field(default_factory=Variation)
    text: ReportTextOptions = dataclasses.field(default_factory=ReportTextOptions)
    statements: int = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which volumes a run sees: phantoms of its own, or prepared data sets.

    Args:
        train_cases: Number of training phantoms, seeds 0 and up; prepared data sets are read whole.
        validation_cases: Number of validation phantoms, and most volumes that validation takes of prepared data sets.
        batch_size: Volumes of a step that come with a report.
        tokens: Image tokens of a volume that are encoded; the others are dropped (language-image pretraining with
            masking: Li et al., FLIP, 2023).
        lesion_share: Largest share of these that is taken from tokens that show a finding, so that a step sees them.
        air_share: Share of these that is taken from outside the body.
        max_report_length: Report length in word pieces.
        max_sentence_length: Sentence length in word pieces.
        unpaired: Volumes of a step that come without report, for reconstruction alone.
        shift_voxels: Largest random shift of a phantom along each axis.
        sources: Folders that `colipri-train prepare` filled from manifests; empty for phantoms.
        volumes: How these are read.
    """

    train_cases: int
    validation_cases: int
    batch_size: int
    tokens: int
    lesion_share: float = 0.35
    air_share: float = 0.1
    max_report_length: int = 192
    max_sentence_length: int = 40
    unpaired: int = 0
    shift_voxels: int = 6
    sources: tuple[str, ...] = ()
    volumes: VolumeConfig = VolumeConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the objectives; 0 leaves one out. All are our choice.

    Args:
        contrastive: Symmetric image-report contrast.
        opposite: Opposite-sentence loss on pooled image vectors.
        region: The opposite-sentence loss on single tokens, told by the lesion masks where the sentence holds.
        attention: Share of the pooler's attention that goes to tokens which show a finding, told by the masks.
        report: Next word pieces of the report, by a decoder that sees the patch tokens.
        reconstruction: Hidden patches from visible ones.
        distinct: Keeps the directions of the findings apart, on the text side.
        temperature: Initial temperature; learned.
    """

    contrastive: float = 1.0
    opposite: float = 1.0
    region: float = 1.0
    attention: float = 0.2
    report: float = 0.0
    reconstruction: float = 0.0
    distinct: float = later(0.0)
    temperature: float = 0.07


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW, and Muon for the matrices of the image encoder's blocks, with linear warm-up and a decay.

    Args:
        steps: Optimiser steps of the whole run.
        learning_rate: Peak learning rate of AdamW.
        matrix_learning_rate: Peak learning rate of Muon; 0 leaves everything to AdamW.
        weight_decay: Decay of matrices; norms, biases, scales and the temperature have none.
        betas: Momentum constants.
        warmup: Share of the steps that warm up.
        decay: "cosine" to a hundredth of the peak, or "poly": (1 - progress) ** 0.9, as nnU-Net and its kin have it.
        text_share: Learning rate of the text encoder over that of everything else; below 1 where it starts trained.
        stem_share: Learning rate of what a stem sees over that of everything else; 0 keeps it as it starts.
        trunk_share: Learning rate of patch embedding and blocks over that of everything else; 0 keeps them as they
            start, and only what reads their tokens learns.
        gradient_clip: Largest gradient norm.
        average: Decay of the exponential moving average of the weights that is exported; 0 exports the raw weights.
    """

    steps: int
    learning_rate: float = 1e-3
    matrix_learning_rate: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05
    decay: Literal["cosine", "poly"] = "cosine"
    text_share: float = 1.0
    stem_share: float = later(1.0)
    trunk_share: float = later(1.0)
    gradient_clip: float = 1.0
    average: float = 0.998


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """Masked autoencoding: what is hidden, and the light decoder, which is not shipped.

    The ratio, the depth and the plain target follow the public Primus masked autoencoder; the rest is our choice.

    Args:
        mask_ratio: Share of the tokens that are hidden from the encoder.
        width: Channels of a token in the decoder; `width / heads` must be a multiple of 6.
        depth: Blocks.
        heads: Attention heads.
        normalise: Whether the target is each patch less its mean, over its standard deviation.
        paired: Whether volumes with a report are reconstructed too, not only those without.
    """

    mask_ratio: float = 0.75
    width: int = 432
    depth: int = 2
    heads: int = 6
    normalise: bool = False
    paired: bool = True

    def __post_init__(self) -> None:
        """Refuse a ratio that leaves nothing to see or nothing to do."""
        if not 0 < self.mask_ratio < 1:
            msg = f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How a step is computed, which changes its cost and not its result (but for rounding).

    Args:
        micro_batch: Volumes that one process encodes at once. Fewer than its part of the batch: the batch goes
            through in parts, twice, and the loss is still that of the whole (`objectives.cached`). 0: all at once.
        activation_checkpointing: Whether blocks are computed again in the backward pass, for the memory.
        compile: Whether `torch.compile` compiles the blocks.
        sharded: Whether FSDP2 splits weights and optimiser state among the processes, rather than each having all.
        tensorboard: Whether the log is written for TensorBoard too.
        workers: Processes that read prepared volumes ahead, for each process of the run; 0 reads in this one.
        prefetch: Batches each of them keeps ready.
    """

    micro_batch: int = 0
    activation_checkpointing: bool = False
    compile: bool = False
    sharded: bool = False
    tensorboard: bool = False
    workers: int = 4
    prefetch: int = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run has besides its recipe.

    Args:
        data: Folders of prepared data sets; empty for phantoms.
        init: Bundle or hub id that all weights start from.
        text_init: Folder or hub id of a BERT that the text encoder starts from.
        settings: Fields to set otherwise, such as "optimizer.steps=2000".
        structures: The same of the structure stage; kept with the run.
    """

    data: tuple[str, ...] = ()
    init: str | None = None
    text_init: str | None = None
    settings: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()


_FREE = ("compute", "checkpoint_every", "validate_every")
"""Fields that leave the course of a run as it is: validation draws nothing that a step would."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every pretraining has, whatever it learns.

    Args:
        name: Name of the recipe, and of the bundle that the run exports if no other is given.
        preprocessing: The model grid.
        optimizer: The optimiser and its schedule.
        compute: How a step is computed.
        init: Bundle or hub id that the weights start from; None for random weights.
        text_init: BERT that the text encoder starts from, a folder or hub id; None for random weights.
        seed: Decides initial weights, order, augmentation and wording of every step.
        bf16: Whether matrix products run in bfloat16 (autocast); weights and losses stay float32.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between validations.
    """

    name: str
    preprocessing: PreprocessSpec
    optimizer: OptimizerConfig
    compute: ComputeConfig = ComputeConfig()
    init: str | None = None
    text_init: str | None = None
    seed: int = 0
    bf16: bool = True
    checkpoint_every: int = 100
    validate_every: int = 250

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**dataclasses.asdict(self), "preprocessing": self.preprocessing.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If a field is missing, unknown, or of another type; the message names it.
        """
        return build(cls, document)

    def changed(self, settings: Iterable[str]) -> Self:
        """Return the config with some fields set otherwise.

        Args:
            settings: Such as "optimizer.steps=2000"; values are JSON, or plain text.

        Raises:
            ValueError: If there is no such field, or the value does not fit; the message names the field.
        """
        return self.from_json(changed(self.to_json(), settings))

    def identity(self) -> str:
        """What two runs must share for one to go on from the other's checkpoint.

        That is everything but `compute`, how often it saves and validates, and where prepared data sets lie: what is
        in them is compared by the loader.
        """
        document = self.to_json()
        document |= {**dict.fromkeys(_FREE), "data": {**document["data"], "sources": None}}
        return json.dumps(document, sort_keys=True)

    def differences(self, identity: str) -> str:
        """In which fields the run of another `identity` differs from this one; empty if in none."""
        return differences(json.loads(identity) | dict.fromkeys(_FREE), json.loads(self.identity()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """A pretraining of COLIPRI.

    Args:
        model: Sizes of the model.
        data: The cases.
        loss: The objectives.
        report: Sizes of the report decoder; needed where `loss.report` has a weight.
        reconstruction: Masked autoencoding; needed where `loss.reconstruction` has a weight.
        whiten: Whether the patch embedding starts from the principal components of the first patches.
        sentence_steps: Steps that the text encoder learns alone from sentences of the reports, before the first step.
        stem_taught: Whether the stem starts from what the run's `stem` stage taught it.
    """

    model: ModelConfig
    data: DataConfig
    loss: LossConfig
    report: ReportDecoderConfig | None = None
    reconstruction: ReconstructionConfig | None = None
    whiten: bool = True
    sentence_steps: int = 0
    stem_taught: bool = later(False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().to_json(), "model": self.model.to_json()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StemConfig:
    """A run that teaches the stem of an encoder the lesion masks of phantoms.

    Args:
        optimizer: The optimiser and its schedule.
        preprocessing: The model grid.
        train_cases: Number of training phantoms, seeds 0 and up.
        patch_size: Of the encoder; crops start at multiples of it.
        batch_size: Phantoms in a step.
        crops: Crops of each.
        crop: Edge of a crop in voxels.
        shift_voxels: Largest random shift of a phantom along each axis.
        seed: Decides order, crops and augmentation.
        save_every: Steps between checkpoints.
    """

    optimizer: OptimizerConfig
    preprocessing: PreprocessSpec
    train_cases: int
    patch_size: int = 8
    batch_size: int = 8
    crops: int = 4
    crop: int = 48
    shift_voxels: int = 6
    seed: int = 0
    save_every: int = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructureConfig:
    """A run that fits a structure head.

    Args:
        optimizer: The optimiser and its schedule.
        preprocessing: The model grid.
        train_cases: Number of training phantoms, seeds 0 and up.
        batch_size: Volumes in a step.
        token_dropout: Share of volumes whose tokens are set to zero.
        shift_voxels: Largest random shift of a volume along each axis.
        seed: Decides order and augmentation.
        save_every: Steps between checkpoints.
        channels: Channels of the head's shallowest level.
        crop: Voxels of a random sub-volume of each phantom that a step sees; None for all of it.
        structures: Names of the classes, in the order of the labels.
        encoder_share: Learning rate of the encoder over the head's; 0 leaves the encoder as it is.
    """

    optimizer: OptimizerConfig
    preprocessing: PreprocessSpec
    train_cases: int
    batch_size: int = 2
    token_dropout: float = 0.5
    shift_voxels: int = 10
    seed: int = 0
    save_every: int = 50
    channels: int = 24
    crop: tuple[int, int, int] | None = None
    structures: tuple[str, ...] = tuple(concept.name for concept in STRUCTURES)
    encoder_share: float = 0.0
