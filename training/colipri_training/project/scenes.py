"""Scenes from a project's own labels: regions of its scans around labelled objects, for the interactive segmenter.

A region is laid as the segmenter lays its looks: often with the cells that fit the object, at times closer around one
of its voxels, at times wider, with the object off its middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from colipri_core.project_labels import LabelledCase
from colipri_core.prompts import Crop
from colipri_core.prompts.regions import Region
from colipri_core.prompts.regions import View
from colipri_core.prompts.regions import region_around
from colipri_core.prompts.regions import sample_hu
from colipri_core.prompts.regions import sample_mask
from colipri_training.clicks.appearance import HU_RANGE
from colipri_training.clicks.scenes import Scene
from colipri_training.clicks.scenes import one_component
from colipri_training.clicks.scenes import vary

_FILL = (0.35, 0.95)
"""Share of a region's edge that an object it is fitted to takes up (our choice, around the segmenter's own 0.7)."""

_CLOSE = 0.4
"""Share of the regions that are laid closer than the object fits, around one of its voxels (our choice)."""

_TRIES = 8
_NOISE_HU = 12.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """A connected labelled object in the view of its scan."""

    view: View
    mask: Crop


class ProjectScenes:
    """Draws scenes from labelled cases.

    Args:
        cases: The cases; every connected part of every label is an object of its own.
        smallest: Least voxels of an object.

    Raises:
        ValueError: If no label has that many voxels.
    """

    def __init__(self, cases: Sequence[LabelledCase], *, smallest: int = 12) -> None:
        self._objects = [found for case in cases for found in _objects(case, smallest)]
        if not self._objects:
            msg = f"Expected labelled objects of at least {smallest} voxels, found none in {len(cases)} cases."
            raise ValueError(msg)

    def __len__(self) -> int:
        """Number of objects."""
        return len(self._objects)

    def draw(self, rng: np.random.Generator, size: int) -> Scene | None:
        """Draw a region of an object; None if no region that was tried shows a fit part of one.

        Args:
            rng: Source of randomness; the scene is a function of its state.
            size: Edge of the region in cells.
        """
        for _ in range(_TRIES):
            found = self._objects[int(rng.integers(len(self._objects)))]
            region = _region(rng, found, size)
            target = one_component(rng, sample_mask(found.mask, region, found.view.geometry.shape))
            if target is not None:
                hu = sample_hu(found.view, region) + rng.exponential(_NOISE_HU) * rng.standard_normal(
                    (size,) * 3, dtype=np.float32
                ) * (rng.random() < 0.5)
                return vary(rng, Scene(hu=hu.clip(*HU_RANGE).astype(np.float32), target=target))
        return None


def _objects(case: LabelledCase, smallest: int) -> list[_Object]:
    view = View.of(case.volume)
    found = []
    for segment in case.labels.segments:
        numbered, _ = ndimage.label(case.labels.labelmap == segment.label, structure=np.ones((3, 3, 3)))
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            mask = numbered[box] == number
            if mask.sum() >= smallest:
                i, j, k = (int(part.start) for part in box)
                found.append(_Object(view=view, mask=view.into(Crop.around(mask, lower=(i, j, k)))))
    return found


def _region(rng: np.random.Generator, found: _Object, size: int) -> Region:
    geometry, mask = found.view.geometry, found.mask
    spacing = np.asarray(geometry.spacing)
    edge_mm = float((np.asarray(mask.mask.shape) * spacing).max())
    cells = edge_mm / (rng.uniform(*_FILL) * size)
    centre = (np.asarray(mask.lower) + np.asarray(mask.upper) - 1) / 2
    if rng.random() < _CLOSE:
        cells *= rng.uniform(0.35, 1.0)
        inside = np.argwhere(mask.mask)
        centre = np.asarray(mask.lower) + inside[int(rng.integers(len(inside)))]
    cells = max(cells, 0.8 * float(spacing.min()))
    centre = centre + rng.uniform(-0.15, 0.15, 3) * size * cells / spacing
    return region_around(geometry, centre.tolist(), spacing_mm=cells, size=size)
