"""TransferConfig: everything that decides what becomes of an encoder downstream, as one frozen value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import Self

from colipri_training.config import OptimizerConfig
from colipri_training.config_json import build
from colipri_training.config_json import changed
from colipri_training.transfer.targets import targets_of
from colipri_training.transfer.volumes import SubVolumeConfig

Task = Literal["segmentation", "classification"]
EncoderUse = Literal["frozen", "slowed", "finetuned"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The U-Net decoder over an encoder's feature maps. Sizes are our choice.

    Attributes:
        width: Channels at full resolution; each halving has twice as many.
        widest: Most channels of a level.
        image_skip: Whether the volume itself joins at full resolution, through a block of its own, as in UNETR.
    """

    width: int = 16
    widest: int = 128
    image_skip: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """A downstream run. All figures are our choice.

    Attributes:
        name: Name of the recipe.
        task: "segmentation", or "classification" of the findings that a sub-volume shows.
        volumes: The data.
        targets: What is segmented, names in `targets.TARGETS`; for classification all 18 findings are asked for.
        crop: Voxels of a training crop and of a window at test; classification sees whole sub-volumes.
        foreground: Share of the crops that are laid around a voxel of a target, each target as often as any other.
        decoder: Sizes of the decoder.
        encoder: "frozen" keeps the encoder as it is, "slowed" trains it at `encoder_share` of the learning rate,
            "finetuned" at the whole.
        encoder_share: That share.
        fraction: Share of the training cases whose labels are used.
        batch_size: Crops of a step.
        optimizer: The optimiser and its schedule; its Muon, text and average fields have no meaning here.
        augment: Whether crops are shifted in intensity, blurred and given noise.
        overlap: Share by which windows overlap at test.
        bf16: Whether matrix products run in bfloat16, on hardware that does so natively.
        seed: Decides few-shot subset, new weights, crops and augmentation.
        checkpoint_every: Steps between checkpoints.
    """

    name: str
    task: Task
    volumes: SubVolumeConfig
    targets: tuple[str, ...]
    crop: tuple[int, int, int]
    optimizer: OptimizerConfig
    decoder: DecoderConfig = DecoderConfig()
    encoder: EncoderUse = "finetuned"
    encoder_share: float = 0.1
    fraction: float = 1.0
    foreground: float = 0.7
    batch_size: int = 2
    augment: bool = True
    overlap: float = 0.5
    bf16: bool = False
    seed: int = 0
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        targets_of(self.targets)
        if any(edge > whole for edge, whole in zip(self.crop, self.volumes.size, strict=True)):
            msg = f"crop must fit into the sub-volumes of {self.volumes.size} voxels, got {self.crop}"
            raise ValueError(msg)
        if not 0 < self.fraction <= 1 or self.batch_size < 1 or not 0 <= self.overlap < 1:
            msg = (
                "fraction must be in (0, 1], batch_size at least 1 and overlap in [0, 1), got "
                f"{self.fraction}, {self.batch_size} and {self.overlap}"
            )
            raise ValueError(msg)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If a field is missing, unknown, or of another type; the message names it.
        """
        return build(cls, document)

    def changed(self, settings: Iterable[str]) -> Self:
        """Return the config with some fields set otherwise, such as "optimizer.steps=200".

        Raises:
            ValueError: If there is no such field, or the value does not fit; the message names the field.
        """
        return self.from_json(changed(self.to_json(), settings))

    def identity(self, weights: str) -> str:
        """What two runs must share to be the same run.

        Args:
            weights: Which weights the encoder begins with.
        """
        return json.dumps({**self.to_json(), "checkpoint_every": None, "weights": weights}, sort_keys=True)
