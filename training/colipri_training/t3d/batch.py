"""T3DBatch: what one step of a T3D run sees; TextTokens and outputs of its network."""

from __future__ import annotations

import dataclasses
from typing import Any
from typing import ClassVar

import torch
from torch import Tensor

from colipri_training.data.batch import Text
from colipri_training.objectives.outputs import Outputs


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class T3DBatch:
    """Inputs of one step. B scans, V sub-volumes, S sentences, L word pieces.

    Args:
        images: (B, V, X, Y, Z) sub-volumes, values in [-1, 1].
        centres: (B, V, 3) where they lie in the patient's body: -1 and 1 at its first and last voxel.
        corrupted: (B, X, Y, Z) the first of them, corrupted; None where nothing is restored.
        reports: One report a scan: ids and mask (B, L).
        sentences: Sentences of the reports: ids and mask (B, S, L); None where none guides. A mask of padding is all 0.
        groups: (B,) int64; scans of one number (one patient, or one text) are not each other's negatives.
        ids: Names of the scans.
    """

    images: Tensor
    centres: Tensor
    corrupted: Tensor | None
    reports: Text
    sentences: Text | None
    groups: Tensor
    ids: tuple[str, ...] = ()

    def part(self, index: int, parts: int, *, sentences: bool = True) -> T3DBatch:
        """Return one of several consecutive parts of the scans; `sentences` changes nothing, for all are a scan's.

        Args:
            index: Which part, from 0.
            parts: How many there are; they are as even as can be.
            sentences: See `objectives.cached.Parted`.
        """
        del sentences
        return self._mapped(lambda value: value.tensor_split(parts)[index])

    def to(self, device: torch.device) -> T3DBatch:
        """Return the batch on a device."""
        return self._mapped(lambda value: value.to(device, non_blocking=True))

    def _mapped(self, change: Any) -> T3DBatch:
        def mapped(value: Any) -> Any:
            match value:
                case Tensor():
                    return change(value)
                case (Tensor(), Tensor()):
                    return tuple(map(change, value))
            return value

        values = {field.name: mapped(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return T3DBatch(**values)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class T3DOutputs(Outputs):
    """What the network makes of a batch. B scans of this process, J of all, P ordered pairs of sub-volumes.

    Args:
        scale: Inverse temperature, a scalar.
        match: (B, P, J) cosine of a scan's sub-volume with another sub-volume of every scan, given its report.
        found: (B, S, P, J) the same of what its sentences find; see `SentenceGuide`.
        restoration: (B,) mean absolute error of each restored sub-volume, changed voxels first.
    """

    of_no_volume: ClassVar[tuple[str, ...]] = ("scale",)

    scale: Tensor
    match: Tensor | None = None
    found: Tensor | None = None
    restoration: Tensor | None = None
