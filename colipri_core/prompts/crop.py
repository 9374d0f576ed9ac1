"""A mask as its bounding box: a corner and the voxels from there on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Self

import numpy as np
import numpy.typing as npt

Index = tuple[int, int, int]
Slices = tuple[slice, slice, slice]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Crop:
    """A mask on a volume's grid that is False outside a box.

    Args:
        lower: Voxel index of the box's first corner.
        mask: bool array `[i, j, k]` of the box; of shape (0, 0, 0) if no voxel is set.

    Raises:
        ValueError: If the mask is not a 3D bool array or the corner has a negative index.
    """

    lower: Index
    mask: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.mask.ndim != 3 or self.mask.dtype != np.bool_:
            msg = f"A crop needs a 3D bool mask, got {self.mask.dtype} of shape {self.mask.shape}."
            raise ValueError(msg)
        i, j, k = (int(index) for index in self.lower)
        if min(i, j, k) < 0:
            msg = f"A crop begins inside its volume, got the corner {(i, j, k)}."
            raise ValueError(msg)
        object.__setattr__(self, "lower", (i, j, k))

    @classmethod
    def empty(cls) -> Self:
        """The mask without a voxel."""
        return cls(lower=(0, 0, 0), mask=np.zeros((0, 0, 0), dtype=bool))

    @classmethod
    def around(cls, mask: npt.NDArray[np.bool_], *, lower: Index = (0, 0, 0)) -> Self:
        """Cut a mask down to the smallest box that holds its voxels; the voxels are copied.

        Args:
            mask: bool array `[i, j, k]`.
            lower: Voxel index of its first corner.
        """
        box = bounding_box(mask)
        if box is None:
            return cls.empty()
        i, j, k = (int(a + part.start) for a, part in zip(lower, box, strict=True))
        return cls(lower=(i, j, k), mask=mask[box].copy())

    @classmethod
    def union(cls, crops: Iterable[Self]) -> Self:
        """What lies in at least one of several masks of the same grid.

        Args:
            crops: The masks; those without a voxel do not count.
        """
        some = [crop for crop in crops if not crop.is_empty]
        if not some:
            return cls.empty()
        i, j, k = (min(corners) for corners in zip(*(crop.lower for crop in some), strict=True))
        upper = [max(corners) for corners in zip(*(crop.upper for crop in some), strict=True)]
        mask = np.zeros([b - a for a, b in zip((i, j, k), upper, strict=True)], dtype=bool)
        for crop in some:
            there = tuple(slice(a - o, b - o) for a, b, o in zip(crop.lower, crop.upper, (i, j, k), strict=True))
            mask[there] |= crop.mask
        return cls(lower=(i, j, k), mask=mask)

    @property
    def upper(self) -> Index:
        """Index just beyond the box's last corner (half open)."""
        i, j, k = (a + size for a, size in zip(self.lower, self.mask.shape, strict=True))
        return i, j, k

    @property
    def box(self) -> Slices:
        """Slices that cut the box out of an array of the whole grid."""
        i, j, k = (slice(a, b) for a, b in zip(self.lower, self.upper, strict=True))
        return i, j, k

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is set."""
        return not self.mask.any()

    def on_box(self, lower: Index, upper: Index) -> npt.NDArray[np.bool_]:
        """The mask as an array of another box.

        Args:
            lower: Voxel index of that box's first corner.
            upper: Index just beyond its last corner.
        """
        there = np.zeros([b - a for a, b in zip(lower, upper, strict=True)], dtype=bool)
        shared = [(max(a, c), min(b, d)) for a, b, c, d in zip(lower, upper, self.lower, self.upper, strict=True)]
        if all(a < b for a, b in shared):
            ours, theirs = (
                tuple(slice(a - origin, b - origin) for (a, b), origin in zip(shared, start, strict=True))
                for start in (self.lower, lower)
            )
            there[theirs] = self.mask[ours]
        return there

    def on_grid(self, shape: Index) -> npt.NDArray[np.bool_]:
        """The mask as an array of the whole grid.

        Args:
            shape: Shape of the grid, which must hold the box.
        """
        return self.on_box((0, 0, 0), shape)


def bounding_box(mask: npt.NDArray[np.bool_]) -> Slices | None:
    """Slices of the smallest box that holds all set voxels, None if there are none.

    Found from projections: no list of voxels is made, which for large masks would outgrow the volume.

    Args:
        mask: bool array `[i, j, k]`.
    """
    plane = np.any(mask, axis=2)
    lines = (np.any(plane, axis=1), np.any(plane, axis=0), np.any(mask, axis=(0, 1)))
    spans = [np.flatnonzero(line) for line in lines]
    if not all(span.size for span in spans):
        return None
    i, j, k = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return i, j, k
