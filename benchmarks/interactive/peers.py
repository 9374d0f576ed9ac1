"""Classical seeded methods, each given a region that just holds the true object, which ours has to find by itself.

The region reaches a fifth of the object's size beyond it on each side. The cells on those of its faces behind which
the volume goes on are background seeds for the methods that need some, and every negative click is one.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from skimage.segmentation import random_walker

from colipri_core.prompts import Crop
from colipri_core.prompts import Point
from colipri_core.prompts.crop import bounding_box
from colipri_core.prompts.regions import Cells
from colipri_core.prompts.regions import Region
from colipri_core.prompts.regions import View
from colipri_core.prompts.regions import paste
from colipri_core.prompts.regions import region_around
from colipri_core.prompts.regions import sample_hu
from colipri_core.volume import Volume

Seeds = Sequence[tuple[int, int, int]]
Mask = npt.NDArray[np.bool_]
Grow = Callable[[Cells, Seeds, Seeds, Mask], Mask]

_MARGIN = 1.4
_LARGE_TIME = 1e9
_BETA = 100_000.0
"""The best of 130 (the default), 2000, 20000 and 100000 on one nodule: with less the walker passes blurred edges."""


class Peer:
    """A seeded method behind the same call as the click segmenter.

    Args:
        grow: Cells, positive seeds, negative seeds and faces to mask.
        size: Edge of the region in cells.
    """

    def __init__(self, grow: Grow, *, size: int) -> None:
        self._grow = grow
        self._size = size

    def begin(self, volume: Volume, truth: Mask) -> None:
        """Be given the region of an object."""
        self._view = View.of(volume)
        box = bounding_box(self._view.into(Crop.around(truth)).on_grid(self._view.geometry.shape))
        assert box is not None, "an object has voxels"
        middle = [(part.start + part.stop - 1) / 2 for part in box]
        spans = [(part.stop - part.start) * step for part, step in zip(box, self._view.geometry.spacing, strict=True)]
        spacing = max(_MARGIN * max(spans) / self._size, 0.3)
        self._region = region_around(self._view.geometry, middle, spacing_mm=spacing, size=self._size)
        self._hu = sample_hu(self._view, self._region)
        self._faces = _open_faces(self._region, self._view.geometry.shape)

    def propose(self, volume: Volume, clicks: Sequence[Point]) -> Crop:
        """Return the mask on the volume's grid."""
        del volume
        places = self._region.to_cells(self._view.geometry.world_to_index([click.ras for click in clicks]))
        cells = [tuple(int(at) for at in np.clip(np.round(place), 0, self._size - 1)) for place in places]
        seeds = {
            kind: [(c[0], c[1], c[2]) for c, click in zip(cells, clicks, strict=True) if click.positive == kind]
            for kind in (True, False)
        }
        grown = self._grow(self._hu, seeds[True], seeds[False], self._faces)
        for kind, places_of_kind in seeds.items():
            for seed in places_of_kind:
                grown[seed] = kind
        return self._view.back(paste(grown.astype(np.float32), self._region, self._view.geometry))


def region_growing(hu: Cells, positive: Seeds, negative: Seeds, faces: Mask) -> Mask:
    """SimpleITK's ConfidenceConnected from seeds of both kinds; the nearer seed takes what both reach."""
    del faces
    image = sitk.CurvatureFlow(sitk.GetImageFromArray(hu), timeStep=0.0625, numberOfIterations=5)

    def grow(seeds: Seeds) -> Mask:
        grown = sitk.ConfidenceConnected(
            image,
            seedList=[seed[::-1] for seed in seeds],
            numberOfIterations=2,
            multiplier=2.5,
            initialNeighborhoodRadius=1,
            replaceValue=1,
        )
        return np.asarray(sitk.GetArrayFromImage(grown) > 0)

    mask = grow(positive)
    if negative:
        mask &= ~(grow(negative) & (_distance(hu.shape, negative) < _distance(hu.shape, positive)))
    return mask


def walker(hu: Cells, positive: Seeds, negative: Seeds, faces: Mask) -> Mask:
    """scikit-image's random walker between the clicks, as balls of three cells across, and from the open faces."""
    labels = np.where(faces, 2, 0).astype(np.int32)
    for seeds, label in ((negative, 2), (positive, 1)):
        for seed in seeds:
            labels[tuple(slice(max(0, at - 1), at + 2) for at in seed)] = label
    if not (labels == 2).any():
        labels[_farthest(hu.shape, positive)] = 2
    data = np.clip(hu, -1024, 1024) / 2048 + 0.5
    return np.asarray(random_walker(data, labels, beta=_BETA, mode="cg_j", tol=1e-3) == 1)


def geodesic(hu: Cells, positive: Seeds, negative: Seeds, faces: Mask) -> Mask:
    """Fast marching (SimpleITK) over a speed that falls at edges: who arrives first, the object or what is not it."""
    image = sitk.GetImageFromArray(np.clip(hu, -1024, 1024))
    gradient = sitk.GetArrayFromImage(sitk.GradientMagnitudeRecursiveGaussian(image, sigma=1.0))
    speed = sitk.GetImageFromArray(np.exp(-gradient / 20.0).clip(1e-3).astype(np.float32))

    def arrival(seeds: Seeds) -> npt.NDArray[np.float32]:
        trial = [[int(index) for index in seed[::-1]] for seed in seeds]
        time = sitk.FastMarching(speed, trialPoints=trial, normalizationFactor=1.0, stoppingValue=_LARGE_TIME)
        return np.asarray(sitk.GetArrayFromImage(time))

    others = [*negative, *map(tuple, np.argwhere(faces))] or [_farthest(hu.shape, positive)]
    return arrival(positive) < arrival(others)


PEERS: dict[str, Callable[[], Peer]] = {
    "region growing": lambda: Peer(region_growing, size=64),
    "random walker": lambda: Peer(walker, size=48),
    "geodesic": lambda: Peer(geodesic, size=64),
}


def _open_faces(region: Region, shape: Sequence[int]) -> Mask:
    """Cells of the faces behind which the volume goes on."""
    faces = np.zeros((region.size,) * 3, dtype=bool)
    for axis, (lower, step, voxels) in enumerate(zip(region.lower, region.step, shape, strict=True)):
        view = np.moveaxis(faces, axis, 0)
        if lower - step > -0.5:
            view[0] = True
        if lower + step * region.size < voxels - 0.5:
            view[-1] = True
    return faces


def _distance(shape: Sequence[int], seeds: Seeds) -> npt.NDArray[np.float64]:
    """Squared distance of every cell to the nearest seed."""
    grid = np.indices(shape)
    return np.asarray(np.min([((grid - np.reshape(s, (3, 1, 1, 1))) ** 2).sum(axis=0) for s in seeds], axis=0))


def _farthest(shape: Sequence[int], seeds: Seeds) -> tuple[int, int, int]:
    i, j, k = np.unravel_index(int(_distance(shape, seeds).argmax()), shape)
    return int(i), int(j), int(k)
