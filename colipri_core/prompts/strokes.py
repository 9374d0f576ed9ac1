"""Strokes as voxels: a line drawn with a round brush, through a grid of any orientation.

A line is clipped to what can touch the grid and cut into short pieces, and each piece looks only at the box around it.
So the work goes with what is drawn on the grid, not with where the positions lie; it is summed up before it begins.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import Points
from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts.crop import Crop

_STEP = 0.5
"""Distance of the samples along a stroke, in voxels of the finest spacing (our choice)."""
_CHUNK_VOXELS = 1_000_000
_PIECE_VOXELS = 8
"""Longest piece of a line for a thin brush, so that the box around it holds little else (our choice)."""
_PIECE_COST = 1_000
"""Work of a piece beside its voxels, in voxels (measured to the order of magnitude)."""
_MOST_WORK = 50_000_000
"""Voxels looked at for one stroke (our choice): some seconds, for hundreds of metres of a thin brush."""

_Box = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """A line drawn with a round brush.

    Args:
        positions: Continuous voxel indices along the line (N, 3); one makes a dot.
        radius_mm: Radius of the brush.
        geometry: The grid.
    """

    positions: Points
    radius_mm: float
    geometry: VolumeGeometry

    def crop(self) -> Crop | None:
        """Return the voxels with their centre within the radius, and those passed; None if it passes through none.

        Raises:
            ValueError: If the brush would look at too many voxels.
        """
        starts, stops = self._pieces()
        lowers, uppers = self._boxes(starts, stops)
        self._check(len(starts), np.prod(np.maximum(uppers - lowers, 0).astype(np.float64), axis=1).sum())
        if not len(starts):
            return None
        lower, upper = lowers.min(axis=0), uppers.max(axis=0)
        if (lower >= upper).any():
            return None
        mask = np.zeros(upper - lower, dtype=bool)
        passes = False
        for start, stop, low, high in zip(starts, stops, lowers, uppers, strict=True):
            self._draw(mask, (start, stop), (low, high), lower)
            passed = self._passed(start, stop)
            passes = passes or len(passed) > 0
            mask[tuple((passed - lower).T)] = True
        i, j, k = (int(index) for index in lower)
        return Crop.around(mask, lower=(i, j, k)) if passes else None

    @property
    def _matrix(self) -> Points:
        return self.geometry.affine[:3, :3]

    @property
    def _margin(self) -> Points:
        """How far the brush reaches along each voxel axis, in voxels."""
        reach: Points = self.radius_mm * np.linalg.norm(np.linalg.inv(self._matrix), axis=1)
        return reach

    def _pieces(self) -> tuple[Points, Points]:
        """Starts and stops of the pieces that can touch the grid."""
        starts = self.positions[:-1] if len(self.positions) > 1 else self.positions
        stops = self.positions[1:] if len(self.positions) > 1 else self.positions
        reach = self._margin + 1
        starts, stops = _clipped(starts, stops, lower=-reach, upper=np.asarray(self.geometry.shape) - 1 + reach)
        longest = np.maximum(_PIECE_VOXELS, self._margin)
        counts = np.maximum(1, np.ceil((np.abs(stops - starts) / longest).max(axis=1, initial=0))).astype(np.intp)
        self._check(int(counts.sum()), 0)
        line = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        first, last = place / counts[line], (place + 1) / counts[line]
        along = (stops - starts)[line]
        return starts[line] + first[:, None] * along, starts[line] + last[:, None] * along

    def _boxes(self, starts: Points, stops: Points) -> _Box:
        """Corners of the boxes the brush reaches, and what is passed through; cut to the grid."""
        shape = np.asarray(self.geometry.shape)
        reach = np.maximum(self._margin, 0.5)
        lower = np.ceil(np.minimum(starts, stops) - reach)
        upper = np.floor(np.maximum(starts, stops) + reach) + 1
        return np.clip(lower, 0, shape).astype(np.intp), np.clip(upper, 0, shape).astype(np.intp)

    def _check(self, pieces: int, voxels: float) -> None:
        if voxels + pieces * _PIECE_COST > _MOST_WORK:
            msg = (
                f"Expected a scribble that takes at most {_MOST_WORK} voxels to draw, got {len(self.positions)} "
                f"positions with a radius of {self.radius_mm:g} mm, which take more. Draw it thinner or in parts."
            )
            raise ValueError(msg)

    def _draw(self, mask: npt.NDArray[np.bool_], line: tuple[Points, Points], box: _Box, corner: Points) -> None:
        """Set the voxels of a box whose centre lies within the radius of a piece."""
        lower, upper = box
        if (lower >= upper).any():
            return
        thickness = max(1, _CHUNK_VOXELS // int(np.prod(upper[1:] - lower[1:])))
        for first in range(int(lower[0]), int(upper[0]), thickness):
            low = np.array([first, *lower[1:]])
            high = np.array([min(first + thickness, int(upper[0])), *upper[1:]])
            there = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
            mask[there] |= self._distance(low, high, *line) <= self.radius_mm

    def _distance(self, low: Points, high: Points, start: Points, stop: Points) -> npt.NDArray[np.float64]:
        """Distance of the voxel centres of a box from a piece, in mm."""
        i, j, k = (np.arange(a, b) - c for a, b, c in zip(low, high, start, strict=True))
        x, y, z = self._matrix.T
        centres = i[:, None, None, None] * x + j[:, None, None] * y + k[:, None] * z
        along = self._matrix @ (stop - start)
        length = float(along @ along)
        share = np.clip(centres @ along / length, 0, 1)[..., None] if length else np.zeros(1)
        distance: npt.NDArray[np.float64] = np.linalg.norm(centres - share * along, axis=-1)
        return distance

    def _passed(self, start: Points, stop: Points) -> npt.NDArray[np.intp]:
        """Voxels of the grid on the way, met by samples dense enough to miss none."""
        length = np.linalg.norm(self._matrix @ (stop - start))
        count = max(1, int(np.ceil(length / (_STEP * min(self.geometry.spacing)))))
        samples = start + (stop - start) * (np.arange(count + 1) / count)[:, None]
        indices = np.floor(samples + 0.5).astype(np.intp)
        return indices[((indices >= 0) & (indices < self.geometry.shape)).all(axis=1)]


def _clipped(starts: Points, stops: Points, *, lower: Points, upper: Points) -> tuple[Points, Points]:
    """The parts of lines that lie in a box (Liang and Barsky's way); lines beyond it are left out."""
    along = stops - starts
    moves = along != 0
    step = np.where(moves, along, 1.0)
    inside = (starts >= lower) & (starts <= upper)
    near = np.where(moves, np.minimum((lower - starts) / step, (upper - starts) / step), np.where(inside, 0.0, 2.0))
    far = np.where(moves, np.maximum((lower - starts) / step, (upper - starts) / step), 1.0)
    first, last = np.clip(near.max(axis=1), 0, None), np.clip(far.min(axis=1), None, 1)
    kept = first <= last
    first, last = first[kept, None], last[kept, None]
    return starts[kept] + first * along[kept], starts[kept] + last * along[kept]
