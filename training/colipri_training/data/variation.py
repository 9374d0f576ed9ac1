"""Random crops of a prepared volume, and changes to them under which its report stays true.

Two-phase: `draw` holds all randomness and returns plain numbers; `render` is deterministic.

Left and right. A mirrored chest makes "left pleural effusion" false, so volumes shown with a report are not mirrored;
image-only ones are. Reports that name no side can be let in (`mirror_sideless_reports`), which is off by default: such
reports are mostly normal, so a heart on the right would come to mean "normal".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from colipri_training.checks import at_least
from colipri_training.data.augment import rotation
from colipri_training.data.prepared import Record

_SIDED = re.compile(
    r"\b(left|right|bilateral\w*|unilateral\w*|ipsilateral\w*|contralateral\w*|lingula\w*|middle lobes?|azygos|"
    r"(?:dextro|levo)\w+|situs\w*)\b",
    re.IGNORECASE,
)

ReadBox = Callable[[tuple[int, int, int], tuple[int, int, int]], npt.NDArray[np.int16]]
"""First voxel and size to int16 HU, padded outside the volume."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variation:
    """How crops are varied; probabilities and ranges are our choice, those of turning and scaling after nnssl.

    Args:
        is_random: Crops from random places; else the centre crop of inference, unchanged.
        mirror: Probability of a left-right mirror image where it is allowed.
        mirror_sideless_reports: Whether it is allowed with reports that name no side.
        move: Probability of turning and scaling together.
        degrees: Largest turn about each axis.
        scale: Largest factor, and one over the smallest; near 1, since reports state sizes.
        offset_hu: Standard deviation of an offset.
        gain: Largest relative change of the distance from air.
    """

    is_random: bool = True
    mirror: float = 0.5
    mirror_sideless_reports: bool = False
    move: float = 0.2
    degrees: float = 10.0
    scale: float = 1.1
    offset_hu: float = 8.0
    gain: float = 0.02

    def __post_init__(self) -> None:
        """Refuse chances and ranges that are none."""
        at_least(self, 0, "mirror", "move", "degrees", "offset_hu", "gain")
        at_least(self, 1, "scale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One crop, as numbers.

    Args:
        start: First voxel of the crop in the volume.
        is_mirrored: Whether left and right change places.
        matrix: Crop to volume, about the crop's centre, row by row; None for the identity.
        offset_hu: Added.
        gain: Factor of the distance from -1000 HU.
    """

    start: tuple[int, int, int]
    is_mirrored: bool = False
    matrix: tuple[float, ...] | None = None
    offset_hu: float = 0.0
    gain: float = 1.0


class Reading(NamedTuple):
    """What is read of a volume.

    Args:
        images: One crop (X, Y, Z), or R sub-volumes (R, X, Y, Z).
        centres: Where they lie, (1, 3) or (R, 3), as `in_body` says it.
    """

    images: Tensor
    centres: Tensor


def in_body(record: Record, start: tuple[int, int, int], size: tuple[int, int, int]) -> tuple[float, ...]:
    """Return the middle of a crop as its place in the patient's body: -1 and 1 at its first and last voxel.

    Args:
        record: The volume's.
        start: First voxel of the crop.
        size: Its voxels.
    """
    middle = np.add(start, (np.asarray(size) - 1) / 2)
    first, last = np.asarray(record.body)[:, 0], np.asarray(record.body)[:, 1] - 1
    return tuple(float(value) for value in (2 * middle - first - last) / np.maximum(1, last - first))


def names_side(report: str) -> bool:
    """Whether a report says anything that a mirror image would make false."""
    return _SIDED.search(report) is not None


def draw(
    record: Record, size: tuple[int, int, int], variation: Variation, seed: list[int], *, may_mirror: bool
) -> Change:
    """Draw a crop.

    Args:
        record: The volume's; its body is where crops come from.
        size: Voxels of the crop.
        variation: Ranges.
        seed: Decides everything.
        may_mirror: Whether a mirror image is allowed.
    """
    if not variation.is_random:
        return Change(start=centre_start(record.shape, size))
    rng = np.random.default_rng(seed)
    place, is_mirrored, is_moved = rng.random(3), rng.random() < variation.mirror, rng.random() < variation.move
    matrix = _matrix(rng, variation)
    return Change(
        start=_start(record, size, place),
        is_mirrored=bool(is_mirrored and may_mirror),
        matrix=tuple(matrix.ravel().tolist()) if is_moved else None,
        offset_hu=float(rng.normal(0.0, variation.offset_hu)),
        gain=float(1.0 + rng.uniform(-variation.gain, variation.gain)),
    )


def centre_start(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, int, int]:
    """First voxel of the centre crop, by the rule of inference (`preprocess.model_grid`)."""
    excess = np.asarray(shape) - np.asarray(size)
    x, y, z = (int(value) for value in np.sign(excess) * ((np.abs(excess) + 1) // 2))
    return x, y, z


def render(
    read: ReadBox, change: Change, size: tuple[int, int, int], *, mirror_axis: int, window: tuple[float, float]
) -> Tensor:
    """Read and change a crop.

    Args:
        read: Reads a box of the volume.
        change: What to do.
        size: Voxels of the crop.
        mirror_axis: The axis that runs between left and right.
        window: HU that become -1 and 1.

    Returns:
        float32 of that size, in [-1, 1].
    """
    if change.matrix is None:
        hu = torch.from_numpy(read(change.start, size)).float()
    else:
        hu = _moved(read, change.start, size, torch.tensor(change.matrix).reshape(3, 3))
    if change.is_mirrored:
        hu = hu.flip(mirror_axis)
    low, high = window
    # ((hu + 1000) * gain - 1000 + offset - low) * 2 / (high - low) - 1, in one multiplication and one addition.
    factor = 2.0 / (high - low)
    shift = (1000.0 * change.gain - 1000.0 + change.offset_hu - low) * factor - 1.0
    return hu.mul_(change.gain * factor).add_(shift).clamp_(-1.0, 1.0)


def _start(record: Record, size: tuple[int, int, int], place: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    """Along each axis: anywhere inside the body if it is longer than the crop, else so that the crop holds it all."""
    starts = []
    for (first, last), length, share in zip(record.body, size, place, strict=True):
        low, high = sorted((first, last - length))
        starts.append(low + int(share * (high - low + 1)))
    x, y, z = starts
    return x, y, z


def _matrix(rng: np.random.Generator, variation: Variation) -> npt.NDArray[np.float64]:
    angles = np.deg2rad(rng.uniform(-variation.degrees, variation.degrees, size=3))
    limit = np.log(variation.scale)
    return rotation(angles) * np.exp(rng.uniform(-limit, limit))


def _moved(read: ReadBox, start: tuple[int, int, int], size: tuple[int, int, int], matrix: Tensor) -> Tensor:
    """Turn and scale about the crop's centre, reading as much around it as its corners reach."""
    lengths = torch.tensor(size, dtype=torch.float32)
    margin = (((matrix.abs() @ lengths) - lengths) / 2).ceil().clamp(min=0).int() + 1
    x, y, z = (first - int(more) for first, more in zip(start, margin, strict=True))
    u, v, w = (length + 2 * int(more) for length, more in zip(size, margin, strict=True))
    box = torch.from_numpy(read((x, y, z), (u, v, w))).float()
    # grid_sample counts axes from the last and in units of half the box.
    half = torch.tensor(box.shape, dtype=torch.float32) / 2
    unit = (matrix * (lengths / 2)[None, :]) / half[:, None]
    theta = torch.cat([unit.flip(0, 1), torch.zeros(3, 1)], dim=1)[None]
    grid = F.affine_grid(theta, [1, 1, *size], align_corners=False)
    return F.grid_sample(box[None, None], grid, padding_mode="border", align_corners=False)[0, 0]
