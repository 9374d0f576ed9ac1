"""What readers outline most, as random shapes: organs, bones, hollow organs, and vessels side by side.

Each is put on a `Canvas` with what belongs to it: an organ's vessels and lesions, the marrow inside a thin dense rim,
fluid and gas behind a wall, flecks of chalk in a vessel. Its neighbours often look like it, so that only a narrow line
of fat, or the shape, tells them apart.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from colipri_core.prompts.crop import bounding_box
from colipri_training.clicks import shapes
from colipri_training.clicks.canvas import Canvas
from colipri_training.clicks.shapes import Mask
from colipri_training.clicks.shapes import Position

Rng = np.random.Generator

_SHEATHED = 0.6
_PAIRED = 0.6
_ALIKE = 0.5


def add_organ(rng: Rng, canvas: Canvas) -> None:
    """Put in a solid organ of one to three lobes, at times with a bite of fat in its side, vessels and lesions."""
    size = canvas.size
    radius = _log_uniform(rng, 4.0, 0.45 * size)
    centre = canvas.place(0.8)
    mask = _lump(rng, size, centre, radius)
    for _ in range(int(rng.integers(0, 3))):
        mask |= _lump(rng, size, centre + _aside(rng, radius * rng.uniform(0.5, 1.1)), radius * rng.uniform(0.4, 0.9))
    bite = np.zeros_like(mask)
    if rng.random() < 0.35:
        bite = _lump(rng, size, centre + _aside(rng, radius * rng.uniform(0.3, 1.0)), radius * rng.uniform(0.25, 0.6))
    _sheathe(rng, canvas, mask)
    organ = canvas.put(mask & ~bite, canvas.draw_mean(centre))
    canvas.put(mask & bite, canvas.fat_hu)
    canvas.objects.append(organ)
    mean = canvas.means[organ]
    if rng.random() < 0.3:
        vessels = np.zeros_like(mask)
        start = centre + _aside(rng, 0.3 * radius)
        grown = shapes.Tree(start=start, radius=rng.uniform(0.6, 2.0), length=radius, generations=3, turn=0.08)
        shapes.paint_tubes(vessels, *shapes.tree(rng, grown))
        canvas.put(vessels & mask & ~bite, mean + _contrast(rng, 8, 60), owner=organ)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.25 else 0):
        lesion = _lump(rng, size, centre + _aside(rng, radius * rng.uniform(0, 0.9)), radius * rng.uniform(0.1, 0.4))
        canvas.put(lesion & mask & ~bite, mean + _contrast(rng, 10, 70), owner=organ)


def add_bone(rng: Rng, canvas: Canvas) -> None:
    """Put in a bone with processes, at times one of a row: spongy, mostly inside a thin dense rim."""
    size = canvas.size
    radius = _log_uniform(rng, 3.0, 0.3 * size)
    centre = canvas.place(0.8)
    heading = _unit(rng)
    in_row = rng.random() < 0.5
    half = radius * rng.uniform(0.5, 1.0) if in_row else None
    mask = _lump(rng, size, centre, radius)
    for _ in range(int(rng.integers(0, 5))):
        _add_process(rng, mask, centre, radius)
    if rng.random() < 0.3:
        line = centre + _aside(rng, 0.6 * radius) + np.linspace(-3, 3, 61)[:, None] * heading * radius
        canal = np.zeros_like(mask)
        shapes.paint_tubes(canal, line, np.full(len(line), rng.uniform(0.2, 0.4) * radius))
        mask &= ~canal
    if rng.random() < 0.6:
        canvas.put(_dilated(mask, int(rng.integers(1, 6))), float(rng.uniform(30, 75)))
    _sheathe(rng, canvas, mask, share=0.2)
    rim, cortex = float(rng.uniform(0.6, 2.5)), float(rng.uniform(220, 1000))
    marrow = float(rng.uniform(-60, min(300, cortex - 60)))
    spongy = float(rng.exponential(40))
    if half is None:
        _put_bone(canvas, mask, rim=rim, means=(cortex, marrow), spongy=spongy)
        return
    joint = half + float(rng.uniform(0.5, 0.12 * radius + 1.5))
    along = _along(size, centre, heading)
    if rng.random() < 0.7:
        canvas.put((np.abs(along) < 2 * joint) & _dilated(mask, 1), float(rng.uniform(40, 130)))
    mask &= np.abs(along) < half
    for number in (-1, 1, 0):
        shift = tuple(int(each) for each in np.round(number * 2 * joint * heading))
        _put_bone(canvas, _moved(mask, shift), rim=rim, means=(cortex, marrow), spongy=spongy)


def add_hollow(rng: Rng, canvas: Canvas) -> None:
    """Put in a stomach, bowel or bladder: a wall around fluid, food and gas; all of it is the object."""
    size = canvas.size
    centre = canvas.place(0.8)
    if rng.random() < 0.5:
        mask = _lump(rng, size, centre, _log_uniform(rng, 4.0, 0.4 * size))
    else:
        mask = np.zeros_like(canvas.labels, dtype=bool)
        radius = _log_uniform(rng, 2.0, size / 7)
        length, turn = float(rng.uniform(0.5, 2.5)) * size, float(rng.uniform(0.05, 0.25))
        grown = shapes.Tree(start=centre, radius=radius, length=length, generations=0, turn=turn)
        shapes.paint_tubes(mask, *shapes.tree(rng, grown))
    _sheathe(rng, canvas, mask)
    thickness = float(rng.uniform(0.8, 3.0))
    inside = _depth(mask) > thickness
    wall = canvas.put(mask, float(rng.uniform(20, 80)) if rng.random() < 0.7 else float(rng.uniform(80, 160)))
    canvas.objects.append(wall)
    content = canvas.put(
        inside, float(rng.uniform(-20, 60)) if rng.random() < 0.75 else canvas.draw_mean(centre), owner=wall
    )
    canvas.textures[content] = float(rng.exponential(8.0) if rng.random() < 0.6 else rng.exponential(60.0))
    if rng.random() < 0.55 and inside.any():
        height = np.arange(size).reshape(np.roll((size, 1, 1), int(rng.integers(3)))) * np.ones(mask.shape, dtype=int)
        canvas.put(
            inside & (height > np.quantile(height[inside], rng.random())), float(rng.uniform(-1000, -850)), owner=wall
        )


def add_vessels(rng: Rng, canvas: Canvas) -> None:
    """Put in one or two vessels side by side through the scene, mostly in fat, with contrast or without."""
    courses = _courses(rng, canvas)
    masks = [_tube(canvas, line, widths) for line, widths in courses]
    if rng.random() < _SHEATHED:
        width = float(rng.uniform(0.5, 3.0))
        for line, widths in courses:
            canvas.put(_tube(canvas, line, widths + width), canvas.fat_hu)
    mean = _blood_hu(rng)
    for number, (mask, (line, widths)) in enumerate(zip(masks, courses, strict=True)):
        if number and rng.random() > _ALIKE:
            mean = _blood_hu(rng)
        vessel = canvas.put(mask, mean + float(rng.uniform(-12, 12)))
        canvas.objects.append(vessel)
        if rng.random() < 0.15:
            _add_chalk(rng, canvas, vessel, line, widths)


def _courses(rng: Rng, canvas: Canvas) -> list[tuple[Position, Position]]:
    """Centre lines (P, 3) and radii (P,) of one or two vessels that run side by side."""
    size = canvas.size
    centre, heading = canvas.place(0.6), _unit(rng)
    radius = _log_uniform(rng, 1.0, size / 8)
    length = float(rng.uniform(0.4, 1.5)) * size
    start = centre - 0.5 * length * heading
    generations, turn = int(rng.choice([0, 0, 1, 2])), float(rng.uniform(0.0, 0.05))
    grown = shapes.Tree(start=start, radius=radius, length=length, generations=generations, turn=turn)
    line, widths = shapes.tree(rng, grown, heading=heading)
    if rng.random() > _PAIRED:
        return [(line, widths)]
    scale = float(rng.uniform(0.7, 1.4))
    apart = radius * (1 + scale) + float(rng.uniform(-0.3, 2.0))
    aside = np.cross(heading, _unit(rng))
    return [(line, widths), (line + apart * aside / np.linalg.norm(aside), widths * scale)]


def _tube(canvas: Canvas, line: Position, widths: Position) -> Mask:
    mask = np.zeros_like(canvas.labels, dtype=bool)
    shapes.paint_tubes(mask, line, widths)
    return mask


def _blood_hu(rng: Rng) -> float:
    """Mean HU of blood, without contrast or with it."""
    return float(rng.uniform(30, 60) if rng.random() < 0.5 else rng.uniform(80, 450))


def _add_chalk(rng: Rng, canvas: Canvas, vessel: int, line: Position, widths: Position) -> None:
    """Put flecks of chalk into the wall of a vessel."""
    flecks = np.zeros_like(canvas.labels, dtype=bool)
    chosen = rng.integers(0, len(line), int(rng.integers(1, 6)))
    places = np.stack([line[each] + _aside(rng, 0.9 * widths[each]) for each in chosen])
    shapes.paint_tubes(flecks, places, rng.uniform(0.6, 1.4, len(places)))
    canvas.put(flecks & (canvas.labels == vessel), float(rng.uniform(250, 900)), owner=vessel)


def _put_bone(canvas: Canvas, mask: Mask, *, rim: float, means: tuple[float, float], spongy: float) -> None:
    if not mask.any():
        return
    cortex, marrow = means
    shell = canvas.put(mask, cortex)
    canvas.objects.append(shell)
    core = canvas.put(_depth(mask) > rim, marrow, owner=shell)
    canvas.textures[core] = spongy


def _add_process(rng: Rng, mask: Mask, centre: Position, radius: float) -> None:
    """Add a plate or a spike to a mask, in place."""
    if rng.random() < 0.5:
        radii = radius * np.array([rng.uniform(0.6, 1.5), rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.35)])
        place = centre + _aside(rng, radius * rng.uniform(0.5, 1.3))
        plate = shapes.Blob(centre=place, radii=np.maximum(radii, 1.2), roughness=0.1, waves=3.0)
        mask |= shapes.blob(rng, mask.shape[0], plate)
        return
    width, length = max(1.0, radius * rng.uniform(0.15, 0.4)), radius * rng.uniform(1.0, 2.5)
    spike = shapes.Tree(start=centre, radius=width, length=length, generations=0, turn=0.04)
    shapes.paint_tubes(mask, *shapes.tree(rng, spike))


def _sheathe(rng: Rng, canvas: Canvas, mask: Mask, *, share: float = _SHEATHED) -> None:
    """Paint a line of fat around a mask, at times, thick here and missing there."""
    if rng.random() > share:
        return
    gap = _dilated(mask, int(rng.integers(1, 4)))
    if rng.random() < 0.6:
        gap &= shapes.layers(rng, canvas.size, 2) == 0
    canvas.put(gap, canvas.fat_hu)


def _lump(rng: Rng, size: int, centre: Position, radius: float) -> Mask:
    radii = radius * np.exp(rng.uniform(-0.45, 0.45, 3))
    waves = float(np.clip(size / radius * rng.uniform(0.4, 1.2), 1, size / 3))
    shape = shapes.Blob(centre=centre, radii=radii, roughness=float(rng.uniform(0, 0.25)), waves=waves)
    return shapes.blob(rng, size, shape)


def _moved(mask: Mask, shift: tuple[int, ...]) -> Mask:
    """A mask moved by whole voxels; what leaves the cube is lost."""
    result = np.zeros_like(mask)
    to = tuple(slice(max(0, by), min(size, size + by)) for by, size in zip(shift, mask.shape, strict=True))
    source = tuple(slice(max(0, -by), min(size, size - by)) for by, size in zip(shift, mask.shape, strict=True))
    if all(part.start < part.stop for part in to):
        result[to] = mask[source]
    return result


def _dilated(mask: Mask, steps: int) -> Mask:
    """A mask grown by steps of one voxel."""
    box = bounding_box(mask)
    if box is None:
        return mask.copy()
    i, j, k = (slice(max(0, part.start - steps), part.stop + steps) for part in box)
    result = np.zeros_like(mask)
    result[i, j, k] = ndimage.binary_dilation(mask[i, j, k], iterations=steps)
    return result


def _depth(mask: Mask) -> np.ndarray:
    """Distance of each voxel of a mask to its outside; the cube goes on as it ends."""
    depth = np.zeros(mask.shape, dtype=np.float32)
    box = bounding_box(mask)
    if box is not None:
        i, j, k = (slice(max(0, part.start - 1), part.stop + 1) for part in box)
        depth[i, j, k] = ndimage.distance_transform_edt(mask[i, j, k])
    return depth


def _along(size: int, centre: Position, heading: Position) -> np.ndarray:
    """Distance of each voxel from a centre along a direction, signed."""
    x, y, z = ((np.arange(size) - at) * part for at, part in zip(centre, heading, strict=True))
    return np.asarray(x[:, None, None] + y[:, None] + z, dtype=np.float32)


def _contrast(rng: Rng, least: float, most: float) -> float:
    return float(rng.choice([-1, 1]) * rng.uniform(least, most))


def _log_uniform(rng: Rng, least: float, most: float) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))


def _unit(rng: Rng) -> Position:
    direction = rng.standard_normal(3)
    return np.asarray(direction / np.linalg.norm(direction))


def _aside(rng: Rng, distance: float) -> Position:
    return distance * _unit(rng)
