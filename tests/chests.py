"""Simple volumes for tests that need no anatomy beyond "a body with two lungs"."""

from __future__ import annotations

import itertools

import numpy as np

from colipri_core.volume import Volume

ORIENTATIONS = tuple(
    "".join(letters) for axes in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*axes)
)
"""All 48 ways voxel axes can lie in the patient."""


def chest(*, spacing: tuple[float, float, float] = (6.0, 6.0, 7.0), seed: int = 0) -> Volume:
    """An elliptic body of water, two air-filled ellipsoids, some noise, off-centre in the world, RAS axes.

    Args:
        spacing: Voxel spacing in mm; the field of view is always about 330 x 250 x 280 mm.
        seed: Decides the noise.
    """
    shape = tuple(round(extent / step) for extent, step in zip((330, 250, 280), spacing, strict=True))
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    hu = np.where((x / 150) ** 2 + (y / 105) ** 2 < 1, 40.0, -1000.0) + 0 * z
    for side in (-1, 1):
        hu[((x - side * 68) / 52) ** 2 + (y / 75) ** 2 + ((z - 10) / 110) ** 2 < 1] = -820.0
    hu += np.random.default_rng(seed).normal(0, 15, shape)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-150.0, -90.0, -400.0)
    return Volume(voxels=np.round(hu).astype(np.int16), affine=affine, name="chest")
