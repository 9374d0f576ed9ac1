"""Scenes from the generated chest phantoms: organs, vessels and lesions where they lie in a body."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch

from colipri_training.clicks import appearance
from colipri_training.clicks.scenes import Scene
from colipri_training.clicks.scenes import one_component
from colipri_training.clicks.scenes import vary
from colipri_training.clicks.shapes import Mask
from colipri_training.phantoms.fields import stream
from colipri_training.phantoms.generator import NUM_FINDINGS
from colipri_training.phantoms.generator import draw_phantom
from colipri_training.phantoms.generator import render
from colipri_training.phantoms.grid import PhantomGrid
from colipri_training.phantoms.structures import BACKGROUND
from colipri_training.phantoms.structures import BODY
from colipri_training.phantoms.structures import LUNG_LOBES

SPACING_MM = (0.9, 5.0)
"""Voxel size of the scenes: from a nodule that fills its region to most of a chest in one (our choice)."""

_BLOCK = 96
_REACH_MM = (80.0, 50.0, 90.0)
_WHOLE_LUNG = 0.8
_LEFT_LOBES = 2

Block = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.int32]]


def chest_scene(rng: np.random.Generator, size: int, seed: int) -> Scene | None:
    """Cut a region out of a phantom around a voxel of one of its objects; None if nothing in it can be outlined.

    Args:
        rng: Source of randomness: object and place.
        size: Edge of the region in voxels.
        seed: The phantom; its spacing and field of view are drawn from it, so that it is rendered once for many scenes.
    """
    hu, labels, lesions = _block(seed)
    objects = _objects(rng, labels, lesions)
    for index in rng.permutation(len(objects)):
        mask = objects[index]()
        inside = np.flatnonzero(mask)
        if not len(inside):
            continue
        at = np.array(np.unravel_index(int(rng.choice(inside)), mask.shape))
        start = np.clip(at - rng.integers(size // 4, 3 * size // 4, 3), 0, _BLOCK - size)
        window = tuple(slice(int(a), int(a) + size) for a in start)
        target = one_component(rng, mask[window])
        if target is not None:
            cut = hu[window].clip(*appearance.HU_RANGE)
            target = appearance.as_read(rng, cut, target)
            return vary(rng, Scene(hu=appearance.scan(rng, cut) if rng.random() < 0.5 else cut, target=target))
    return None


@functools.lru_cache(maxsize=4)
def _block(seed: int) -> Block:
    rng = stream(seed, "clicks")
    spacing = float(np.exp(rng.uniform(*np.log(SPACING_MM))))
    x, y, z = rng.uniform(-1, 1, 3) * np.asarray(_REACH_MM)
    grid = PhantomGrid(shape=(_BLOCK,) * 3, spacing=(spacing,) * 3, centre=(x, y, z))
    scene = render(draw_phantom(seed), grid, torch.device("cpu"))
    return scene.hu.numpy(), scene.labels.numpy(), scene.lesions.numpy()


def _objects(
    rng: np.random.Generator, labels: npt.NDArray[np.uint8], lesions: npt.NDArray[np.int32]
) -> list[functools.partial[Mask]]:
    """What can be outlined: structures, lesions, and mostly whole lungs in place of lobes (borders hardly show)."""
    names = [int(label) for label in np.unique(labels) if label not in (BACKGROUND, BODY)]
    whole = rng.random() < _WHOLE_LUNG
    found = [functools.partial(np.isin, labels, (name,)) for name in names if not (whole and name in LUNG_LOBES)]
    if whole:
        sides = (LUNG_LOBES[:_LEFT_LOBES], LUNG_LOBES[_LEFT_LOBES:])
        found += [functools.partial(np.isin, labels, side) for side in sides]
    bits = np.bitwise_or.reduce(lesions, axis=None)
    found += [functools.partial(_has_bit, lesions, bit) for bit in range(NUM_FINDINGS) if bits >> bit & 1]
    return found


def _has_bit(bits: npt.NDArray[np.int32], bit: int) -> Mask:
    return np.asarray(bits >> bit & 1, dtype=bool)
