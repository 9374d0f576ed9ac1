"""What one edit changed: the bounding box of the changed voxels, with the labels before and after folded into one.

The box holds `before XOR after`, compressed by Blosc2. XOR undoes itself, so the same bytes lead forth and back, and
voxels that did not change are zeros, which compress to almost nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any
from typing import Self

import numpy as np
import numpy.typing as npt

from colipri_core.prompts.crop import Index
from colipri_core.prompts.crop import Slices
from colipri_core.prompts.crop import bounding_box

Labels = npt.NDArray[np.unsignedinteger[Any]]

_LEVEL = 1
"""Blosc2 compression level: with Zstandard, higher ones cost time on every click and save little on masks."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Delta:
    """A reversible change of a box of a labelmap.

    Args:
        lower: Voxel index of the box's first corner.
        shape: Shape of the box.
        voxels_changed: Number of voxels whose label changed.
        packed: The box, as a Blosc2 frame.
    """

    lower: Index
    shape: Index
    voxels_changed: int
    packed: bytes

    @classmethod
    def between(cls, before: Labels, after: Labels, *, lower: Index) -> Self | None:
        """Return the change from one state of a box to another, None if there is none.

        Args:
            before: Labels of the box `[i, j, k]`.
            after: The same box afterwards.
            lower: Voxel index of the box's first corner.
        """
        changed = before != after
        inner = bounding_box(changed)
        if inner is None:
            return None
        i, j, k = (a + part.start for a, part in zip(lower, inner, strict=True))
        return cls.of_folded(np.bitwise_xor(before[inner], after[inner]), lower=(i, j, k))

    @classmethod
    def of_folded(cls, folded: Labels, *, lower: Index) -> Self:
        """Return the change that a box of `before XOR after` stands for.

        Args:
            folded: The box `[i, j, k]`.
            lower: Voxel index of its first corner.
        """
        i, j, k = folded.shape
        changed = int(np.count_nonzero(folded))
        return cls(lower=lower, shape=(i, j, k), voxels_changed=changed, packed=_pack(folded))

    @property
    def folded(self) -> Labels:
        """The box as `before XOR after`."""
        return _unpack(self.packed)

    @property
    def upper(self) -> Index:
        """Index just beyond the box's last corner."""
        i, j, k = (a + size for a, size in zip(self.lower, self.shape, strict=True))
        return i, j, k

    @property
    def box(self) -> Slices:
        """Slices that cut the box out of the labelmap."""
        i, j, k = (slice(a, b) for a, b in zip(self.lower, self.upper, strict=True))
        return i, j, k

    def unfold(self, labels: Labels) -> Labels:
        """Return the other state of the box.

        Args:
            labels: The box of the labelmap, before or after the change.
        """
        return np.bitwise_xor(labels, self.folded.astype(labels.dtype, copy=False))

    def fits(self, shape: Index) -> bool:
        """Whether the box lies on a grid of this shape."""
        return min(self.lower) >= 0 and all(a <= size for a, size in zip(self.upper, shape, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the packed labels."""
        return {"lower": list(self.lower), "shape": list(self.shape), "voxels_changed": self.voxels_changed}

    @classmethod
    def from_json(cls, document: dict[str, Any], packed: bytes) -> Self:
        """Make a change of what `to_json` returned and the packed labels."""
        lower, shape = (tuple(int(value) for value in document[key]) for key in ("lower", "shape"))
        return cls(lower=lower, shape=shape, voxels_changed=int(document["voxels_changed"]), packed=packed)  # type: ignore[arg-type]


def _pack(labels: Labels) -> bytes:
    import blosc2

    parameters = {"codec": blosc2.Codec.ZSTD, "clevel": _LEVEL, "nthreads": 1}
    packed: Any = blosc2.asarray(np.ascontiguousarray(labels), cparams=parameters)
    frame: bytes = packed.to_cframe()
    return frame


def _unpack(frame: bytes) -> Labels:
    import blosc2

    labels: Labels = np.asarray(blosc2.ndarray_from_cframe(frame)[()])
    return labels
