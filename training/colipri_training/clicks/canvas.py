"""Canvas: the label map of a synthetic scene under construction, and the simplest objects that are put in.

Cells that touch each other stand for organs, bent bands for body wall, fat and air, ellipsoids for nodules, masses and
organs, some with a shell as bones and hollow organs have, branching tubes for vessels and airways, and large dark
ellipsoids full of tubes for lungs.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from colipri_training.clicks import appearance
from colipri_training.clicks import shapes
from colipri_training.clicks.shapes import Mask

_ORGANS = 0.5
_SHELLED = 0.25


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
        textures: Label -> standard deviation of its texture in HU, where it is not drawn.
        in_fat: Whether organs in fat are what everything else is put among.
        fat: Label of the fat between organs, where there is any.
        fat_hu: Mean HU of fat between objects.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng = rng
        self.size = size
        self.owner: dict[int, int] = {}
        self.objects: list[int] = []
        self.textures: dict[int, float] = {}
        self.in_fat = False
        self.fat: int | None = None
        self.fat_hu = float(rng.uniform(-120, -70))
        draw = rng.random()
        if draw < _ORGANS:
            self.fill_with_organs()
            return
        if draw < 0.7:
            self.labels = shapes.mosaic(rng, size, int(rng.integers(2, 16)))
        elif draw < 0.95:
            self.labels = shapes.layers(rng, size, int(rng.integers(2, 6)))
        else:
            self.labels = np.zeros((size,) * 3, dtype=np.int16)
        self.means = {label: appearance.draw_mean(rng) for label in range(int(self.labels.max()) + 1)}

    def fill_with_organs(self) -> None:
        """Begin anew with soft organs in fat, which touch here and are apart there."""
        rng, self.in_fat = self._rng, True
        cells = int(rng.integers(3, 14))
        self.labels = shapes.mosaic(rng, self.size, cells, gap=float(rng.uniform(0.5, 0.1 * self.size)))
        self.means = {label: appearance.draw_organ_mean(rng) for label in range(cells)}
        self.means[cells] = self.fat_hu
        self.fat = cells
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
