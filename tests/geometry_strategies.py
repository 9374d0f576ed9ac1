"""Hypothesis strategies for volume geometries of every kind: oblique, permuted, flipped, anisotropic."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from colipri_core.geometry import VolumeGeometry

_angles = st.floats(-np.pi, np.pi, allow_nan=False)
_spacings = st.floats(0.4, 5.0)
_origins = st.floats(-400.0, 400.0)


@st.composite
def affines(draw: st.DrawFn, *, left_handed: bool = True) -> np.ndarray:
    """Voxel -> RAS+ mm: a rotation by any angles, axes permuted and flipped, three spacings, any origin.

    Args:
        draw: Given by Hypothesis.
        left_handed: Whether left-handed axes may come up.
    """
    rotation = Rotation.from_euler("xyz", [draw(_angles) for _ in range(3)]).as_matrix()
    if draw(st.booleans()):
        rotation = np.eye(3)
    axes = np.eye(3)[draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    matrix = rotation @ axes
    if not left_handed and np.linalg.det(matrix) < 0:
        matrix[:, 2] *= -1
    affine = np.eye(4)
    affine[:3, :3] = matrix * [draw(_spacings) for _ in range(3)]
    affine[:3, 3] = [draw(_origins) for _ in range(3)]
    return affine


@st.composite
def geometries(draw: st.DrawFn, *, smallest: int = 2, largest: int = 24, left_handed: bool = True) -> VolumeGeometry:
    """A grid with sizes from `smallest` to `largest` and one of `affines`."""
    sizes = st.integers(smallest, largest)
    shape = (draw(sizes), draw(sizes), draw(sizes))
    return VolumeGeometry(shape=shape, affine=draw(affines(left_handed=left_handed)))


orientations = st.builds(
    lambda axes, signs: "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True)),
    st.permutations(["LR", "PA", "IS"]),
    st.tuples(*[st.integers(0, 1)] * 3),
)


def ramp(geometry: VolumeGeometry, gradient: tuple[float, float, float] = (1.5, -2.0, 0.7)) -> np.ndarray:
    """A volume whose value is a linear function of the world position: float64 `gradient . ras`."""
    indices = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    return geometry.index_to_world(indices) @ np.asarray(gradient)


def corners(geometry: VolumeGeometry) -> np.ndarray:
    """Voxel indices of the eight corners (8, 3)."""
    return np.array(np.meshgrid(*[(0, size - 1) for size in geometry.shape], indexing="ij")).reshape(3, -1).T
