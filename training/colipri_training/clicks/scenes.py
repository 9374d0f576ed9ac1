"""Synthetic scenes: a cube of CT-like intensities with one object to outline, of random shape among random neighbours.

Domain randomisation: nothing here is anatomy. Cells that touch each other stand for organs, bent bands for body wall,
fat and air, ellipsoids for nodules, masses and organs, some with a shell as bones and hollow organs have, branching
tubes for vessels and airways, and large dark ellipsoids full of tubes for lungs. Contrasts, textures, blur, slice
thickness and noise are drawn anew for each scene.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from colipri_training.clicks import appearance
from colipri_training.clicks import organs
from colipri_training.clicks.canvas import Canvas
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.smooth import Field

SMALLEST_TARGET = 12
"""In voxels: a nodule of 3 voxels across (our choice)."""

SMALLEST_SHOWN = 80
"""In voxels: what is left of an object that others cover, to be an object still (our choice)."""

LARGEST_TARGET = 0.75
"""As a share of the cube (our choice)."""

CLOSE_UPS = 0.35
"""Share of scenes that are cut out of a larger one, so that an object may reach far beyond the cube (our choice)."""

_NODULES = 0.2
_PLAIN = 0.3
_CROWDED = 0.85
_LARGEST_CANVAS = 3.0
_FULLEST = 0.98
_ALIKE_HU = 20.0
_TOLD_APART = 0.8
_TOLD_APART_IN_FAT = 0.5

_CONNECTED = np.ones((3, 3, 3), dtype=bool)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A region of a CT and the object a user means.

    Args:
        hu: float32 (X, Y, Z), in HU.
        target: bool (X, Y, Z), one connected object.
    """

    hu: Field
    target: Mask


def synthetic_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a scene.

    Args:
        rng: Source of randomness; the scene is a function of its state.
        size: Edge of the cube in voxels.
    """
    while True:
        is_close = rng.random() < CLOSE_UPS
        canvas = Canvas(rng, round(size * rng.uniform(1, _LARGEST_CANVAS)) if is_close else size)
        fill(rng, canvas)
        target = draw_large_target(rng, canvas) if is_close else draw_target(rng, canvas)
        if target is not None and is_close:
            target = close_up(rng, canvas, target, size)
        if target is not None:
            tell_apart(rng, canvas, target)
            hu = appearance.paint(rng, canvas.labels, canvas.means, canvas.textures)
            target = appearance.as_read(rng, hu, target)
            return vary(rng, Scene(hu=appearance.scan(rng, hu), target=target))


def fill(rng: np.random.Generator, canvas: Canvas) -> None:
    """Put objects in: nodules in lung, organs and bones, or any blobs and trees, among whatever is there."""
    if rng.random() < _NODULES:
        canvas.add_nodules()
        return
    if rng.random() > _PLAIN:
        if not canvas.in_fat and rng.random() < _CROWDED:
            canvas.fill_with_organs()
        kinds = (organs.add_organ, organs.add_bone, organs.add_hollow, organs.add_vessels)
        for kind in rng.choice(len(kinds), int(rng.integers(2, 8)), p=(0.2, 0.2, 0.2, 0.4)):
            kinds[int(kind)](rng, canvas)
        return
    if rng.random() < 0.2:
        canvas.add_lung(spread=0.6)
    for _ in range(int(rng.integers(1, 4))):
        add = canvas.add_blob if rng.random() < 0.5 else canvas.add_tree
        add(spread=float(rng.uniform(0.2, 0.9)))


def close_up(rng: np.random.Generator, canvas: Canvas, target: Mask, size: int) -> Mask | None:
    """Cut a canvas down to a cube around a voxel of the target.

    Args:
        rng: Source of randomness: the place.
        canvas: Cut in place.
        target: What the user means, on the whole canvas.
        size: Edge of the cube.

    Returns:
        The part of the target in the cube; None if that is not fit.
    """
    inside = np.flatnonzero(target)
    at = np.array(np.unravel_index(int(rng.choice(inside)), target.shape))
    start = np.clip(at - rng.integers(size // 4, 3 * size // 4, 3), 0, canvas.size - size)
    window = tuple(slice(int(edge), int(edge) + size) for edge in start)
    canvas.labels, canvas.size = np.ascontiguousarray(canvas.labels[window]), size
    return one_component(rng, target[window], largest=_FULLEST)


def tell_apart(rng: np.random.Generator, canvas: Canvas, target: Mask) -> None:
    """Give neighbours that look just like the target another mean, mostly: an edge nobody can see teaches guessing.

    Args:
        rng: Source of randomness.
        canvas: Its means are changed in place.
        target: What the user means.
    """
    own = {int(label) for label in np.unique(canvas.labels[target])}
    around = ndimage.binary_dilation(target) & ~target
    told_apart = _TOLD_APART_IN_FAT if canvas.in_fat else _TOLD_APART
    for label in np.unique(canvas.labels[around]):
        if int(label) in own or rng.random() > told_apart:
            continue
        nearest = min((canvas.means[each] for each in own), key=lambda mean: abs(mean - canvas.means[label]))
        if abs(nearest - canvas.means[label]) < _ALIKE_HU:
            canvas.means[int(label)] = nearest + float(rng.choice([-1, 1]) * rng.uniform(_ALIKE_HU, 120))


def draw_target(rng: np.random.Generator, canvas: Canvas) -> Mask | None:
    """Choose what the user means: mostly an object put in, at times a cell behind; None if nothing is fit."""
    cells = [label for label in canvas.means if label not in canvas.objects and label not in canvas.owner]
    wanted = canvas.objects if rng.random() < 0.75 else cells
    least = SMALLEST_SHOWN if canvas.in_fat else SMALLEST_TARGET
    for label in rng.permutation(np.asarray(wanted, dtype=int)):
        target = one_component(rng, canvas.whole(int(label)), least=least)
        if target is not None:
            return target
    return None


def draw_large_target(rng: np.random.Generator, canvas: Canvas) -> Mask | None:
    """Choose what a user means who looks at a part of it: any object or cell, the large ones more often."""
    sizes = np.bincount(canvas.labels.ravel(), minlength=max(canvas.means) + 1)
    sizes[list(canvas.owner)] = 0
    if canvas.fat is not None and sizes.sum() > sizes[canvas.fat]:
        sizes[canvas.fat] = 0
    label = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
    return one_component(rng, canvas.whole(label), largest=_FULLEST)


def one_component(
    rng: np.random.Generator, mask: Mask, *, largest: float = LARGEST_TARGET, least: int = SMALLEST_TARGET
) -> Mask | None:
    """Choose one connected part of a mask, the large ones more often; None if none is of a fit size.

    Args:
        rng: Source of randomness.
        mask: (X, Y, Z).
        largest: Largest part, as a share of the cube.
        least: Smallest part, in voxels.
    """
    numbered, count = ndimage.label(mask, structure=_CONNECTED)
    if not count:
        return None
    sizes = np.bincount(numbered.ravel())[1:]
    fit = (sizes >= least) & (sizes <= largest * mask.size)
    if not fit.any():
        return None
    weights = np.sqrt(sizes) * fit
    chosen = int(rng.choice(count, p=weights / weights.sum())) + 1
    return np.asarray(numbered == chosen)


def vary(rng: np.random.Generator, scene: Scene) -> Scene:
    """Turn and mirror a scene at random; at times repeat its outer planes, as beyond the end of a thin slab."""
    order = rng.permutation(3)
    flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
    hu, target = (np.ascontiguousarray(array.transpose(order)[flips]) for array in (scene.hu, scene.target))
    if rng.random() < 0.12:
        axis = int(rng.integers(3))
        inside = np.flatnonzero(target.any(axis=tuple(other for other in range(3) if other != axis)))
        middle, half = int(rng.choice(inside)), float(rng.uniform(3, 14))
        planes = np.clip(np.arange(hu.shape[axis]), max(0, round(middle - half)), round(middle + half))
        hu, cut = hu.take(planes, axis=axis), target.take(planes, axis=axis)
        kept = one_component(rng, cut)
        if kept is None:
            return scene
        target = kept
    return Scene(hu=hu, target=target)
