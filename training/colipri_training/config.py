"""PretrainConfig: everything that decides a pretraining run, as one frozen value that is saved beside its results."""

from __future__ import annotations

import dataclasses
import json
import math
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
from colipri_training.checks import at_least
from colipri_training.checks import at_most
from colipri_training.checks import expect
from colipri_training.checks import multiples
from colipri_training.checks import positive
from colipri_training.checks import shares
from colipri_training.config_json import build
from colipri_training.config_json import changed
from colipri_training.data.config import DataConfig
from colipri_training.identity import differences
from colipri_training.objectives.config import LossConfig
from colipri_training.objectives.config import ReconstructionConfig

_LARGEST_SEED = (1 << 44) - 1


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

    def __post_init__(self) -> None:
        """Refuse what no optimiser can use."""
        at_least(self, 0, "steps", "learning_rate", "matrix_learning_rate", "weight_decay", "warmup")
        at_least(self, 0, "text_share", "stem_share", "trunk_share")
        positive(self, "gradient_clip")
        shares(self, "average")


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

    def __post_init__(self) -> None:
        """Refuse numbers below what there can be."""
        at_least(self, 0, "micro_batch", "workers")
        at_least(self, 1 if self.workers else 0, "prefetch")


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

    def __post_init__(self) -> None:
        """Refuse intervals and seeds that are none."""
        at_least(self, 1, "checkpoint_every", "validate_every")
        at_least(self, 0, "seed")
        at_most("seed", self.seed, _LARGEST_SEED, "what seeds of single steps leave room for")

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
        config = self.from_json(changed(self.to_json(), settings))
        expected = f"at least the {self.vocab_size} word pieces of the tokenizer (leave it out of the settings)"
        expect("vocab_size", config.vocab_size, expected, fits=config.vocab_size >= self.vocab_size)
        return config

    @property
    def vocab_size(self) -> int:
        """Word pieces that all parts know which read or write words."""
        raise NotImplementedError

    @property
    def smallest_convolved(self) -> int | None:
        """Cells along the shortest axis of the smallest map that a 3 x 3 x 3 convolution reads; None if none does."""
        return None

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

    def __post_init__(self) -> None:
        """Refuse parts that do not fit one another."""
        super().__post_init__()
        at_least(self, 0, "sentence_steps")
        image, text, data = self.model.image, self.model.text, self.data
        expect("model.image.drop_path", image.drop_path, "at least 0 and below 1", fits=0 <= image.drop_path < 1)
        multiples("preprocessing.size", self.preprocessing.size, image.patch_size, "the patch size")
        multiples("data.volumes.crop", self.crop, image.patch_size, "the patch size")
        at_most("data.max_report_length", data.max_report_length, text.max_length, "model.text.max_length")
        if self.loss.opposite or self.loss.region or self.loss.distinct:
            at_most("data.max_sentence_length", data.max_sentence_length, text.max_length, "model.text.max_length")
        if self.loss.opposite and data.sources:
            statements = data.volumes.statements
            expect("data.volumes.statements", statements, "at least 1 for loss.opposite", fits=statements > 0)
        if self.loss.report and self.report is not None:
            self._check_report(self.report)
        if self.loss.reconstruction and self.reconstruction is not None:
            tokens = math.prod(edge // image.patch_size for edge in self.crop)
            hidden, ratio = self.reconstruction.hidden_of(tokens), self.reconstruction.mask_ratio
            expected = f"a share of {tokens} tokens that hides one and leaves one"
            expect("reconstruction.mask_ratio", ratio, expected, fits=0 < hidden < tokens)

    def _check_report(self, report: ReportDecoderConfig) -> None:
        width = self.model.image.width
        expected = f"model.image.width, {width}"
        expect("report.memory_width", report.memory_width, expected, fits=report.memory_width == width)
        expect("report.max_length", report.max_length, "at least 2", fits=report.max_length >= 2)

    @property
    def vocab_size(self) -> int:
        """See `RunConfig`."""
        words = self.model.text.vocab_size
        return words if self.report is None or not self.loss.report else min(words, self.report.vocab_size)

    @property
    def crop(self) -> tuple[int, int, int]:
        """Voxels of a training crop."""
        return self.data.volumes.crop or self.preprocessing.size

    @property
    def smallest_convolved(self) -> int | None:
        """See `RunConfig`; only a stem has such convolutions, down to the patch grid."""
        return min(self.crop) // self.model.image.patch_size if self.model.image.stem else None

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

    def __post_init__(self) -> None:
        """Refuse numbers below what there can be."""
        at_least(self, 1, "patch_size", "batch_size", "crops", "crop", "save_every")
        at_least(self, 0, "train_cases", "shift_voxels", "seed")


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

    def __post_init__(self) -> None:
        """Refuse numbers below what there can be."""
        at_least(self, 1, "batch_size", "save_every", "channels")
        at_least(self, 0, "train_cases", "shift_voxels", "seed", "encoder_share")
        shares(self, "token_dropout")
