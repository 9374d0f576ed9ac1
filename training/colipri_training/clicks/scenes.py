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
from colipri_training.clicks import shapes
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.smooth import Field

SMALLEST_TARGET = 12
"""In voxels: a nodule of 3 voxels across (our choice)."""

LARGEST_TARGET = 0.75
"""As a share of the cube (our choice)."""

CLOSE_UPS = 0.35
"""Share of scenes that are cut out of a larger one, so that an object may reach far beyond the cube (our choice)."""

_ORGANS = 0.4
_NODULES = 0.2
_SHELLED = 0.25
_LARGEST_CANVAS = 3.0
_FULLEST = 0.98
_ALIKE_HU = 20.0
_TOLD_APART = 0.8

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


class Canvas:
    """Label map under construction.

    Args:
        rng: Source of randomness.
        size: Edge of the cube.

    Attributes:
        labels: (X, Y, Z), each label with a mean HU.
        means: Label -> mean HU.
        owner: Label of a part -> label of the object it belongs to as well (a vessel in a lung, the marrow of a bone).
        objects: Labels that were put in on purpose.
        in_fat: Whether organs in fat are what everything else is put among.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self.size = size
        self.owner: dict[int, int] = {}
        self.objects: list[int] = []
        self.in_fat = False
        draw = rng.random()
        if draw < _ORGANS:
            self._fill_with_organs()
            return
        if draw < 0.7:
            self.labels = shapes.mosaic(rng, size, int(rng.integers(2, 16)))
        elif draw < 0.95:
            self.labels = shapes.layers(rng, size, int(rng.integers(2, 6)))
        else:
            self.labels = np.zeros((size,) * 3, dtype=np.int16)
        self.means = {label: appearance.draw_mean(rng) for label in range(int(self.labels.max()) + 1)}

    def _fill_with_organs(self) -> None:
        """Soft organs in fat, which touch here and are apart there."""
        rng, self.in_fat = self._rng, True
        cells = int(rng.integers(3, 14))
        self.labels = shapes.mosaic(rng, self.size, cells, gap=float(rng.uniform(0.5, 0.1 * self.size)))
        self.means = {label: appearance.draw_organ_mean(rng) for label in range(cells)}
        self.means[cells] = float(rng.uniform(-120, -70))
        self.objects = [label for label in range(cells) if rng.random() < 0.3]

    def put(self, mask: Mask, mean: float, *, owner: int | None = None) -> int:
        """Paint a mask with a label of its own; returns the label."""
        label = max(self.means) + 1
        self.labels[mask] = label
        self.means[label] = mean
        if owner is not None:
            self.owner[label] = owner
        return label

    def whole(self, label: int) -> Mask:
        """Voxels of a label and of the parts that belong to it."""
        return np.isin(self.labels, [label, *(part for part, owner in self.owner.items() if owner == label)])

    def mean_at(self, place: shapes.Position) -> float:
        """Mean HU of what lies at a place now."""
        i, j, k = np.clip(np.round(place), 0, self.size - 1).astype(int)
        return self.means[int(self.labels[i, j, k])]

    def draw_mean(self, place: shapes.Position) -> float:
        """Mean HU of what is put in at a place: among organs mostly that of one."""
        if self.in_fat and self._rng.random() < 0.7:
            return appearance.draw_organ_mean(self._rng)
        return appearance.draw_neighbour_mean(self._rng, self.mean_at(place))

    def place(self, spread: float) -> shapes.Position:
        """A random place around the middle; `spread` 1 reaches the faces."""
        middle = (self.size - 1) / 2
        return middle + self._rng.uniform(-spread, spread, 3) * middle

    def add_blob(self, *, spread: float, mean: float | None = None, largest: float = 0.55) -> None:
        """Put in a nodule, mass or organ, at times with spicules.

        Args:
            spread: How far from the middle, as `place` has it.
            mean: Mean HU; one that differs from the surroundings if omitted.
            largest: Largest radius as a share of the cube's edge.
        """
        rng, size = self._rng, self.size
        radius = float(np.exp(rng.uniform(np.log(1.4), np.log(largest * size))))
        centre = self.place(spread)
        roughness = float(rng.uniform(0, 0.35)) if rng.random() < 0.8 else 0.0
        radii = radius * np.exp(rng.uniform(-0.5, 0.5, 3))
        waves = float(np.clip(size / radius * rng.uniform(0.4, 1.5), 1, size / 3))
        mask = shapes.blob(rng, size, shapes.Blob(centre=centre, radii=radii, roughness=roughness, waves=waves))
        if radius < 8 and rng.random() < 0.25:
            for _ in range(int(rng.integers(2, 6))):
                self._tubes(mask, shapes.Tree(start=centre, radius=0.8, length=2 * radius, generations=0, turn=0.05))
        self.objects.append(self.put(mask, self.draw_mean(centre) if mean is None else mean))
        if mean is None and rng.random() < _SHELLED:
            self._add_core(mask, self.objects[-1])

    def _add_core(self, mask: Mask, shell: int) -> None:
        """Fill an object with something else, mostly as bone is with marrow, which belongs to it."""
        rng = self._rng
        core = ndimage.distance_transform_edt(mask) > rng.uniform(1.0, 4.0)
        if not core.any():
            return
        is_bone = rng.random() < 0.7
        if is_bone:
            self.means[shell] = float(rng.uniform(200, 900))
        content = float(rng.uniform(-60, 300)) if is_bone else self.draw_mean(self.place(0.5))
        self.put(core, content, owner=shell)

    def add_tree(self, *, spread: float) -> None:
        """Put in vessels, or airways with a wall."""
        rng = self._rng
        centre = self.place(spread)
        radius = float(np.exp(rng.uniform(np.log(0.7), np.log(self.size / 7))))
        grown = shapes.Tree(
            start=centre,
            radius=radius,
            length=float(rng.uniform(0.3, 1.0)) * self.size,
            generations=int(rng.integers(0, 4)),
            turn=float(rng.uniform(0.0, 0.12)),
        )
        lumen, wall = (np.zeros_like(self.labels, dtype=bool) for _ in range(2))
        points, radii = shapes.tree(rng, grown)
        shapes.paint_tubes(lumen, points, radii)
        if rng.random() < 0.25:
            shapes.paint_tubes(wall, points, radii + rng.uniform(0.7, 1.5))
            self.put(wall, self.draw_mean(centre))
        self.objects.append(self.put(lumen, self.draw_mean(centre)))

    def add_nodules(self) -> None:
        """Put in lung and, in or at its border, nodules and masses, solid or of ground glass."""
        rng, size = self._rng, self.size
        lung = np.isin(self.labels, [label for label in self.means if rng.random() < 0.6])
        tissue = self.put(lung, float(rng.uniform(-920, -700)))
        for _ in range(int(rng.integers(1, 4))):
            radius, length = float(rng.uniform(0.6, 2.5)), float(rng.uniform(0.2, 0.9)) * size
            vessels = np.zeros_like(lung)
            self._tubes(
                vessels, shapes.Tree(start=self.place(0.9), radius=radius, length=length, generations=3, turn=0.08)
            )
            self.put(vessels & lung, float(rng.uniform(-300, 200)), owner=tissue)
        self.objects = []
        for _ in range(int(rng.integers(1, 3))):
            mean = rng.uniform(-20, 130) if rng.random() < 0.75 else rng.uniform(-700, -200)
            self.add_blob(spread=0.5, mean=float(mean), largest=0.35)

    def add_lung(self, *, spread: float) -> None:
        """Put in a large dark organ full of vessels, which count as part of it unless they are the object."""
        rng, size = self._rng, self.size
        radii = size * rng.uniform(0.25, 0.75, 3)
        centre = self.place(spread)
        body = shapes.Blob(centre=centre, radii=radii, roughness=float(rng.uniform(0, 0.25)), waves=rng.uniform(1.5, 4))
        mask = shapes.blob(rng, size, body)
        lung = self.put(mask, float(rng.uniform(-950, -650)))
        vessels = np.zeros_like(mask)
        for _ in range(int(rng.integers(1, 5))):
            start = centre + rng.uniform(-0.6, 0.6, 3) * radii
            radius, length = float(rng.uniform(0.6, 2.5)), float(rng.uniform(0.2, 0.7)) * size
            self._tubes(vessels, shapes.Tree(start=start, radius=radius, length=length, generations=3, turn=0.08))
        self.put(vessels & mask, float(rng.uniform(-300, 200)), owner=lung)
        self.objects.append(lung)
        if rng.random() < 0.3:
            self.add_blob(spread=0.4)

    def _tubes(self, mask: Mask, tree: shapes.Tree) -> None:
        shapes.paint_tubes(mask, *shapes.tree(self._rng, tree))


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
            hu = appearance.paint(rng, canvas.labels, canvas.means)
            target = appearance.as_read(rng, hu, target)
            return vary(rng, Scene(hu=appearance.scan(rng, hu), target=target))


def fill(rng: np.random.Generator, canvas: Canvas) -> None:
    """Put objects in: nodules in lung, or blobs, trees and at times a lung among whatever is there."""
    if rng.random() < _NODULES:
        canvas.add_nodules()
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
    for label in np.unique(canvas.labels[around]):
        if int(label) in own or rng.random() > _TOLD_APART:
            continue
        nearest = min((canvas.means[each] for each in own), key=lambda mean: abs(mean - canvas.means[label]))
        if abs(nearest - canvas.means[label]) < _ALIKE_HU:
            canvas.means[int(label)] = nearest + float(rng.choice([-1, 1]) * rng.uniform(_ALIKE_HU, 120))


def draw_target(rng: np.random.Generator, canvas: Canvas) -> Mask | None:
    """Choose what the user means: mostly an object put in, at times a cell behind; None if nothing is fit."""
    cells = [label for label in canvas.means if label not in canvas.objects and label not in canvas.owner]
    wanted = canvas.objects if rng.random() < 0.75 else cells
    for label in rng.permutation(np.asarray(wanted, dtype=int)):
        target = one_component(rng, canvas.whole(int(label)))
        if target is not None:
            return target
    return None


def draw_large_target(rng: np.random.Generator, canvas: Canvas) -> Mask | None:
    """Choose what a user means who looks at a part of it: any object or cell, the large ones more often."""
    sizes = np.bincount(canvas.labels.ravel(), minlength=max(canvas.means) + 1)
    sizes[list(canvas.owner)] = 0
    label = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
    return one_component(rng, canvas.whole(label), largest=_FULLEST)


def one_component(rng: np.random.Generator, mask: Mask, *, largest: float = LARGEST_TARGET) -> Mask | None:
    """Choose one connected part of a mask, the large ones more often; None if none is of a fit size.

    Args:
        rng: Source of randomness.
        mask: (X, Y, Z).
        largest: Largest part, as a share of the cube.
    """
    numbered, count = ndimage.label(mask, structure=_CONNECTED)
    if not count:
        return None
    sizes = np.bincount(numbered.ravel())[1:]
    fit = (sizes >= SMALLEST_TARGET) & (sizes <= largest * mask.size)
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
