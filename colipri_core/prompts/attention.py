"""What a model sees of a phrase that is to become an object: its outline, or places that compete for a click."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from colipri_core.geometry import VolumeGeometry
from colipri_core.prompts.crop import Crop
from colipri_core.prompts.types import Position
from colipri_core.provenance import ModelCard

_COUNTS = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """A phrase that the model itself has outlined.

    Args:
        text: The phrase.
        outline: On the volume's own grid; at least one voxel.
        model: The model.
    """

    text: str
    outline: Crop
    model: ModelCard


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Attention:
    """Where a model sees a phrase that it has not outlined.

    Args:
        text: The phrase.
        places: Where it may be seen, RAS+ mm, the likeliest first; at least one.
        influence: How much what is seen depends on each voxel (X, Y, Z), in any unit.
        geometry: Where these voxels lie.
    """

    text: str
    places: tuple[Position, ...]
    influence: npt.NDArray[np.float32]
    geometry: VolumeGeometry

    def beginning_with(self, number: int) -> Attention:
        """The same with another one of its places as the likeliest."""
        first = self.places[number]
        others = tuple(place for place in self.places if place != first)
        return dataclasses.replace(self, places=(first, *others))

    def held(self, mask: Crop, grid: VolumeGeometry) -> float:
        """Return how well an outline holds what counts: its share of the influence over the root of its volume in mm3.

        The root keeps an outline from winning by its size alone, and one voxel from winning by its place alone (our
        choice).

        Args:
            mask: The outline.
            grid: The grid it lies on.
        """
        voxels = int(mask.mask.sum())
        counts = np.argwhere(self.influence > _COUNTS * self.influence.max())
        if not voxels or not len(counts):
            return 0.0
        inside = np.rint(grid.world_to_index(self.geometry.index_to_world(counts))).astype(int) - mask.lower
        within = np.flatnonzero(((inside >= 0) & (inside < mask.mask.shape)).all(axis=1))
        held = within[mask.mask[tuple(inside[within].T)]]
        share = self.influence[tuple(counts[held].T)].sum() / self.influence.sum()
        return float(share / np.sqrt(voxels * np.prod(grid.spacing)))
